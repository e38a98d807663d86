// How pictures come in: chosen, dropped (folders too), pasted, or taken with a phone's camera.
import { t } from "./i18n.js";

// What file managers leave in folders.
const NO_PICTURE = /^\.|^(thumbs\.db|desktop\.ini)$/i;
let pasted = 0;

/** Call `take(files)` for whatever is dropped on the page or pasted into it. */
export function listen(take) {
  let depth = 0;
  const show = (isOver) => document.body.classList.toggle("is-over", isOver);
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (holdsFiles(event)) show(++depth > 0);
  });
  document.addEventListener("dragleave", (event) => {
    if (holdsFiles(event)) show(--depth > 0);
  });
  document.addEventListener("dragover", (event) => {
    if (holdsFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    take(await dropped(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) take(files.map(named));
  });
}

/** Let the user choose files. There is one input of this kind, so that scripts find it. */
export function choosing(input, take) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // the same file may be chosen again
    if (files.length > 0) take(files);
  });
}

/** Open a phone's camera. */
export function photograph(take) {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/*";
  input.setAttribute("capture", "environment");
  input.hidden = true;
  document.body.append(input); // Safari opens no input that is outside the page
  input.addEventListener("cancel", () => input.remove());
  input.addEventListener("change", () => {
    take([...input.files]);
    input.remove();
  });
  input.click();
}

// A screenshot in the clipboard has no name of its own.
function named(file) {
  if (file.name && file.name !== "image.png") return file;
  const ending = file.type.split("/")[1] ?? "png";
  return new File([file], `${t("pastedName")}-${++pasted}.${ending}`, { type: file.type });
}

async function dropped(transfer) {
  // The list is emptied when the event is over, so the entries are taken first.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  if (!entries.some((entry) => entry?.isDirectory)) return [...transfer.files];
  const found = await Promise.all(entries.filter((entry) => entry !== null).map(filesOf));
  return found.flat();
}

async function filesOf(entry) {
  if (entry.isFile) {
    return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break; // they come by the hundred
    inside.push(...some);
  }
  const pictures = inside.filter((one) => one.isDirectory || !NO_PICTURE.test(one.name));
  return (await Promise.all(pictures.map(filesOf))).flat();
}
