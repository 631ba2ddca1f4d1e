// The bars: the server renders them, this fills them with newer numbers.

import { clockTime, percent, votes } from "./format.js";

/** Which candidates nobody is ahead of; none while there are no votes. */
export function leaders(partials) {
  const most = Math.max(...partials.map((partial) => Number(partial.percentual)));
  return new Set(
    partials.filter((p) => most > 0 && Number(p.percentual) === most).map((p) => p.numero),
  );
}

/** Shows `parciais` of `/parcial`, `/votar` or an event in the bars under `root`. */
export function showPartials(root, partials) {
  const ahead = leaders(partials);
  for (const partial of partials) {
    const bar = root.querySelector(`.bar[data-numero="${partial.numero}"]`);
    if (!bar) continue;
    bar.querySelector(".bar-percent").textContent = percent(partial.percentual);
    bar.querySelector(".bar-fill").setAttribute("width", `${partial.percentual}%`);
    bar.classList.toggle("leads", ahead.has(partial.numero));
    showVotes(bar.querySelector(".bar-votes"), partial.votos);
  }
}

/** Exact numbers come with the final result only. */
function showVotes(element, count) {
  element.hidden = count === undefined;
  if (count !== undefined) element.textContent = votes(count);
}

/** Shows the instant the numbers are of. */
export function showDataTime(root, dataAsOf) {
  const time = root.querySelector(".data-time");
  time.dateTime = dataAsOf;
  time.textContent = clockTime(dataAsOf);
}
