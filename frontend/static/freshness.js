// How old the numbers on the screen are, said without flattering. Pure functions.

import { age } from "./format.js";

/** Silence on an open stream after which the page asks whether anybody is still there. */
export const SILENCE_MS = 12_000;

/**
 * `link` is "live", "lost", "connecting" or "done" (final: nothing will change any more).
 * Returns the mark beside the verdict and the age beside the time.
 */
export function freshness({ link, dataAsOf, now }) {
  const old = age(now - Date.parse(dataAsOf));
  switch (link) {
    case "live":
      return { mark: "Ao vivo", age: old };
    case "connecting":
      return { mark: "Conectando…", age: old };
    case "lost":
      return {
        mark: "Sem conexão",
        age: `${old}. Podem ter mudado desde então.`,
      };
    default:
      return { mark: "", age: "" };
  }
}
