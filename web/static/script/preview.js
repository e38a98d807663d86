// Previews, made in a worker so that the page stays quick while two hundred are made.

let worker = null;
const wanted = new Map();
let count = 0;

/** Return {url, width, height} of a picture at most `longestPx` long, or null where the browser cannot show it. */
export function preview(file, longestPx) {
  worker ??= started();
  const id = count++;
  worker.postMessage({ id, file, longestPx });
  return new Promise((resolve) => wanted.set(id, resolve));
}

function started() {
  const made = new Worker(new URL("./preview-worker.js", import.meta.url), { type: "module" });
  made.onmessage = ({ data: { id, blob, width, height } }) => {
    wanted.get(id)(blob === null ? null : { url: URL.createObjectURL(blob), width, height });
    wanted.delete(id);
  };
  return made;
}
