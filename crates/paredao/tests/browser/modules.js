// Runs inside a page of the program: arguments are the folder of the modules and a callback.
const [files, done] = arguments;
const failures = [];
let passed = 0;

async function test(sentence, body) {
  try {
    await body();
    passed += 1;
  } catch (error) {
    failures.push(`${sentence}: ${error.message}`);
  }
}

function equal(actual, expected) {
  const [a, e] = [actual, expected].map((value) => JSON.stringify(value));
  if (a !== e) throw new Error(`${a} is not ${e}`);
}

function holds(condition, what) {
  if (!condition) throw new Error(what);
}

async function formats() {
  const { age, clockTime, duration, percent, timeLeft, votes } = await import(`${files}/format.js`);
  await test("percentages keep the server's digits", () => {
    equal(["0.00", "56.73", "100.00"].map(percent), ["0,00%", "56,73%", "100,00%"]);
  });
  await test("votes are grouped by points", () => {
    equal([0, 1, 1532944337].map(votes), ["0 votos", "1 voto", "1.532.944.337 votos"]);
  });
  await test("times are the poll's own, whatever the phone's zone", () => {
    equal(clockTime("2026-11-20T21:14:03.120-05:00"), "21:14:03");
  });
  await test("ages are never in the future", () => {
    equal([-5000, 1999, 59_999, 60_000, 7_200_000].map(age), ["agora", "agora", "há 59 s", "há 1 min", "há 2 h"]);
  });
  await test("time left reaches zero only when it is up", () => {
    equal([-1, 0, 1, 61_000, 3_600_000].map(timeLeft), ["0:00", "0:00", "0:01", "1:01", "1:00:00"]);
  });
  await test("a length of time is at least a second in words, and never finer than it is worth", () => {
    equal([0, 1000, 12_400].map(duration), ["1 segundo", "1 segundo", "12 segundos"]);
    equal([90_000, 118_000, 3_600_000].map(duration), ["90 segundos", "cerca de 2 minutos", "cerca de 60 minutos"]);
  });
}

async function backoffs() {
  const { askedWait, backoff, between, waitAfter } = await import(`${files}/retry.js`);
  await test("the bound of the backoff doubles up to a limit", () => {
    equal([1, 2, 3, 6, 50].map((n) => backoff(n, () => 1)), [500, 1000, 2000, 15_000, 15_000]);
  });
  await test("jitter is full: the wait may be anything below the bound", () => {
    equal([0, 0.5].map((chance) => backoff(4, () => chance)), [0, 2000]);
  });
  await test("a wait is never shorter than the server asked for", () => {
    equal([waitAfter(1, 3000, () => 0), waitAfter(3, 3000, () => 1)], [3000, 5000]);
    equal(waitAfter(1, null, () => 0), 0);
  });
  await test("what lies between two bounds never leaves them", () => {
    equal([0, 0.5, 1].map((chance) => between(2000, 4000, () => chance)), [2000, 3000, 4000]);
  });
  await test("the body's milliseconds win over the header's seconds", () => {
    equal([askedWait({ retry_after_ms: 700 }, "3"), askedWait(null, "3"), askedWait(null, null)], [700, 3000, null]);
    equal(askedWait({}, "Fri, 20 Nov 2026 21:14:03 GMT"), null);
  });
}

/** Time that passes only by sleeping, and replies that come one after the other. */
function stage(replies, attemptMs = 0) {
  const state = { now: 0, waits: [], attempts: 0 };
  const attempt = async () => {
    state.now += attemptMs;
    state.attempts += 1;
    return replies[Math.min(state.attempts, replies.length) - 1];
  };
  const options = {
    elapsed: () => state.now,
    sleep: async (ms) => { state.now += ms; },
    onWait: ({ kind, inDoubt }) => state.waits.push({ kind, inDoubt }),
    random: () => 1,
  };
  return { state, attempt, options };
}

const pick = ({ kind, inDoubt }) => ({ kind, inDoubt });

async function retries() {
  const { BUDGET_MS, untilSettled } = await import(`${files}/retry.js`);
  await test("what is settled is not sent again", async () => {
    for (const kind of ["accepted", "closed", "refused"]) {
      const { state, attempt, options } = stage([{ kind }]);
      equal(pick(await untilSettled(attempt, options)), { kind, inDoubt: false });
      equal(state.attempts, 1);
    }
  });
  await test("doubt outlives later answers that know better only about themselves", async () => {
    const { state, attempt, options } = stage([{ kind: "unknown" }, { kind: "not-stored" }, { kind: "closed" }]);
    equal(pick(await untilSettled(attempt, options)), { kind: "closed", inDoubt: true });
    equal(state.waits, [{ kind: "unknown", inDoubt: true }, { kind: "not-stored", inDoubt: true }]);
  });
  await test("refusals alone leave no doubt", async () => {
    const { attempt, options } = stage([{ kind: "not-stored" }, { kind: "accepted" }]);
    equal(pick(await untilSettled(attempt, options)), { kind: "accepted", inDoubt: false });
  });
  await test("silence is doubt, and an answer in between is remembered", async () => {
    const silent = stage([{ kind: "silent" }]);
    const nobody = await untilSettled(silent.attempt, silent.options);
    equal([nobody.inDoubt, nobody.wasAnswered], [true, false]);
    const mixed = stage([{ kind: "silent" }, { kind: "unknown" }, { kind: "silent" }]);
    equal((await untilSettled(mixed.attempt, mixed.options)).wasAnswered, true);
  });
  await test("attempts and their time are told as they were, without the sleep after the last", async () => {
    const { attempt, options } = stage([{ kind: "not-stored" }, { kind: "unknown", askedMs: BUDGET_MS }], 4000);
    const reply = await untilSettled(attempt, options);
    equal([reply.attempts, reply.triedMs], [2, 8500]);
    const slept = stage([{ kind: "silent" }], 4000);
    slept.options.sleep = async () => { slept.state.now += 3_600_000; };
    const late = await untilSettled(slept.attempt, slept.options);
    equal([late.attempts, late.triedMs], [1, 4000]);
  });
  await test("it gives up within its budget, and the last attempt ends within it too", async () => {
    for (const attemptMs of [0, 3000, 10_000]) {
      const { state, attempt, options } = stage([{ kind: "unknown" }], attemptMs);
      equal((await untilSettled(attempt, options)).kind, "unknown");
      holds(state.now <= BUDGET_MS, `${state.now} ms`);
      holds(state.attempts > 5, `${state.attempts} attempts`);
    }
  });
  await test("a server that asks for longer than is left is not waited for", async () => {
    const { state, attempt, options } = stage([{ kind: "not-stored", askedMs: BUDGET_MS }]);
    await untilSettled(attempt, options);
    equal(state.attempts, 1);
  });
  await test("a phone that slept past the budget does not send again", async () => {
    const { state, attempt, options } = stage([{ kind: "unknown" }]);
    options.sleep = async () => { state.now += 3_600_000; };
    await untilSettled(attempt, options);
    equal(state.attempts, 1);
  });
}

async function stopwatches() {
  const { stopwatch } = await import(`${files}/retry.js`);
  await test("elapsed time is by the clock that ran further", () => {
    let [wall, steady] = [1000, 1000];
    const elapsed = stopwatch(() => wall, () => steady);
    [wall, steady] = [61_000, 2000];
    equal(elapsed(), 60_000);
    [wall, steady] = [0, 9000];
    equal(elapsed(), 8000);
  });
}

async function ballots() {
  const { meaning, newKey, send } = await import(`${files}/ballot.js`);
  await test("keys are 128 bits and never the same", () => {
    const keys = new Set(Array.from({ length: 1000 }, newKey));
    equal(keys.size, 1000);
    holds([...keys].every((key) => /^[0-9a-f]{32}$/.test(key)), "not hexadecimal");
  });
  await test("answers mean what the contract says", () => {
    const kind = (status, slug) => meaning(status, slug && { type: `/problemas/${slug}` }, null).kind;
    equal(kind(409, "poll-not-open"), "closed");
    equal(["overloaded", "log-unavailable", "shutting-down", "not-ready"].map((slug) => kind(503, slug)), Array(4).fill("not-stored"));
    equal([kind(503, "outcome-unknown"), kind(503), kind(500), kind(502), kind(504)], Array(5).fill("unknown"));
    equal([kind(400, "malformed"), kind(404, "unknown-candidate"), kind(409, "ticket-spent"), kind(413), kind(415)], Array(5).fill("refused"));
    equal(kind(429), "not-stored");
  });
  await test("what an answer names as its problem comes along", () => {
    const problem = (status, body) => meaning(status, body, null).problem;
    equal(problem(503, { type: "/problemas/shutting-down" }), "shutting-down");
    equal([problem(503, null), problem(502, { type: 7 })], [null, null]);
  });
  await test("no answer is silence and not an answer that knows nothing", async () => {
    const real = globalThis.fetch;
    globalThis.fetch = async () => { throw new TypeError("no connection"); };
    const reply = await send({ base: "/p/teste", number: 1, key: newKey() });
    globalThis.fetch = real;
    equal(reply, { kind: "silent", askedMs: null });
  });
  await test("a success that cannot be read is not taken for one", () => {
    equal([meaning(200, null, null).kind, meaning(200, {}, null).kind], ["unknown", "unknown"]);
    const body = { recibo: "r", numero: 2, parciais: null, dados_de: "t" };
    equal(meaning(200, body, null), { kind: "accepted", receipt: "r", number: 2, partials: null, dataAsOf: "t" });
  });
}

async function clocks() {
  const { serverClock } = await import(`${files}/clock.js`);
  await test("a phone whose clock is wrong still shows the server's time", () => {
    let local = 500_000;
    const clock = serverClock("1970-01-01T01:00:00Z", 500_000, () => local);
    local += 1000;
    equal(clock.now(), 3_601_000);
    clock.hear("1970-01-01T01:00:05Z");
    equal(clock.now(), 3_605_000);
    clock.hear("1970-01-01T00:00:00Z");
    equal(clock.now(), 3_605_000);
  });
}

async function numbers() {
  const { leaders } = await import(`${files}/partials.js`);
  const { freshness } = await import(`${files}/freshness.js`);
  const shares = (...texts) => texts.map((percentual, i) => ({ numero: i + 1, percentual }));
  await test("nobody leads without votes, and equals lead together", () => {
    equal([...leaders(shares("0.00", "0.00"))], []);
    equal([...leaders(shares("9.00", "45.50", "45.50"))], [2, 3]);
    equal([...leaders(shares("9.00", "91.00"))], [2]);
  });
  await test("numbers without a connection say of when they are", () => {
    const dataAsOf = "1970-01-01T00:00:00.000Z";
    equal(freshness({ link: "live", dataAsOf, now: 3000 }), { mark: "Ao vivo", age: "há 3 s" });
    holds(freshness({ link: "lost", dataAsOf, now: 3000 }).age.includes("Podem ter mudado"), "no warning");
    holds(!freshness({ link: "asking", dataAsOf, now: 3000 }).mark.startsWith("Ao vivo"), "asked for is not live");
    equal(freshness({ link: "done", dataAsOf, now: 3000 }), { mark: "", age: "" });
  });
}

/** A page's link in a world where time passes by the second and streams say what they are told. */
async function staged() {
  const { PollLink } = await import(`${files}/live.js`);
  const state = { now: 0, streams: [], questions: 0, heard: [], changes: [], answer: null };
  const world = {
    open(address) {
      const stream = new EventTarget();
      Object.assign(stream, { address, readyState: 0, close: () => { stream.readyState = 2; } });
      state.streams.push(stream);
      return stream;
    },
    ask: async () => { state.questions += 1; return state.answer; },
    stopwatch: () => { const start = state.now; return () => state.now - start; },
    random: () => 0.5,
  };
  const hear = {
    numbers: (poll) => state.heard.push(poll.estado),
    final: (poll) => state.heard.push(`final ${poll.total}`),
    change: (to) => state.changes.push(to),
  };
  const link = new PollLink("/p/teste", hear, world);
  return { state, link, ...stageDirections(state, link) };
}

function stageDirections(state, link) {
  const open = () => state.streams.filter((stream) => stream.readyState !== 2);
  const says = (type, data, stream = state.streams.at(-1)) =>
    stream.dispatchEvent(new MessageEvent(type, { data: JSON.stringify({ poll: "teste", estado: "aberto", ...data }) }));
  const breaks = (stream = state.streams.at(-1)) => stream.dispatchEvent(new Event("error"));
  const refuses = (stream = state.streams.at(-1)) => { stream.readyState = 2; breaks(stream); };
  const pass = async (seconds) => {
    for (let second = 0; second < seconds; second += 1) {
      state.now += 1000;
      link.tick();
      // What was answered meanwhile is heard before the next second.
      await new Promise((resolve) => setTimeout(resolve));
      holds(open().length <= 1, `${open().length} streams are open`);
    }
  };
  return { open, says, breaks, refuses, pass };
}

async function links() {
  const { SILENCE_MS } = await import(`${files}/live.js`);
  await test("a stream is live from its first word on, and only about its own poll", async () => {
    const { state, link, says } = await staged();
    equal([link.state, state.streams[0].address], ["connecting", "/p/teste/eventos"]);
    says("parcial", { poll: "outra" });
    says("final", { poll: "outra", total: 9 });
    equal([link.state, state.heard], ["connecting", []]);
    says("parcial");
    equal([link.state, state.heard], ["live", ["aberto"]]);
  });
  await test("a live stream that falls silent is left and made anew, once", async () => {
    const { state, link, says, open, pass } = await staged();
    says("parcial");
    await pass(SILENCE_MS / 1000 - 1);
    equal([link.state, state.streams.length], ["live", 1]);
    await pass(1);
    equal([link.state, open().length], ["lost", 0]);
    await pass(3);
    equal([state.streams.length, open().length], [2, 1]);
    says("parcial");
    equal(state.changes, ["live", "lost", "live"]);
  });
  await test("errors on top of each other bring one new stream", async () => {
    const { state, says, breaks, pass } = await staged();
    says("parcial");
    const first = state.streams[0];
    breaks(first);
    breaks(first);
    says("parcial", {}, first);
    equal(state.changes, ["live", "lost"]);
    await pass(3);
    equal(state.streams.length, 2);
  });
  await test("who is refused a stream asks, and tries for a stream within a minute or so", async () => {
    const { state, link, says, refuses, pass } = await staged();
    state.answer = { poll: "teste", estado: "aberto" };
    refuses();
    await pass(21);
    equal([link.state, state.streams.length], ["asking", 1]);
    holds(state.questions >= 3 && state.questions <= 7, `${state.questions} questions`);
    await pass(35);
    equal(state.streams.length, 2);
    says("parcial");
    const asked = state.questions;
    await pass(20);
    equal([link.state, state.questions], ["live", asked]);
  });
  await test("a stream that never speaks is as good as refused", async () => {
    const { state, link, open, pass } = await staged();
    state.answer = { poll: "teste", estado: "aberto" };
    await pass(12);
    equal([link.state, open().length, state.heard[0]], ["asking", 0, "aberto"]);
  });
  await test("a question without an answer is a lost connection", async () => {
    const { state, link, refuses, pass } = await staged();
    refuses();
    await pass(1);
    equal([link.state, state.questions], ["lost", 1]);
    await pass(5);
    equal(state.streams.length, 2);
  });
  await test("an end that was asked about is heard exactly from a stream soon", async () => {
    const { state, link, says, refuses, pass } = await staged();
    state.answer = { poll: "teste", estado: "final" };
    refuses();
    await pass(9);
    equal(state.streams.length, 2);
    says("final", { estado: "final", total: 7 });
    equal([link.state, state.heard.at(-1)], ["done", "final 7"]);
  });
  await test("after the end nothing is opened, asked, heard or told any more", async () => {
    const { state, says, breaks, open, pass } = await staged();
    says("parcial");
    says("final", { estado: "final", total: 3 });
    breaks();
    says("parcial");
    await pass(120);
    equal([state.streams.length, open().length, state.questions], [1, 0, 0]);
    equal([state.changes, state.heard], [["live", "done"], ["aberto", "final 3"]]);
  });
}

/** A notice in a world that sleeps until it is woken. */
async function noticed() {
  const { Elsewhere } = await import(`${files}/elsewhere.js`);
  const state = { answer: null, asked: [], waits: [], wakes: [] };
  const world = {
    ask: async (base) => { state.asked.push(base); return state.answer; },
    sleep: (ms) => new Promise((wake) => { state.waits.push(ms); state.wakes.push(wake); }),
    random: () => 0.5,
  };
  const [notice, title, link] = ["p", "strong", "a"].map((name) => document.createElement(name));
  title.className = "elsewhere-title";
  notice.append(title, link);
  notice.hidden = true;
  const elsewhere = new Elsewhere("/p/teste", notice, world);
  const asks = async (poll) => {
    state.answer = poll;
    state.wakes.splice(0).forEach((wake) => wake());
    await new Promise((resolve) => setTimeout(resolve));
  };
  return { state, elsewhere, notice, title, link, asks };
}

async function notices() {
  const other = (estado) => ({ poll: "outra", titulo: "Quem volta?", estado });
  await test("the way to another poll is shown while that one is open, and taken back when it is not", async () => {
    const { state, elsewhere, notice, title, link, asks } = await noticed();
    elsewhere.offer();
    await asks({ poll: "teste", titulo: "Quem sai?", estado: "aberto" });
    equal(notice.hidden, true);
    await asks(other("aberto"));
    equal([notice.hidden, title.textContent, link.getAttribute("href")], [false, "Quem volta?", "/p/outra/"]);
    await asks(null);
    equal(notice.hidden, false);
    await asks(other("encerrado"));
    equal(notice.hidden, true);
    await asks(other("aberto"));
    equal(notice.hidden, false);
    equal(state.asked, ["", "", "/p/outra", "/p/outra", ""]);
  });
  await test("a notice that the server wrote is asked about like any other", async () => {
    const { state, elsewhere, notice, link, asks } = await noticed();
    [notice.hidden, link.href] = [false, "/p/outra/"];
    elsewhere.offer();
    await asks(other("final"));
    equal([notice.hidden, state.asked], [true, ["/p/outra"]]);
  });
  await test("a page asks once at a time, soon at first and then seldom", async () => {
    const { state, elsewhere, asks } = await noticed();
    elsewhere.offer();
    elsewhere.offer();
    await asks(other("aberto"));
    await asks(other("aberto"));
    equal([state.asked.length, state.waits], [2, [1500, 30_000, 30_000]]);
  });
  await test("a page whose own poll opens sends nobody elsewhere until it closes", async () => {
    const { state, elsewhere, notice, asks } = await noticed();
    elsewhere.offer();
    await asks(other("aberto"));
    elsewhere.end();
    equal(notice.hidden, true);
    await asks(other("aberto"));
    equal([notice.hidden, state.asked.length], [true, 1]);
    elsewhere.offer();
    await asks(other("aberto"));
    equal([notice.hidden, state.asked.length], [false, 2]);
  });
}

async function words() {
  const wording = await import(`${files}/wording.js`);
  const doubtful = (trial) => wording.problem({ kind: "unknown", inDoubt: true, ...trial }, "Ana").text;
  await test("a crowd is blamed only for what a crowd does", () => {
    const turnedAway = (slug) => wording.problem({ kind: "not-stored", problem: slug, inDoubt: false }, "Ana").text;
    const waiting = (slug) => wording.waiting({ kind: "not-stored", problem: slug, inDoubt: false }, "Ana", 2000, true);
    for (const text of [turnedAway, waiting]) {
      holds(text("overloaded").includes("Muita gente"), text("overloaded"));
      for (const slug of ["log-unavailable", "shutting-down", "not-ready", null, "constructor"]) {
        holds(!/gente|function/.test(text(slug)), text(slug));
      }
    }
  });
  await test("silence is told of those who were silent, and time and attempts as they were", () => {
    const silent = doubtful({ kind: "silent", wasAnswered: false, attempts: 9, triedMs: 117_000 });
    holds(silent.includes("9 vezes em cerca de 2 minutos e ninguém respondeu"), silent);
    const answered = doubtful({ problem: "outcome-unknown", wasAnswered: true, attempts: 3, triedMs: 7000 });
    holds(answered.includes("3 vezes em 7 segundos e não recebemos confirmação"), answered);
    const once = doubtful({ problem: "outcome-unknown", wasAnswered: true, attempts: 1, triedMs: 5000 });
    holds(once.includes("Tentamos uma vez") && !/minutos|ninguém/.test(once), once);
  });
  await test("a voter in doubt is told why as far as it is known", () => {
    const waiting = (reply) => wording.waiting({ inDoubt: true, ...reply }, "Ana", 2000, true);
    holds(waiting({ kind: "silent" }).startsWith("Sem resposta"), waiting({ kind: "silent" }));
    const unsure = waiting({ kind: "unknown", problem: "outcome-unknown" });
    holds(!unsure.includes("Sem resposta") && unsure.includes("ainda não sabemos"), unsure);
  });
  await test("a long wait that the server asks for is told", () => {
    const text = wording.problem({ kind: "not-stored", problem: "overloaded", askedMs: 300_000, inDoubt: false }, "Ana").text;
    holds(text.includes("em cerca de 5 minutos"), text);
  });
  await test("only what is known to be lost is called so", () => {
    const unknown = doubtful({ wasAnswered: true, attempts: 2, triedMs: 3000 });
    holds(unknown.includes("pode ter sido registrado ou não"), unknown);
    const refused = wording.problem({ kind: "refused", status: 400, inDoubt: true }, "Ana");
    holds(!refused.text.includes("Nada foi registrado"), refused.text);
    const turnedAway = wording.problem({ kind: "not-stored", inDoubt: false }, "Ana");
    equal(turnedAway.title, "O seu voto não foi registrado");
  });
}

const suites = [formats, backoffs, retries, stopwatches, ballots, clocks, numbers, links, notices, words];
suites
  .reduce((before, suite) => before.then(suite), Promise.resolve())
  .catch((error) => failures.push(String(error)))
  .then(() => done({ passed, failures }));
