// File -> a small picture of it, upright and on white as the server sees it. One at a time, so that
// never more than one decoded picture is held.
const LONGEST_PX = 720;

let last = Promise.resolve();
onmessage = ({ data: { id, file } }) => {
  last = last.then(async () => postMessage({ id, ...(await preview(file)) }));
};

async function preview(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, LONGEST_PX / Math.max(bitmap.width, bitmap.height));
    const width = Math.max(1, Math.round(bitmap.width * scale));
    const height = Math.max(1, Math.round(bitmap.height * scale));
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
    return { blob, width: bitmap.width, height: bitmap.height };
  } catch {
    return { blob: null }; // a format that this browser cannot show, or no picture at all
  } finally {
    bitmap?.close();
  }
}
