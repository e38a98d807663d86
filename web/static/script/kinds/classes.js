// A classifier's reply: the class, how sure it is, and the five likeliest with bars.
import { el } from "../dom.js";
import { t } from "../i18n.js";

const SHOWN = 5;

export const order = null;
export const mapWords = {
  showMap: "showClassMap",
  mapOf: "classMapOf",
  mapLoses: "mapAgainst",
  mapGains: "mapFor",
  sayMapShown: "sayClassMapShown",
};

export const matches = (reply) => "predicted_label" in reply;
export const label = (reply) => String(reply.predicted_label ?? reply.label ?? "");
export const labelText = (name) => name;
export const tone = () => "plain";
export const value = (reply) => reply.confidence ?? 0;

export function answer(reply) {
  return `${label(reply)}, ${sure(reply.confidence)}`;
}

export function body(reply) {
  const likeliest = Object.entries(reply.probabilities ?? {})
    .sort((one, other) => other[1] - one[1])
    .slice(0, SHOWN);
  return el(
    "div",
    { class: "answer", "data-tone": "plain" },
    el(
      "p",
      { class: "score-line" },
      el("span", { class: "class-name", "data-testid": "label" }, label(reply)),
      el("span", { class: "out-of" }, ` ${sure(reply.confidence)}`),
    ),
    el("ol", { class: "classes", "aria-label": t("topClasses") }, ...likeliest.map(bar)),
  );
}

export function row(reply) {
  return { predicted_label: label(reply), confidence: reply.confidence ?? "" };
}

function bar([name, probability]) {
  const fill = el("span", { class: "bar-fill" });
  fill.style.setProperty("--to", `${100 * probability}%`);
  return el(
    "li",
    {},
    el("span", { class: "class-of" }, name),
    el("span", { class: "percent" }, `${percent(probability)} %`),
    el("div", { class: "bar", "aria-hidden": "true" }, fill),
  );
}

const percent = (probability) => (100 * probability).toFixed(1);
const sure = (confidence) => t("confidence", { n: percent(confidence ?? 0) });
