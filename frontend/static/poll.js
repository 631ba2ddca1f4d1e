// What the server says of a poll when it is asked.

import { ATTEMPT_MS } from "./retry.js";

/** Where a poll of `/parcial` lives. */
export function baseOf(poll) {
  return `/p/${poll.poll}`;
}

/**
 * What `/parcial` says of the poll at `base`, or null: no answer, or one about another poll.
 * An empty base asks for the poll that the bare addresses mean, whichever that is.
 */
export async function readPoll(base) {
  try {
    const response = await fetch(`${base}/parcial`, {
      cache: "no-store",
      signal: AbortSignal.timeout(ATTEMPT_MS),
    });
    const poll = response.ok ? await response.json() : null;
    return poll && (base === "" || base === baseOf(poll)) ? poll : null;
  } catch {
    return null;
  }
}
