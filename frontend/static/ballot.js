// One vote on the wire: its key, its request, and what each answer means.

import { ATTEMPT_MS, askedWait } from "./retry.js";

/** A new key, 128 random bits. Every tap gets its own; every attempt of that tap sends the same. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Sends the vote once. Resolves to one of the replies of `meaning`, never rejects. */
export async function send({ base, number, key, timeoutMs = ATTEMPT_MS }) {
  try {
    const response = await fetch(`${base}/votar`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify({ voto: number }),
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutMs),
    });
    const body = await response.json().catch(() => null);
    return meaning(response.status, body, response.headers.get("Retry-After"));
  } catch {
    // No answer, or half of one: the vote may have been stored all the same.
    return { kind: "silent", askedMs: null };
  }
}

/** Refusals after which nothing was stored: the server says so before it stores. */
const NOT_STORED = new Set(["overloaded", "log-unavailable", "shutting-down", "not-ready"]);

/**
 * What an answer means:
 * - `accepted` (receipt, number, partials, dataAsOf): it is stored;
 * - `not-stored` (problem, askedMs): it is not, and may be sent again;
 * - `unknown` (problem, askedMs): nobody can tell; sending it again with its key is safe;
 * - `closed`: the poll takes no votes;
 * - `refused` (status, detail): this vote will never be taken.
 * No answer at all is `silent` (askedMs): as `unknown`, without anybody who says so.
 * `problem` is the slug of the problem document, null without one.
 */
export function meaning(status, body, retryAfter) {
  if (status === 200) return accepted(body);
  const problem = slugOf(body);
  if (status === 409 && problem === "poll-not-open") return { kind: "closed" };
  const askedMs = askedWait(body, retryAfter);
  if (status === 429) return { kind: "not-stored", problem, askedMs };
  if (status === 503 && NOT_STORED.has(problem)) return { kind: "not-stored", problem, askedMs };
  if (status >= 500 || status === 408) return { kind: "unknown", problem, askedMs };
  return { kind: "refused", status, detail: body?.detail ?? null };
}

function slugOf(body) {
  return typeof body?.type === "string" ? body.type.split("/").pop() : null;
}

function accepted(body) {
  // A success that cannot be read (a proxy's page, a cut body) is asked for again with the same key.
  if (typeof body?.recibo !== "string") return { kind: "unknown", problem: null, askedMs: null };
  return {
    kind: "accepted",
    receipt: body.recibo,
    number: body.numero,
    partials: body.parciais,
    dataAsOf: body.dados_de,
  };
}
