// Pictures one after the other, at most four under way. A server that is away makes all wait; one
// picture then asks for it, and when it is answered the others follow.

const AT_ONCE = 4;
const FIRST_WAIT_S = 1;
const LONGEST_WAIT_S = 8;
const GIVE_UP_S = 300;

/**
 * What is known of one picture.
 *
 * state: waiting -> sending -> scoring -> scored | refused | failed. `failed` may be tried again:
 * reason `away`, `cancelled` or one of the server's own faults.
 */
export class Item {
  static #count = 0;

  constructor(file) {
    this.number = Item.#count++;
    this.file = file;
    this.name = file.name;
    this.reset();
  }

  reset() {
    this.state = "waiting";
    this.sent = 0;
    this.reply = null;
    this.error = null;
  }

  get isOver() {
    return this.state === "scored" || this.state === "refused" || this.state === "failed";
  }
}

/** Events: `item` (detail: the item that changed), `away` (the wait began, went on or ended). */
export class Queue extends EventTarget {
  #send;
  #waiting = [];
  #underWay = new Map();
  #awaySince = null;
  #wait = { seconds: 0, until: 0, timer: null };

  /** @param send What `server.score` is; the tests of a part may give another one. */
  constructor(send) {
    super();
    this.#send = send;
  }

  get isBusy() {
    return this.#waiting.length + this.#underWay.size > 0;
  }

  /** When the next try begins, in milliseconds since 1970; null: the server answers. */
  get nextTry() {
    return this.#awaySince === null ? null : this.#wait.until;
  }

  add(items) {
    for (const item of items) {
      item.reset();
      this.#waiting.push(item);
      this.#tell(item);
    }
    this.#next();
  }

  cancel() {
    const items = [...this.#underWay.keys(), ...this.#waiting.splice(0)];
    const sendings = [...this.#underWay.values()];
    this.#underWay.clear();
    for (const sending of sendings) sending.abort();
    for (const item of items) this.#fail(item, "cancelled");
    this.#answered();
  }

  remove(item) {
    this.#waiting = this.#waiting.filter((other) => other !== item);
    const sending = this.#underWay.get(item);
    this.#underWay.delete(item);
    sending?.abort();
    if (!this.isBusy) this.#answered();
    this.#next();
  }

  /** Try now, e.g. because the network is back. */
  wake() {
    if (this.#awaySince !== null) this.#again();
  }

  #next() {
    if (this.#awaySince !== null) {
      if (this.#wait.timer === null) this.#again();
      return;
    }
    while (this.#waiting.length > 0 && this.#underWay.size < AT_ONCE) this.#start();
  }

  async #start() {
    const item = this.#waiting.shift();
    const sending = this.#send(item.file, (sent) => {
      if (this.#underWay.get(item) !== sending) return;
      item.sent = sent;
      item.state = sent < 1 ? "sending" : "scoring";
      this.#tell(item);
    });
    item.state = "sending";
    this.#underWay.set(item, sending);
    this.#tell(item);
    const outcome = await sending.answer;
    if (this.#underWay.get(item) !== sending) return; // removed or cancelled meanwhile
    this.#underWay.delete(item);
    if (outcome.kind === "away") {
      item.reset();
      this.#waiting.push(item); // not the first: it may be the one that the server stumbles over
      this.#tell(item);
      this.#away(outcome.retryAfterS);
      return;
    }
    item.state = outcome.kind;
    item.reply = outcome.reply ?? null;
    item.error = outcome.kind === "scored" ? null : outcome;
    this.#tell(item);
    this.#answered();
    this.#next();
  }

  // The longest wait that is asked for counts; the others under way end by themselves.
  #away(retryAfterS) {
    const now = Date.now();
    this.#awaySince ??= now;
    if (now - this.#awaySince >= GIVE_UP_S * 1000) {
      for (const item of this.#waiting.splice(0)) this.#fail(item, "away");
      this.#answered();
      return;
    }
    if (this.#wait.timer !== null && retryAfterS === null) return;
    const seconds = Math.min(retryAfterS ?? (this.#wait.seconds * 2 || FIRST_WAIT_S), LONGEST_WAIT_S);
    this.#wait.seconds = seconds;
    clearTimeout(this.#wait.timer);
    this.#wait.until = now + seconds * 1000;
    this.#wait.timer = setTimeout(() => this.#again(), seconds * 1000);
    this.dispatchEvent(new Event("away"));
  }

  #again() {
    clearTimeout(this.#wait.timer);
    this.#wait.timer = null;
    this.dispatchEvent(new Event("away"));
    if (this.#waiting.length > 0 && this.#underWay.size === 0) this.#start();
  }

  #answered() {
    if (this.#awaySince === null) return;
    clearTimeout(this.#wait.timer);
    this.#wait = { seconds: 0, until: 0, timer: null };
    this.#awaySince = null;
    this.dispatchEvent(new Event("away"));
  }

  #fail(item, reason) {
    item.state = "failed";
    item.error = { kind: "failed", reason, status: 0, message: "" };
    this.#tell(item);
  }

  #tell(item) {
    this.dispatchEvent(new CustomEvent("item", { detail: item }));
  }
}
