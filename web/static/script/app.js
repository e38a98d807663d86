// The page: pictures come in, go to the server four at a time, and are shown as cards.
import { Card, errorWords } from "./card.js";
import { csv, save } from "./csv.js";
import { arrange, el } from "./dom.js";
import * as i18n from "./i18n.js";
import * as intake from "./intake.js";
import { kindOf } from "./kinds/index.js";
import * as meaning from "./meaning.js";
import { Item, Queue } from "./queue.js";
import * as server from "./server.js";
import { endingWords, Toolbar } from "./toolbar.js";

const SAMPLES = ["parrots.jpg", "lighthouse.jpg", "parrots_blurred.jpg"];
// More than these are summed up for screen readers, and not read out one by one.
const FEW = 3;
// Of a preview: in a grid, and of a picture that may be shown alone.
const SMALL_PX = 720;
const LARGE_PX = 1600;

const { t } = i18n;
const byId = (id) => document.getElementById(id);
const cards = new Map();
const items = () => [...cards.keys()];

let model = "iqa";
let served = null;
let isReady = true;
let wasBusy = false;
let isDue = false;

const queue = new Queue((file, onSent) => server.score(file, model, onSent));
const toolbar = new Toolbar(draw);
const actions = { retry: (item) => start([item]), remove, say, model: () => model };

async function take(files) {
  await modelsAreKnown;
  const added = files.map((file) => new Item(file));
  for (const item of added) cards.set(item, new Card(item, actions));
  if (added.length > FEW) say(t("sayAdded", { n: added.length }));
  start(added);
  draw();
  // After the first requests are on their way: the score is what people wait for.
  const longestPx = added.length > FEW ? SMALL_PX : LARGE_PX;
  setTimeout(() => added.forEach((item) => cards.get(item)?.loadPreview(longestPx)));
}

function start(some) {
  if (!queue.isBusy) toolbar.begin(items().filter((item) => !some.includes(item)));
  queue.add(some);
}

function remove(item) {
  const { element } = cards.get(item);
  const next = element.nextElementSibling ?? element.previousElementSibling;
  cards.get(item).free();
  cards.delete(item);
  queue.remove(item);
  draw();
  say(t("sayRemoved"));
  (next?.querySelector(".remove") ?? byId("choose")).focus();
}

function clear() {
  queue.cancel();
  for (const [item, card] of cards) {
    card.free();
    queue.remove(item);
  }
  cards.clear();
  draw();
  byId("choose").focus();
}

queue.addEventListener("item", ({ detail: item }) => {
  cards.get(item)?.show();
  if (item.state === "scored") {
    isReady = true;
    served = item.reply.model;
  }
  if (item.isOver && cards.size <= FEW) say(outcomeWords(item));
  draw();
});
queue.addEventListener("away", () => {
  if (queue.nextTry !== null && byId("banner").hidden) say(t("awayNow", { waiting: waiting() }));
  showBanner();
});
setInterval(showBanner, 500);

// Many changes of one moment are drawn once.
function draw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    const all = items();
    document.body.classList.toggle("is-empty", all.length === 0);
    byId("pictures").hidden = all.length === 0;
    byId("choose-text").dataset.text = all.length === 0 ? "choose" : "add";
    byId("choose-text").textContent = t(byId("choose-text").dataset.text);
    toolbar.show(all, queue.isBusy);
    const shown = toolbar.chosen(all).map((item) => cards.get(item).element);
    arrange(byId("cards"), shown);
    byId("cards").dataset.count = shown.length === 1 ? "one" : "many";
    byId("nothing").hidden = shown.length > 0;
    if (wasBusy && !queue.isBusy && all.length > FEW) say(endingWords(all));
    wasBusy = queue.isBusy;
    byId("served").textContent = served ? t("served", { model: served.name, version: served.version }) : "";
    showBanner();
  });
}

function showBanner() {
  const seconds = queue.nextTry === null ? 0 : Math.ceil((queue.nextTry - Date.now()) / 1000);
  let words = "";
  if (queue.nextTry !== null) words = t(seconds > 0 ? "away" : "awayNow", { n: seconds, waiting: waiting() });
  else if (!isReady) words = t("notReady");
  const banner = byId("banner");
  if (banner.textContent !== words) banner.textContent = words;
  banner.hidden = words === "";
}

function waiting() {
  return items().filter((item) => !item.isOver).length;
}

function outcomeWords(item) {
  const { name, reply, error } = item;
  if (reply !== null) return t("sayScored", { name, answer: kindOf(reply).answer(reply) });
  const { why, what } = errorWords(error);
  return t("sayRefused", { name, why: `${why} ${what}` });
}

function say(words) {
  byId("said").textContent = words;
}

function translate() {
  document.documentElement.lang = i18n.current();
  document.title = t("title");
  i18n.translate(document);
  meaning.translate();
  for (const button of byId("languages").children) {
    button.setAttribute("aria-pressed", String(button.dataset.language === i18n.current()));
  }
  for (const card of cards.values()) card.show();
  draw();
}

async function takeSamples() {
  const files = SAMPLES.map(async (name) => {
    const blob = await (await fetch(`/static/samples/${name}`)).blob();
    return new File([blob], name, { type: blob.type });
  });
  take(await Promise.all(files));
}

async function learnModels() {
  const names = await server.models();
  [model] = names;
  byId("model").replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  byId("model-choice").hidden = names.length < 2;
}

async function learnHealth() {
  const { ready, name, version } = await server.health();
  isReady = ready || served !== null;
  if (ready && version && served === null) served = { name, version };
  draw();
}

function changeModel(name) {
  model = name;
  served = null;
  for (const card of cards.values()) card.forgetMap();
  queue.cancel();
  start(items());
}

intake.choosing(byId("files"), take);
intake.listen(take);
meaning.listen();
byId("choose").addEventListener("click", () => byId("files").click());
byId("camera").addEventListener("click", () => intake.photograph(take));
byId("samples").addEventListener("click", takeSamples);
byId("cancel").addEventListener("click", () => queue.cancel());
for (const image of byId("samples").querySelectorAll("img")) {
  image.addEventListener("error", () => (byId("samples").hidden = true)); // they are not shipped
}
byId("retry-failed").addEventListener("click", () => start(items().filter(({ state }) => state === "failed")));
byId("csv").addEventListener("click", () => {
  const day = new Date().toISOString().slice(0, 10);
  save(csv(toolbar.chosen(items())), `image-quality-${day}.csv`);
});
byId("clear").addEventListener("click", clear);
byId("model").addEventListener("change", (event) => changeModel(event.target.value));
byId("languages").addEventListener("click", ({ target }) => {
  if (target.dataset.language) i18n.choose(target.dataset.language);
});
i18n.changed.addEventListener("change", translate);
window.addEventListener("online", () => queue.wake());
window.addEventListener("beforeunload", (event) => {
  if (queue.isBusy) event.preventDefault();
});

translate();
const modelsAreKnown = learnModels();
learnHealth();
