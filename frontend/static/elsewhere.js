// The way on from a page whose poll takes no votes to the one that does.

import { baseOf, readPoll } from "./poll.js";
import { between } from "./retry.js";

/** Pages learn of an end all at once; their first questions are spread over so long. */
const FIRST_MS = 3000;
/** Least and most between two questions after that. */
const AGAIN_MS = [20_000, 40_000];

let looking = false;

/**
 * Fills and shows `notice` once the bare addresses mean another poll than the one at `base`, and
 * that poll is open. A page does this once, and asks only while somebody sees it.
 */
export async function offerElsewhere(base, notice) {
  if (looking) return;
  looking = true;
  for (let wait = between(0, FIRST_MS); notice.hidden; wait = between(...AGAIN_MS)) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    const poll = document.hidden ? null : await readPoll("");
    if (poll?.estado === "aberto" && baseOf(poll) !== base) offer(notice, poll);
  }
}

function offer(notice, poll) {
  notice.querySelector(".elsewhere-title").textContent = poll.titulo;
  notice.querySelector("a").href = `${baseOf(poll)}/`;
  notice.hidden = false;
}
