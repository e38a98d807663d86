// Above the pictures: how far all of them are, which are shown, and in which order.
import { arrange, el } from "./dom.js";
import { t } from "./i18n.js";
import { kindOf } from "./kinds/index.js";

const ALL = "all";
const NOT_SCORED = "not scored";
// Few pictures are done before an estimate would have been read.
const ENOUGH_FOR_ESTIMATE = 5;

const byId = (id) => document.getElementById(id);

export class Toolbar {
  filter = ALL;
  sort = "added";
  #begin = { at: 0, done: 0 };
  #chips = new Map();

  /** @param changed Called when another filter or order is chosen. */
  constructor(changed) {
    this.changed = changed;
    byId("sort").addEventListener("change", (event) => {
      this.sort = event.target.value;
      changed();
    });
  }

  /** A queue that was idle begins: the estimate counts from here. */
  begin(items) {
    this.#begin = { at: performance.now(), done: items.filter((item) => item.isOver).length };
  }

  /** Show the state of all items. */
  show(items, isBusy) {
    const counts = countsOf(items);
    const done = counts.scored + counts.refused + counts.failed;
    const sending = items.filter((item) => !item.isOver).reduce((sum, { sent }) => sum + sent / 2, 0);
    const progress = byId("progress");
    progress.max = Math.max(1, items.length);
    progress.value = done + sending;
    progress.hidden = !isBusy;
    byId("summary").hidden = !isBusy && items.length < 2; // the card says it all
    byId("summary").replaceChildren(...(isBusy ? [this.#soFar(done, items.length)] : ending(counts)));
    byId("cancel").hidden = !isBusy;
    byId("retry-failed").hidden = counts.failed === 0;
    byId("retry-failed-text").textContent = t("retryFailed", { n: counts.failed });
    byId("csv").disabled = done === 0;
    byId("view").hidden = items.length < 2;
    this.#showFilter(items);
    byId("shares").hidden = isBusy || counts.scored < 2;
  }

  /** Return the items to show, in order. */
  chosen(items) {
    const shown = items.filter((item) => this.filter === ALL || groupOf(item) === this.filter);
    const sign = this.sort === "worst" ? 1 : -1;
    if (this.sort === "name") {
      return shown.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
    }
    if (this.sort === "added") return shown;
    // What has no score comes last either way.
    return shown.sort((one, other) => {
      const [a, b] = [valueOf(one), valueOf(other)];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (a - b);
    });
  }

  #soFar(done, total) {
    const since = done - this.#begin.done;
    if (since < ENOUGH_FOR_ESTIMATE) return t("progress", { done, total });
    const passed_s = (performance.now() - this.#begin.at) / 1000;
    const left_s = Math.ceil((passed_s / since) * (total - done));
    const time =
      left_s < 90 ? t("seconds", { n: left_s }) : t("minutes", { n: Math.round(left_s / 60) });
    return t("progressLeft", { done, total, time });
  }

  #showFilter(items) {
    const groups = groupsOf(items);
    if (this.filter !== ALL && !groups.has(this.filter)) {
      this.filter = ALL;
      this.changed();
    }
    const chips = [{ name: ALL, text: t("all"), n: items.length, tone: null }, ...groups.values()];
    arrange(byId("filter"), chips.map((group) => this.#chip(group)));
    byId("shares").replaceChildren(...[...groups.values()].map(share));
  }

  // The button of a group stays the same one: it may be about to be clicked, or have the focus.
  #chip({ name, text, n, tone }) {
    const chip = this.#chips.get(name) ?? this.#newChip(name, tone);
    chip.setAttribute("aria-pressed", String(this.filter === name));
    const [words, count] = chip.children;
    words.textContent = text;
    count.textContent = String(n);
    return chip;
  }

  #newChip(name, tone) {
    const choose = () => {
      this.filter = name;
      this.changed();
    };
    const chip = el(
      "button",
      { type: "button", class: "chip", "data-group": name, "data-tone": tone, onclick: choose },
      el("span"),
      el("span", { class: "count" }),
    );
    this.#chips.set(name, chip);
    return chip;
  }
}

function countsOf(items) {
  const counts = { scored: 0, refused: 0, failed: 0 };
  for (const { state } of items) if (state in counts) counts[state] += 1;
  counts.mean = meanOf(items);
  return counts;
}

function meanOf(items) {
  const scores = items.filter(({ reply }) => reply !== null && "score" in reply);
  const sum = scores.reduce((total, { reply }) => total + reply.score, 0);
  return scores.length > 1 ? sum / scores.length : null;
}

function ending({ scored, refused, failed, mean }) {
  const kind = failed > 0 ? "finishedFailed" : refused > 0 ? "finishedRefused" : "finished";
  const words = t(kind, { scored, refused, failed });
  if (mean === null) return [words];
  return [words, el("span", { class: "mean" }, t("mean", { score: mean.toFixed(1) }))];
}

/** Return the finished summary in one line, for screen readers. */
export function endingWords(items) {
  return ending(countsOf(items))
    .map((part) => part.textContent ?? part)
    .join(", ");
}

function groupOf({ state, reply }) {
  if (state === "scored") return `label ${kindOf(reply).label(reply)}`;
  return state === "refused" || state === "failed" ? NOT_SCORED : null;
}

// Labels in their kind's order, then what has none.
function groupsOf(items) {
  const groups = new Map();
  for (const item of items) {
    const name = groupOf(item);
    if (name === null) continue;
    if (!groups.has(name)) groups.set(name, { name, n: 0, ...lookOf(item) });
    groups.get(name).n += 1;
  }
  const sorted = [...groups].sort(([, one], [, other]) => one.place - other.place || other.n - one.n);
  return new Map(sorted);
}

function lookOf({ state, reply }) {
  if (state !== "scored") return { text: t("notScored"), tone: "none", place: Infinity };
  const kind = kindOf(reply);
  const label = kind.label(reply);
  return { text: kind.labelText(label), tone: kind.tone(label), place: kind.order?.indexOf(label) ?? 0 };
}

function share({ n, tone }) {
  const part = el("span", { "data-tone": tone });
  part.style.setProperty("--n", String(n));
  return part;
}

function valueOf({ reply }) {
  return reply === null ? null : kindOf(reply).value(reply);
}
