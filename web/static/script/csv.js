// Results as a CSV file: UTF-8 with a byte order mark, so that spreadsheets know it.
import { kindOf } from "./kinds/index.js";

// What a spreadsheet takes for a formula (OWASP, CSV injection), full-width forms included.
const FORMULA = /^[\s\u00a0]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;

/** Return the file's text: one line a picture, with what became of it. */
export function csv(items) {
  const rows = items.map(row);
  const columns = [...new Set(rows.flatMap((cells) => Object.keys(cells)))];
  const lines = [columns, ...rows.map((cells) => columns.map((name) => cells[name] ?? ""))];
  return "\ufeff" + lines.map((line) => line.map(cell).join(",") + "\r\n").join("");
}

/** Offer a text as a download. */
export function save(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function row({ name, state, reply, error }) {
  const answer = reply === null ? {} : kindOf(reply).row(reply);
  return {
    image_name: name,
    ...answer,
    width: reply?.image?.width ?? "",
    height: reply?.image?.height ?? "",
    format: reply?.image?.format ?? "",
    warnings: (reply?.warnings ?? []).join(" "),
    model: reply?.model?.name ?? "",
    version: reply?.model?.version ?? "",
    state,
    reason: error?.reason ?? "",
    message: error?.message ?? "",
  };
}

function cell(value) {
  if (typeof value === "number") return String(value);
  const safe = FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
