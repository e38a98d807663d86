// File -> a small picture of it, upright and on white as the server sees it. One at a time, so that
// never more than one decoded picture is held.
import { orientationLeft, undoing } from "./webp.js";

let last = Promise.resolve();
onmessage = ({ data: { id, file, longestPx } }) => {
  last = last.then(async () => postMessage({ id, ...(await preview(file, longestPx)) }));
};

async function preview(file, longestPx) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const orientation = await orientationLeft(file).catch(() => 1);
    const isLying = orientation > 4;
    const [width, height] = isLying ? [bitmap.height, bitmap.width] : [bitmap.width, bitmap.height];
    const scale = Math.min(1, longestPx / Math.max(width, height));
    const canvas = new OffscreenCanvas(
      Math.max(1, Math.round(width * scale)),
      Math.max(1, Math.round(height * scale)),
    );
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.scale(canvas.width / width, canvas.height / height);
    context.transform(...undoing(orientation, width, height));
    context.drawImage(bitmap, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
    return { blob, width, height };
  } catch {
    return { blob: null }; // a format that this browser cannot show, or no picture at all
  } finally {
    bitmap?.close();
  }
}
