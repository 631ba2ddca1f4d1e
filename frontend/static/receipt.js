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
    const response = await fetch(address, { cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const answer = await response.json();
    output.textContent = receiptState(answer.estado, answer.resultado);
  } catch {
    output.textContent = "Não deu para conferir agora. O recibo continua valendo; tente de novo.";
  }
}
