// The results page: numbers as they come, until they are final.

import { documentArrival, serverClock } from "./clock.js";
import { Elsewhere } from "./elsewhere.js";
import { votes } from "./format.js";
import { freshness } from "./freshness.js";
import { PollLink } from "./live.js";
import { showDataTime, showPartials } from "./partials.js";

const main = document.querySelector("main");
const { base, agora } = main.dataset;
const clock = serverClock(agora, documentArrival());
const find = (selector) => main.querySelector(selector);

const PHASES = {
  agendado: "A votação ainda não começou.",
  aberto: "A votação está aberta. Os números mudam enquanto os votos chegam.",
  encerrado: "A votação está encerrada. Os últimos votos ainda estão sendo conferidos.",
  final: "A votação está encerrada e conferida.",
};

const elsewhere = new Elsewhere(base, find("#elsewhere"));
let dataAsOf = find(".data-time").dateTime;
const link = new PollLink(base, { numbers: take, final: finish, change: announceLink });
const ticker = setInterval(tick, 1000);
followState(main.dataset.estado);
showFreshness();

function tick() {
  link.tick();
  showFreshness();
}

function take(poll) {
  clock.hear(poll.dados_de);
  dataAsOf = poll.dados_de;
  followState(poll.estado);
  showPartials(main, poll.parciais);
  showDataTime(main, dataAsOf);
  showFreshness();
}

function followState(state) {
  main.dataset.estado = state;
  setText(find("#phase-text"), PHASES[state] ?? "");
  document.querySelector(".nav-link").hidden = state !== "aberto";
  if (state === "aberto") elsewhere.end();
  else elsewhere.offer();
  if (state === "final") showVerdict();
}

/** Shares that are final may be known some seconds before the exact numbers. */
function showVerdict() {
  const verdict = find("#verdict");
  if (verdict.classList.contains("chip-final")) return;
  verdict.textContent = "Resultado final";
  verdict.classList.add("chip-final");
  document.title = document.title.replace("Parcial", "Resultado final");
  announce("Resultado final.");
}

function finish(poll) {
  clearInterval(ticker);
  take(poll);
  const total = find(".grand-total");
  total.hidden = false;
  total.querySelector(".grand-total-number").textContent = votes(poll.total);
}

function announceLink(state, before) {
  if (isFinal()) return;
  if (state === "lost") announce("Conexão perdida. Os números na tela podem estar velhos.");
  if (state === "asking") announce("Sem transmissão ao vivo. Os números são atualizados a cada poucos segundos.");
  if (state === "live" && before !== "connecting") announce("Números ao vivo de novo.");
  showFreshness();
}

/** Final numbers do not age, whatever becomes of the link. */
function showFreshness() {
  const state = isFinal() ? "done" : link.state;
  const { mark, age } = freshness({ link: state, dataAsOf, now: clock.now() });
  main.dataset.ligacao = state;
  setText(find("#link-state"), mark);
  setText(find("#data-age"), age);
}

function isFinal() {
  return main.dataset.estado === "final";
}

/** Unchanged text is left alone, so that nothing is read out or painted for nothing. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function announce(text) {
  find("#announcement").textContent = text;
}
