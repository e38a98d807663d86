// A score of 0 to 100 with a label, and where the model promises one an interval.
import { el } from "../dom.js";
import { has, t } from "../i18n.js";

/** The lowest score of each label, the best first; a test holds it to the server's. */
export const FLOORS = { excellent: 80, good: 60, fair: 40, poor: 0 };
export const order = Object.keys(FLOORS);
export const mapWords = {};

export const matches = (reply) => typeof reply.score === "number";
export const label = (reply) => reply.label;
export const labelText = (name) => (name in FLOORS ? t(`label.${name}`) : name);
export const tone = (name) => (name in FLOORS ? name : "plain");
export const value = (reply) => reply.score;

/** A dot in every language: whoever reads the page by a program gets a number. */
export const digits = (score) => score.toFixed(1);

export function answer(reply) {
  const words = `${t("scoreLabel")} ${digits(reply.score)}, ${labelText(reply.label)}`;
  return reply.interval ? `${words}. ${intervalText(reply)}` : words;
}

export function body(reply) {
  const { score, interval } = reply;
  const fill = el("span", { class: "bar-fill" });
  fill.style.setProperty("--to", `${score}%`);
  const bar = el("div", { class: "bar", "aria-hidden": "true" }, fill);
  for (const floor of Object.values(FLOORS).filter((floor) => floor > 0)) {
    const tick = el("span", { class: "bar-tick" });
    tick.style.setProperty("--at", `${floor}%`);
    bar.append(tick);
  }
  const parts = [
    el(
      "p",
      { class: "score-line" },
      el("span", { class: "score", "data-testid": "score" }, digits(score)),
      el("span", { class: "out-of" }, ` ${t("outOf")}`),
      el("span", { class: "label", "data-testid": "label" }, labelText(reply.label)),
    ),
    bar,
  ];
  if (interval) {
    const range = el("span", { class: "range" });
    range.style.setProperty("--from", `${interval[0]}%`);
    range.style.setProperty("--to", `${interval[1]}%`);
    parts.push(
      el("div", { class: "range-track", "aria-hidden": "true" }, range),
      el("p", { class: "interval" }, intervalText(reply)),
    );
  }
  const cause = reply.main_cause;
  if (cause && has(`cause.${cause}`)) {
    parts.push(el("p", { class: "interval" }, t("mainCause", { cause: t(`cause.${cause}`) })));
  }
  return el("div", { class: "answer", "data-tone": tone(reply.label) }, ...parts);
}

export function row(reply) {
  const [low, high] = reply.interval ?? ["", ""];
  return {
    score: reply.score,
    label: reply.label,
    interval_low: low,
    interval_high: high,
    coverage: reply.coverage ?? "",
    ...(reply.causes ? { main_cause: reply.main_cause ?? "", ...reply.causes } : {}),
  };
}

function intervalText({ interval: [low, high], coverage }) {
  const often =
    coverage === 0.9 ? t("often9") : t("oftenPercent", { n: Math.round(100 * coverage) });
  return t("interval", { low: Math.round(low), high: Math.round(high), often });
}
