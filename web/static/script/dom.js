// Elements without markup in strings: names and messages of a server stay text.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element; attributes that are null or false are left out, handlers begin with "on". */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Return one of the icons of index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Make `elements` the children, and move only what is out of place: clicks and focus survive. */
export function arrange(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, place) => {
    if (parent.children[place] === element) return;
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    parent.insertBefore(element, parent.children[place] ?? null);
    focused?.focus();
  });
}
