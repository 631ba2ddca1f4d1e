// The way on from a page whose poll takes no votes to the one that does.

import { baseOf, readPoll } from "./poll.js";
import { between } from "./retry.js";

/** Pages learn of an end all at once; their first questions are spread over so long. */
const FIRST_MS = 3000;
/** Least and most between two questions after that. */
const AGAIN_MS = [20_000, 40_000];

const BROWSER = {
  ask: (base) => (document.hidden ? null : readPoll(base)),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  random: Math.random,
};

/** A page's notice of another poll, which is open while its own is not. */
export class Elsewhere {
  #base;
  #notice;
  #world;
  /** Which offer is asking, if any: one that was ended may still sleep. */
  #offer = null;

  /** The server has filled `notice` if another poll was open, and hidden it otherwise. */
  constructor(base, notice, world = BROWSER) {
    this.#base = base;
    this.#notice = notice;
    this.#world = world;
  }

  /**
   * Shows the notice once the bare addresses mean another poll that is open, and hides it once that
   * poll is not. Asks until it is ended, and only while somebody sees the page.
   */
  async offer() {
    if (this.#offer) return;
    const offer = Symbol("offer");
    this.#offer = offer;
    const pause = (least, most) => this.#world.sleep(between(least, most, this.#world.random));
    for (await pause(0, FIRST_MS); offer === this.#offer; await pause(...AGAIN_MS)) {
      const poll = await this.#world.ask(this.#shown());
      // Without an answer the notice stays as it is.
      if (poll && offer === this.#offer) this.#tell(poll);
    }
  }

  /** The page's own poll is open: nobody is sent elsewhere. */
  end() {
    this.#offer = null;
    this.#notice.hidden = true;
  }

  /** Where the poll lives that the notice names; empty if it names none. */
  #shown() {
    return this.#notice.hidden ? "" : this.#link().getAttribute("href").replace(/\/$/, "");
  }

  #tell(poll) {
    const isElsewhere = poll.estado === "aberto" && baseOf(poll) !== this.#base;
    if (isElsewhere && this.#notice.hidden) {
      this.#notice.querySelector(".elsewhere-title").textContent = poll.titulo;
      this.#link().href = `${baseOf(poll)}/`;
    }
    this.#notice.hidden = !isElsewhere;
  }

  #link() {
    return this.#notice.querySelector("a");
  }
}
