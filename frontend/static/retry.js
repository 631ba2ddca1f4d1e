// When to try again, and when to stop. Pure logic: time, chance and sleep come from the caller.

/** Longest time from the first attempt to the last answer. Shorter than a key can live (130 s). */
export const BUDGET_MS = 120_000;
/** How long one attempt may take. */
export const ATTEMPT_MS = 10_000;

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/** Exponential backoff with full jitter: anywhere between nothing and a bound that doubles. */
export function backoff(failures, random = Math.random) {
  const bound = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.max(0, failures - 1));
  return random() * bound;
}

/** Anywhere between the two: so that pages that begin together do not go on together. */
export function between(least, most, random = Math.random) {
  return least + random() * (most - least);
}

/** The wait after `failures` failures: what the server asked for, plus the backoff. */
export function waitAfter(failures, askedMs, random = Math.random) {
  return Math.max(0, askedMs ?? 0) + backoff(failures, random);
}

/**
 * What the answer asks for, in ms: `retry_after_ms` of the problem document, else the header
 * `Retry-After` in seconds; null if it says neither (a date is not worth a phone's clock).
 */
export function askedWait(problem, retryAfter) {
  if (Number.isFinite(problem?.retry_after_ms)) return problem.retry_after_ms;
  const seconds = Number.parseInt(retryAfter ?? "", 10);
  return Number.isFinite(seconds) ? seconds * 1000 : null;
}

/** Replies after which the same vote is sent again. */
const UNSETTLED = new Set(["silent", "unknown", "not-stored"]);

/**
 * Calls `attempt` until its reply is settled or the budget is used up. Resolves to the last
 * reply and what is known of all of them:
 * - `inDoubt`: whether any attempt may have been stored without our hearing of it;
 * - `wasAnswered`: whether any attempt was answered at all;
 * - `attempts`, and `triedMs` from the first to the end of the last.
 *
 * `attempt()` resolves to `{ kind, … }`. Kinds "silent", "unknown" and "not-stored" are tried
 * again (with their `askedMs`); every other kind is settled. `onWait(reply, waitMs)` hears of each
 * wait.
 */
export async function untilSettled(attempt, { elapsed, sleep, onWait, random = Math.random }) {
  let known = { inDoubt: false, wasAnswered: false, attempts: 0 };
  for (;;) {
    const reply = withTrial(known, await attempt(), elapsed());
    if (!UNSETTLED.has(reply.kind)) return reply;
    const waitMs = waitAfter(reply.attempts, reply.askedMs, random);
    if (elapsed() + waitMs + ATTEMPT_MS > BUDGET_MS) return reply;
    onWait(reply, waitMs);
    await sleep(waitMs);
    // A phone that slept in between may wake long after its key has died.
    if (elapsed() + ATTEMPT_MS > BUDGET_MS) return reply;
    known = reply;
  }
}

function withTrial({ inDoubt, wasAnswered, attempts }, reply, triedMs) {
  return {
    ...reply,
    inDoubt: inDoubt || reply.kind === "silent" || reply.kind === "unknown",
    wasAnswered: wasAnswered || reply.kind !== "silent",
    attempts: attempts + 1,
    triedMs,
  };
}

/** Time since the call, by whichever clock ran further: one of them may stop while a phone sleeps. */
export function stopwatch(wall = () => Date.now(), steady = () => performance.now()) {
  const [wallStart, steadyStart] = [wall(), steady()];
  return () => Math.max(wall() - wallStart, steady() - steadyStart);
}
