// What the page asks of the server, and what came of it.

/** Statuses that pass: the server restarts, swaps its model, or has too much to do. */
const PASSING = new Set([429, 502, 503, 504, 507]);

/**
 * Send one picture to be scored.
 *
 * XMLHttpRequest and not fetch: only it tells how much has been sent.
 *
 * @returns {{answer: Promise<Outcome>, abort: () => void}} An outcome is one of
 *   {kind: "scored", reply},
 *   {kind: "refused" | "failed", reason, status, message},
 *   {kind: "away", retryAfterS} for what will pass; retryAfterS is null where the server names none.
 *   An aborted one has none.
 */
export function score(file, model, onSent) {
  const request = new XMLHttpRequest();
  request.open("POST", `/predictions/${encodeURIComponent(model)}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.addEventListener("progress", (event) => onSent(event.loaded / event.total));
  request.upload.addEventListener("load", () => onSent(1));
  const answer = new Promise((resolve) => {
    request.addEventListener("load", () => resolve(outcome(request)));
    request.addEventListener("error", async () => {
      resolve((await isReadable(file)) ? { kind: "away", retryAfterS: null } : unreadable());
    });
  });
  request.send(file);
  return { answer, abort: () => request.abort() };
}

/** Fetch the quality map of a picture as a PNG; throws {reason, status, message}. */
export async function qualityMap(file, model) {
  let reply;
  try {
    reply = await fetch(`/explanations/${encodeURIComponent(model)}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream", Accept: "image/png" },
      body: file,
    });
  } catch {
    throw { reason: "away", status: 0, message: "" };
  }
  if (reply.ok) return reply.blob();
  const told = parsed(await reply.text());
  throw { reason: reasonOf(told, reply.status), status: reply.status, message: told.message ?? "" };
}

/** Return the names of the models that are served. */
export async function models() {
  try {
    return (await (await fetch("/page/models")).json()).models;
  } catch {
    return ["iqa"];
  }
}

/** Return {ready, name, version}; ready is false where the server says so or does not answer. */
export async function health() {
  try {
    const reply = await fetch("/health");
    const told = parsed(await reply.text());
    return { ready: reply.ok, name: told.model_name, version: told.model_version };
  } catch {
    return { ready: false };
  }
}

function outcome(request) {
  const { status } = request;
  const told = parsed(request.responseText);
  if (status === 200 && told.model) return { kind: "scored", reply: told };
  if (PASSING.has(status)) {
    const seconds = Number(request.getResponseHeader("Retry-After") ?? NaN);
    return { kind: "away", retryAfterS: seconds >= 0 ? seconds : null };
  }
  const kind = status >= 400 && status < 500 ? "refused" : "failed";
  return { kind, reason: reasonOf(told, status), status, message: told.message ?? "" };
}

function reasonOf(told, status) {
  return told.reason ?? (status === 413 ? "too_many_bytes" : "other");
}

function parsed(text) {
  try {
    const told = JSON.parse(text);
    return told !== null && typeof told === "object" ? told : {};
  } catch {
    return {};
  }
}

// A file that was moved or changed since it was chosen fails as a lost connection does.
async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

function unreadable() {
  return { kind: "refused", reason: "unreadable", status: 0, message: "" };
}
