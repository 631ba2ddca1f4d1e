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

/**
 * Calls `attempt` until its reply is settled or the budget is used up. Resolves to the last
 * reply with `inDoubt`: whether any attempt may have been stored without our hearing of it.
 *
 * `attempt()` resolves to `{ kind, … }`. Kinds "unknown" and "not-stored" are tried again (with
 * their `askedMs`); every other kind is settled. `onWait(reply, waitMs, inDoubt)` hears of each wait.
 */
export async function untilSettled(attempt, { elapsed, sleep, onWait, random = Math.random }) {
  let inDoubt = false;
  for (let failures = 1; ; failures += 1) {
    const reply = await attempt();
    if (reply.kind !== "unknown" && reply.kind !== "not-stored") return { ...reply, inDoubt };
    inDoubt ||= reply.kind === "unknown";
    const waitMs = waitAfter(failures, reply.askedMs, random);
    if (elapsed() + waitMs + ATTEMPT_MS > BUDGET_MS) return { ...reply, inDoubt };
    onWait(reply, waitMs, inDoubt);
    await sleep(waitMs);
    // A phone that slept in between may wake long after its key has died.
    if (elapsed() + ATTEMPT_MS > BUDGET_MS) return { ...reply, inDoubt };
  }
}

/** Time since the call, by whichever clock ran further: one of them may stop while a phone sleeps. */
export function stopwatch(wall = Date.now, steady = () => performance.now()) {
  const [wallStart, steadyStart] = [wall(), steady()];
  return () => Math.max(wall() - wallStart, steady() - steadyStart);
}
