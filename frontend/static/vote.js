// The vote page: from a tap to a confirmation, or to an honest word about what is not known.

import { newKey, send } from "./ballot.js";
import { documentArrival, serverClock } from "./clock.js";
import { startCountdown } from "./countdown.js";
import { Elsewhere } from "./elsewhere.js";
import { showDataTime, showPartials } from "./partials.js";
import { readPoll } from "./poll.js";
import { enhanceReceiptLink } from "./receipt.js";
import { backoff, stopwatch, untilSettled } from "./retry.js";
import * as wording from "./wording.js";

const main = document.querySelector("main");
const { base, estado, agora, abreEm, encerraEm } = main.dataset;
const clock = serverClock(agora, documentArrival());
const find = (selector) => main.querySelector(selector);

const wall = find("#wall");
const confirmation = find("#confirmation");
const problem = find("#problem");
const status = find("#status");
const elsewhere = new Elsewhere(base, find("#elsewhere"));

/** The poster whose vote is on its way; a tap on any poster meanwhile is not a vote. */
let pending = null;
let stopCountdown = () => {};
/** The poster tapped last, where "vote again" returns to. */
let chosen = null;

if (estado === "aberto") openTheWall();
else elsewhere.offer();
if (estado === "agendado") waitForTheOpening();

function openTheWall() {
  status.textContent = "";
  status.classList.remove("loading");
  for (const poster of wall.querySelectorAll(".poster")) {
    poster.disabled = false;
    poster.addEventListener("click", () => vote(poster));
  }
  find("#vote-again").addEventListener("click", backToTheWall);
  find("#problem-retry").addEventListener("click", backToTheWall);
  enhanceReceiptLink(find(".receipt-link"), find(".receipt-state"));
  if (encerraEm) countDownTo(encerraEm);
}

async function vote(poster) {
  if (pending) return;
  pending = chosen = poster;
  const name = poster.dataset.nome;
  markPending(poster);
  status.textContent = wording.sending(name);
  const ballot = { base, number: Number(poster.dataset.numero), key: newKey() };
  const reply = await untilSettled(() => send(ballot), {
    elapsed: stopwatch(),
    sleep: untilOnlineOr,
    onWait(reply, waitMs) {
      status.textContent = wording.waiting(reply, name, waitMs, navigator.onLine);
    },
  });
  pending = null;
  markPending(null);
  status.textContent = "";
  if (reply.kind === "closed") markClosed();
  if (reply.kind === "accepted") confirm(poster, reply);
  else report(wording.problem(reply, name));
}

/** A wait that ends early when the connection comes back. */
function untilOnlineOr(ms) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
  });
}

/** Posters keep their focus while a vote is pending, so they are marked, not disabled. */
function markPending(poster) {
  wall.classList.toggle("pending", poster !== null);
  for (const each of wall.querySelectorAll(".poster")) {
    each.classList.toggle("chosen", each === poster);
    setState(each, "aria-busy", each === poster);
    setState(each, "aria-disabled", poster !== null);
  }
}

/** For assistive technology an attribute without the word "true" says nothing. */
function setState(element, name, holds) {
  if (holds) element.setAttribute(name, "true");
  else element.removeAttribute(name);
}

function confirm(poster, reply) {
  clock.hear(reply.dataAsOf);
  dress(find(".confirmed"), poster);
  find(".partials").hidden = reply.partials === null;
  find(".partials-hidden").hidden = reply.partials !== null;
  if (reply.partials) showPartials(confirmation, reply.partials);
  showDataTime(confirmation, reply.dataAsOf);
  find(".receipt-link").href = `/recibo/${reply.receipt}`;
  find(".receipt-code").textContent = wording.receiptCode(reply.receipt);
  find(".receipt-state").textContent = "";
  show(confirmation, find("#confirmation-title"));
}

/** The confirmation wears the colours, the letter and the name of the poster that was tapped. */
function dress(banner, poster) {
  banner.className = poster.className.replace("chosen", "").concat(" confirmed");
  for (const part of [".poster-initial", ".poster-name"]) {
    banner.querySelector(part).textContent = poster.querySelector(part).textContent;
  }
  banner.querySelector(".poster-number").textContent = poster.dataset.numero;
}

function report({ title, text, retry }) {
  find("#problem-title").textContent = title;
  find(".problem-text").textContent = text;
  const button = find("#problem-retry");
  button.hidden = retry === null;
  button.textContent = retry ?? "";
  show(problem, find("#problem-title"));
}

function backToTheWall() {
  show(wall, chosen);
}

/** Shows one of the page's three scenes and puts the focus where reading goes on. */
function show(scene, focus) {
  for (const each of [wall, confirmation, problem]) each.hidden = each !== scene;
  main.dataset.cena = scene.id;
  scrollTo({ top: 0 });
  focus.focus({ preventScroll: true });
}

function countDownTo(instant) {
  stopCountdown = startCountdown(find(".countdown"), instant, clock, askWhetherItClosed);
}

/** At zero the server decides: the end may have been moved while this page was open. */
async function askWhetherItClosed(failures = 1) {
  // Everybody's countdown ends at once; the questions are spread over a second or more.
  await untilOnlineOr(1000 + backoff(failures + 1));
  const poll = await readPoll(base);
  if (poll?.estado === "aberto" && Date.parse(poll.encerra_em) > clock.now()) {
    countDownTo(poll.encerra_em);
  } else if (poll === null || poll.estado === "aberto") {
    askWhetherItClosed(failures + 1);
  } else {
    closeTheWall();
  }
}

function markClosed() {
  const chip = find(".chip");
  chip.textContent = "Votação encerrada";
  chip.classList.remove("chip-live");
  find(".lead").hidden = true;
  find("#vote-again").hidden = true;
  stopCountdown();
  find(".countdown")?.setAttribute("hidden", "");
  document.querySelector(".foot").hidden = true;
  elsewhere.offer();
}

/** A vote still on its way is left alone: its own answer says whether it came in time. */
function closeTheWall() {
  markClosed();
  if (!pending && !wall.hidden) report(wording.closedMeanwhile());
}

function waitForTheOpening() {
  if (abreEm) startCountdown(find(".countdown"), abreEm, clock, reloadOnceOpen);
  else reloadOnceOpen();
}

/** Asks now and then whether the poll has opened, and then loads the page with its wall. */
async function reloadOnceOpen(failures = 1) {
  await untilOnlineOr(2000 + backoff(failures + 2));
  const poll = document.hidden ? null : await readPoll(base);
  if (poll && poll.estado !== "agendado") location.reload();
  else reloadOnceOpen(failures + 1);
}
