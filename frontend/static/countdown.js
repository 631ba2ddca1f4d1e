// A clock that runs down to an instant of the server's.

import { timeLeft } from "./format.js";

/** The last minute is shown in another voice. */
const URGENT_MS = 60_000;

/**
 * Shows the time left until `instant` (RFC 3339) in `element` and calls `onEnd` once it is up.
 * Returns a function that stops it.
 */
export function startCountdown(element, instant, clock, onEnd) {
  const end = Date.parse(instant);
  const face = element.querySelector(".countdown-time");
  let timer = 0;
  const tick = () => {
    const left = end - clock.now();
    face.textContent = timeLeft(left);
    element.classList.toggle("urgent", left <= URGENT_MS);
    // The next tick falls on a whole second left, so that no second is shown twice or skipped.
    if (left > 0) timer = setTimeout(tick, left % 1000 || 1000);
    else onEnd();
  };
  element.hidden = false;
  element.querySelector(".countdown-label").textContent = element.dataset.label;
  face.dateTime = instant;
  tick();
  return () => clearTimeout(timer);
}
