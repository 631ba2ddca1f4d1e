// How old the numbers on the screen are, said without flattering. Pure functions.

import { age } from "./format.js";

/**
 * `link` is a state of the page's `PollLink`. Returns the mark beside the verdict and the age
 * beside the time.
 */
export function freshness({ link, dataAsOf, now }) {
  const old = age(now - Date.parse(dataAsOf));
  switch (link) {
    case "live":
      return { mark: "Ao vivo", age: old };
    case "connecting":
      return { mark: "Conectando…", age: old };
    case "asking":
      return {
        mark: "Sem transmissão ao vivo",
        age: `${old}. Atualizamos a cada poucos segundos.`,
      };
    case "lost":
      return {
        mark: "Sem conexão",
        age: `${old}. Podem ter mudado desde então.`,
      };
    default:
      return { mark: "", age: "" };
  }
}
