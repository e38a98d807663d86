// The dialog that says what a score means.
import { el } from "./dom.js";
import { t } from "./i18n.js";
import { FLOORS, labelText } from "./kinds/quality.js";

/** Let a button open the dialog, and Escape, its cross or a click beside it close it. */
export function listen() {
  const dialog = document.getElementById("about");
  document.getElementById("about-open").addEventListener("click", () => dialog.showModal());
  document.getElementById("about-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}

/** Write the table of labels in the reader's language. */
export function translate() {
  const labels = Object.entries(FLOORS);
  const rows = labels.map(([label, floor], place) => {
    const above = place === 0 ? null : labels[place - 1][1];
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, el("span", { class: "label", "data-tone": label }, labelText(label))),
      el("td", { class: "nowrap" }, range(floor, above)),
      el("td", {}, t(`band.${label}`)),
    );
  });
  document.getElementById("bands").replaceChildren(...rows);
}

function range(floor, above) {
  if (above === null) return t("from", { n: floor });
  return floor === 0 ? t("below", { n: above }) : t("fromTo", { low: floor, high: above });
}
