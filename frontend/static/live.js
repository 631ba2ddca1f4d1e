// A page's link to the numbers of its poll: the event stream, and questions while there is none.
//
//   stream ── speaks ───────────────────► live
//          ── breaks, falls silent ─────► lost ── after a wait ───► stream
//          ── is refused, never speaks ─► question
//          ── says "final" ─────────────► done
//   question ── answered ───────────────► asking ── after a pause ─► question, now and then stream
//            ── not answered ───────────► lost
//
// At any time there is at most one stream, or one question, and one thing that is waited for.

import { baseOf, readPoll } from "./poll.js";
import { backoff, between, stopwatch } from "./retry.js";

/** The server speaks at least every ten seconds on every stream; one that is mute so long is dead. */
export const SILENCE_MS = 25_000;
/** How long a new stream may take to its first word. */
const FIRST_WORD_MS = 10_000;
/** Least time before another stream is tried. */
const BREATH_MS = 500;
/** Least and most between two questions, and until a stream is tried again after a refusal. */
const QUESTION_MS = [3000, 7000];
const REFUSED_MS = [30_000, 60_000];

/** `EventSource.CLOSED`: an answer that is no stream, which a browser does not ask for again. */
const CLOSED = 2;

const BROWSER = {
  open: (address) => new EventSource(address),
  ask: readPoll,
  stopwatch,
  random: Math.random,
};

export class PollLink {
  #base;
  #hear;
  #world;
  #state = "connecting";
  #stream = null;
  /** What is done next, and whether it is time. */
  #next = null;
  /** Attempts since numbers last came. */
  #failures = 0;
  /** Whether a stream may be tried again after a refusal. */
  #isStreamDue = () => true;

  /**
   * Follows the poll at `base`. `hear.numbers` hears every reading of it, `hear.final` the exact
   * one after which nothing comes any more, `hear.change` of every new state and the one before.
   */
  constructor(base, hear, world = BROWSER) {
    this.#base = base;
    this.#hear = hear;
    this.#world = world;
    this.#listen();
  }

  /** "connecting", "live", "asking", "lost" or "done". */
  get state() {
    return this.#state;
  }

  /** Does what is due. Called about once a second; a phone that slept then acts as it wakes. */
  tick() {
    if (!this.#next?.isDue()) return;
    const { step } = this.#next;
    this.#next = null;
    step();
  }

  #listen() {
    const stream = this.#world.open(`${this.#base}/eventos`);
    const on = (type, react) =>
      stream.addEventListener(type, (event) => {
        // What a stream still says after it was left is too late.
        if (stream === this.#stream) react(event);
      });
    on("parcial", (event) => this.#partial(JSON.parse(event.data)));
    on("final", (event) => this.#final(JSON.parse(event.data)));
    on("error", () => (stream.readyState === CLOSED ? this.#refused() : this.#broken()));
    this.#stream = stream;
    this.#wait(FIRST_WORD_MS, () => this.#refused());
  }

  #partial(numbers) {
    if (baseOf(numbers) !== this.#base) return;
    this.#failures = 0;
    this.#wait(SILENCE_MS, () => this.#broken());
    this.#enter("live");
    this.#hear.numbers(numbers);
  }

  #final(numbers) {
    if (baseOf(numbers) !== this.#base) return;
    this.#leave();
    this.#enter("done");
    this.#hear.final(numbers);
  }

  /** A wait with jitter: left to itself EventSource brings everybody back at the same instant. */
  #broken() {
    this.#leave();
    this.#enter("lost");
    this.#failures += 1;
    const wait = BREATH_MS + backoff(this.#failures + 1, this.#world.random);
    this.#wait(wait, () => this.#listen());
  }

  /** Somebody is there, but has no stream for this page: it asks instead. */
  #refused() {
    this.#leave();
    this.#isStreamDue = this.#timer(between(...REFUSED_MS, this.#world.random));
    this.#wait(backoff(2, this.#world.random), () => this.#ask());
  }

  async #ask() {
    const numbers = await this.#world.ask(this.#base);
    if (numbers === null) {
      this.#broken();
      return;
    }
    this.#failures = 0;
    this.#enter("asking");
    this.#hear.numbers(numbers);
    // Exact numbers are told by streams alone, and all the others end when the result is final.
    const isStreamNext = numbers.estado === "final" || this.#isStreamDue();
    const pause = between(...QUESTION_MS, this.#world.random);
    this.#wait(pause, () => (isStreamNext ? this.#listen() : this.#ask()));
  }

  #leave() {
    this.#stream?.close();
    this.#stream = null;
    this.#next = null;
  }

  #enter(state) {
    const before = this.#state;
    this.#state = state;
    if (state !== before) this.#hear.change(state, before);
  }

  #wait(ms, step) {
    this.#next = { isDue: this.#timer(ms), step };
  }

  #timer(ms) {
    const elapsed = this.#world.stopwatch();
    return () => elapsed() >= ms;
  }
}
