// Looks a receipt up and says in words what became of the vote.

import { receiptState } from "./wording.js";

/** Makes the link answer on the page; opened in another tab it leads to the plain answer. */
export function enhanceReceiptLink(link, output) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    look(link.href, output);
  });
}

async function look(address, output) {
  output.textContent = "Conferindo…";
  try {
    output.textContent = await lookUp(address);
  } catch {
    output.textContent = "Não deu para conferir agora. O recibo continua valendo; tente de novo.";
  }
}

async function lookUp(address) {
  const response = await fetch(address, { cache: "no-store" });
  if (response.status === 404) return "Este recibo não foi emitido por este sistema.";
  if (!response.ok) throw new Error(`status ${response.status}`);
  const answer = await response.json();
  return receiptState(answer.estado, answer.resultado);
}
