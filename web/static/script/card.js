// One picture on the page: its preview, what became of it, and what can be done with it.
import { arrange, el, icon } from "./dom.js";
import { has, t } from "./i18n.js";
import { kindOf } from "./kinds/index.js";
import { preview } from "./preview.js";
import { qualityMap } from "./server.js";

export class Card {
  #preview = null;
  #map = { state: "none", url: null, error: null };
  #isGone = false;

  /** @param actions {retry(item), remove(item), say(words), model()} */
  constructor(item, actions) {
    this.item = item;
    this.actions = actions;
    const id = `picture-${item.number}`;
    this.stage = el("div", { class: "stage" });
    this.mapWords = el("span");
    this.mapButton = el(
      "button",
      { type: "button", class: "map-toggle", onclick: () => this.#toggleMap() },
      icon("map"),
      this.mapWords,
    );
    this.mapNote = el("div", { class: "map-notes", role: "status" });
    this.removeButton = el(
      "button",
      { type: "button", class: "round remove", onclick: () => this.actions.remove(item) },
      icon("close"),
    );
    this.told = el("div", { class: "told" });
    this.element = el(
      "li",
      { class: "card", "data-testid": "result", tabindex: "-1", "aria-labelledby": id },
      el("div", { class: "frame" }, this.stage, this.mapNote, this.mapButton, this.removeButton),
      el(
        "div",
        { class: "text" },
        el("h3", { class: "name", id, title: item.name }, item.name),
        this.told,
      ),
    );
    this.show();
  }

  /** Make the small picture. Called once the upload has begun: the score is what people wait for. */
  async loadPreview(longestPx) {
    if (this.#preview !== null) return;
    this.#preview = { url: null };
    const made = (await preview(this.item.file, longestPx)) ?? { url: null, isUnknown: true };
    if (this.#isGone) {
      if (made.url) URL.revokeObjectURL(made.url);
      return;
    }
    this.#preview = made;
    if (made.url) made.image = el("img", { class: "preview", src: made.url, alt: "" });
    this.#showFrame();
    if (this.#isTurned()) this.show();
  }

  /** Show the item's state, in the language of now. */
  show() {
    const { state, sent } = this.item;
    if (this.element.dataset.state === state && state === "sending") {
      this.#showSent(sent);
      return;
    }
    this.element.dataset.state = state;
    this.element.setAttribute("aria-busy", String(!this.item.isOver));
    this.told.replaceChildren(...this.#words());
    if (state === "sending") this.#showSent(sent);
    this.#showFrame();
  }

  /** Free what the browser keeps for this picture. */
  free() {
    this.#isGone = true;
    for (const url of [this.#preview?.url, this.#map.url]) if (url) URL.revokeObjectURL(url);
    this.element.remove();
  }

  /** Forget the map: another model has another one. */
  forgetMap() {
    if (this.#map.url) URL.revokeObjectURL(this.#map.url);
    this.#map = { state: "none", url: null, error: null };
    this.#showFrame();
  }

  #words() {
    const { state, reply } = this.item;
    if (state === "scored") return [kindOf(reply).body(reply), ...this.#notes(), this.#facts()];
    if (state === "refused" || state === "failed") return [this.#error()];
    const line = el("p", { class: "state" }, t(state, { n: 0 }));
    return [line, el("div", { class: "bar", "aria-hidden": "true" }, el("span", { class: "bar-fill" }))];
  }

  #showSent(sent) {
    this.told.querySelector(".state").textContent = t("sending", { n: Math.floor(100 * sent) });
    this.told.querySelector(".bar-fill").style.setProperty("--to", `${100 * sent}%`);
  }

  #notes() {
    const notes = this.item.reply.warnings.map((name) =>
      has(`warning.${name}`) ? t(`warning.${name}`) : t("warning.other", { name }),
    );
    if (this.#isTurned()) notes.push(t("previewTurned", this.item.reply.image));
    if (notes.length === 0) return [];
    const lines = notes.map((note) => el("li", {}, icon("note"), el("span", {}, note)));
    return [el("ul", { class: "notes", "aria-label": t("warnings") }, ...lines)];
  }

  // The browser may not know a rotation that the server follows.
  #isTurned() {
    const seen = this.#preview;
    const image = this.item.reply?.image;
    if (!seen?.width || !image) return false;
    return seen.width !== image.width || seen.height !== image.height;
  }

  #facts() {
    return el("p", { class: "facts" }, t("facts", this.item.reply.image));
  }

  #error() {
    const { state, error } = this.item;
    const { why, what } = errorWords(error);
    return el(
      "div",
      { class: "error", "data-testid": "error", "data-reason": error.reason },
      el("p", { class: "why" }, icon("warn"), el("strong", {}, why)),
      el("p", { class: "what" }, what),
      error.message
        ? el("details", {}, el("summary", {}, t("details")), el("p", { lang: "en" }, error.message))
        : null,
      state === "failed"
        ? el(
            "button",
            { type: "button", class: "secondary small", onclick: () => this.#retry() },
            icon("retry"),
            t("retry"),
          )
        : null,
    );
  }

  #retry() {
    this.actions.retry(this.item);
    this.element.focus(); // the button is gone
  }

  #showFrame() {
    const { name, state, reply } = this.item;
    this.#showStage(reply);
    const map = this.#map.state;
    this.mapNote.replaceChildren(...this.#mapNotes());
    this.mapButton.hidden = !(state === "scored" && kindOf(reply).mapWords);
    const words = this.#mapText({ loading: "loadingMap", shown: "hideMap" }[map] ?? "showMap");
    this.mapWords.textContent = words;
    this.mapButton.setAttribute("aria-label", `${words}: ${name}`);
    this.mapButton.setAttribute("aria-pressed", String(map === "shown"));
    this.removeButton.setAttribute("aria-label", t("remove", { name }));
  }

  // What there is to see, in a box of the picture's own shape.
  #showStage(reply) {
    const images = [];
    if (this.#preview?.image) images.push(this.#preview.image);
    if (this.#map.state === "shown") {
      this.#map.image.alt = this.#mapText("mapOf", { name: this.item.name });
      images.push(this.#map.image);
    }
    const size = this.#preview?.width ? this.#preview : reply?.image;
    this.stage.style.setProperty("--ratio", images.length > 0 ? `${size.width / size.height}` : "1.333");
    if (images.length === 0) {
      const words = this.#preview?.isUnknown && reply !== null ? t("noPreview") : "";
      images.push(el("div", { class: "no-preview" }, icon("picture"), el("span", {}, words)));
    }
    arrange(this.stage, images);
  }

  // A map of a class is spoken of in other words than one of a score.
  #mapText(word, values) {
    const { reply } = this.item;
    return t((reply && kindOf(reply).mapWords?.[word]) ?? word, values);
  }

  #mapNotes() {
    if (this.#map.state === "shown") {
      const [loses, gains] = ["loses", "gains"].map((kind) => el("span", { class: kind }));
      loses.textContent = this.#mapText("mapLoses");
      gains.textContent = this.#mapText("mapGains");
      return [el("p", { class: "legend" }, loses, gains)];
    }
    if (this.#map.state !== "failed") return [];
    const { why, what } = errorWords(this.#map.error);
    return [el("p", { class: "map-error" }, `${why} ${what}`)];
  }

  async #toggleMap() {
    if (this.#map.state === "loading") return;
    if (this.#map.state === "shown") this.#map.state = "hidden";
    else if (this.#map.url !== null) this.#map.state = "shown";
    else {
      this.#map = { state: "loading", url: null, error: null };
      this.#showFrame();
      await this.#loadMap();
    }
    if (this.#map.state === "shown") this.actions.say(this.#mapText("sayMapShown"));
    this.#showFrame();
  }

  async #loadMap() {
    const asked = this.#map;
    try {
      const blob = await qualityMap(this.item.file, this.actions.model());
      if (this.#isGone || this.#map !== asked) return;
      const url = URL.createObjectURL(blob);
      this.#map = { state: "shown", url, image: el("img", { class: "map", src: url }), error: null };
    } catch (error) {
      if (this.#map === asked) this.#map = { state: "failed", url: null, error };
    }
  }
}

/** Return {why, what}: what happened, and what to do. */
export function errorWords({ reason, status }) {
  const known = has(`reason.${reason}`) ? reason : "other";
  return { why: t(`reason.${known}`, { status }), what: t(`do.${known}`) };
}
