// The results page: numbers as they come, until they are final.

import { documentArrival, serverClock } from "./clock.js";
import { offerElsewhere } from "./elsewhere.js";
import { votes } from "./format.js";
import { SILENCE_MS, freshness } from "./freshness.js";
import { showDataTime, showPartials } from "./partials.js";
import { baseOf } from "./poll.js";
import { backoff } from "./retry.js";

const main = document.querySelector("main");
const { base, agora } = main.dataset;
const clock = serverClock(agora, documentArrival());
const find = (selector) => main.querySelector(selector);

const PHASES = {
  agendado: "A votação ainda não começou.",
  aberto: "A votação está aberta. Os números mudam a cada segundo.",
  encerrado: "A votação está encerrada. Os últimos votos ainda estão sendo conferidos.",
  final: "A votação está encerrada e conferida.",
};

let link = "connecting";
let dataAsOf = find(".data-time").dateTime;
let heardAt = performance.now();
let failures = 0;
let stream = null;

if (main.dataset.estado !== "aberto") offerElsewhere(base, find("#elsewhere"));
listen();
const ticker = setInterval(tick, 1000);
tick();

/**
 * A broken stream is made anew here, after a wait with jitter: left to itself EventSource brings
 * everybody back at the same instant, and after an error answer nobody.
 */
function listen() {
  stream = new EventSource(`${base}/eventos`);
  stream.addEventListener("open", () => changeLink("live"));
  stream.addEventListener("parcial", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("final", (event) => finish(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    changeLink("lost");
    listenLater();
  });
}

function listenLater() {
  stream.close();
  failures += 1;
  setTimeout(listen, 500 + backoff(failures + 1));
}

function take(poll) {
  if (baseOf(poll) !== base) return;
  heardAt = performance.now();
  failures = 0;
  clock.hear(poll.dados_de);
  dataAsOf = poll.dados_de;
  main.dataset.estado = poll.estado;
  find("#phase-text").textContent = PHASES[poll.estado] ?? "";
  document.querySelector(".nav-link").hidden = poll.estado !== "aberto";
  if (poll.estado !== "aberto") offerElsewhere(base, find("#elsewhere"));
  showPartials(main, poll.parciais);
  showDataTime(main, dataAsOf);
  showFreshness();
}

function finish(poll) {
  stream.close();
  clearInterval(ticker);
  link = "done";
  take(poll);
  const total = find(".grand-total");
  total.hidden = false;
  total.querySelector(".grand-total-number").textContent = votes(poll.total);
  find("#verdict").textContent = "Resultado final";
  find("#verdict").classList.add("chip-final");
  document.title = document.title.replace("Parcial", "Resultado final");
  announce("Resultado final.");
}

function changeLink(next) {
  if (next === link) return;
  if (next === "lost") announce("Conexão perdida. Os números na tela podem estar velhos.");
  if (next === "live" && link === "lost") announce("Conexão de volta. Números ao vivo.");
  link = next;
  heardAt = performance.now();
  showFreshness();
}

function tick() {
  showFreshness();
  if (link === "live" && performance.now() - heardAt > SILENCE_MS) probe();
}

/** A connection can die without a word; a stream that is silent for long is asked about. */
async function probe() {
  heardAt = performance.now();
  try {
    const response = await fetch(`${base}/parcial`, {
      cache: "no-store",
      signal: AbortSignal.timeout(5000),
    });
    if (!response.ok) throw new Error(`status ${response.status}`);
    if (link !== "done") take(await response.json());
  } catch {
    changeLink("lost");
    listenLater();
  }
}

function showFreshness() {
  const { mark, age } = freshness({ link, dataAsOf, now: clock.now() });
  main.dataset.ligacao = link;
  setText(find("#link-state"), mark);
  setText(find("#data-age"), age);
}

/** Unchanged text is left alone, so that nothing is read out or painted for nothing. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function announce(text) {
  find("#announcement").textContent = text;
}
