// Words in the reader's language: the browser's, until another one is chosen and remembered.
import en from "./strings/en.js";
import vi from "./strings/vi.js";

const STRINGS = { en, vi };
const REMEMBERED = "language";
export const changed = new EventTarget();

let language = remembered() ?? browsers();

export function current() {
  return language;
}

export function choose(name) {
  language = name;
  try {
    localStorage.setItem(REMEMBERED, name);
  } catch {
    // Storage may be off: then the choice lasts as long as the page.
  }
  changed.dispatchEvent(new Event("change"));
}

export function has(key) {
  return key in STRINGS[language];
}

/** Return a string, with {names} replaced by `values`. */
export function t(key, values = {}) {
  return STRINGS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Fill every element of `root` that names a string: data-text its text, data-label its name. */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-text]")) {
    element.textContent = t(element.dataset.text);
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
  }
}

function remembered() {
  try {
    const name = localStorage.getItem(REMEMBERED);
    return name in STRINGS ? name : null;
  } catch {
    return null;
  }
}

function browsers() {
  const known = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return known.find((name) => name in STRINGS) ?? "en";
}
