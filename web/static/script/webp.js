// The EXIF orientation of WebP files. Pillow, and so the server, follows it; Chromium does not.

const ORIENTATION = 0x0112;
// Two pixels above each other, to be turned by a quarter: a browser that follows it makes two
// beside each other of them.
const PROBE =
  "UklGRlIAAABXRUJQVlA4WAoAAAAIAAAAAAAAAQAAVlA4TBIAAAAvAEAAAA8Q87//8x8OJiCi/xFFWElGGgAAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA";

let follows = null;

/** Return 1 to 8 for what is left to be undone after the browser has decoded the file. */
export async function orientationLeft(file) {
  const orientation = await stored(file);
  if (orientation === 1) return 1;
  follows ??= browserFollows();
  return (await follows) ? 1 : orientation;
}

/** Return a canvas transform that undoes an orientation; width and height are the upright ones. */
export function undoing(orientation, width, height) {
  return {
    1: [1, 0, 0, 1, 0, 0],
    2: [-1, 0, 0, 1, width, 0],
    3: [-1, 0, 0, -1, width, height],
    4: [1, 0, 0, -1, 0, height],
    5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, width, 0],
    7: [0, -1, -1, 0, width, height],
    8: [0, -1, 1, 0, 0, height],
  }[orientation];
}

async function browserFollows() {
  const bytes = Uint8Array.from(atob(PROBE), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/webp" }));
  return bitmap.width === 2;
}

async function stored(file) {
  const head = await view(file, 0, 12);
  if (fourLetters(head, 0) !== "RIFF" || fourLetters(head, 8) !== "WEBP") return 1;
  for (let at = 12; at + 8 <= file.size; ) {
    const chunk = await view(file, at, 8);
    const size = chunk.getUint32(4, true);
    if (fourLetters(chunk, 0) === "EXIF") return orientationOf(await view(file, at + 8, size));
    at += 8 + size + (size % 2);
  }
  return 1;
}

// A TIFF header, and in its first directory the tag.
function orientationOf(exif) {
  const start = fourLetters(exif, 0) === "Exif" ? 6 : 0;
  const isLittle = exif.getUint16(start) === 0x4949;
  const directory = start + exif.getUint32(start + 4, isLittle);
  const entries = exif.getUint16(directory, isLittle);
  for (let n = 0; n < entries; n++) {
    const at = directory + 2 + 12 * n;
    if (exif.getUint16(at, isLittle) !== ORIENTATION) continue;
    const value = exif.getUint16(at + 8, isLittle);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

async function view(file, at, size) {
  return new DataView(await file.slice(at, at + size).arrayBuffer());
}

function fourLetters(data, at) {
  if (data.byteLength < at + 4) return "";
  return String.fromCharCode(...[0, 1, 2, 3].map((n) => data.getUint8(at + n)));
}
