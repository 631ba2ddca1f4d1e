// What the vote page says. Every sentence states what is known and what is not.

import { wait } from "./format.js";

export function sending(name) {
  return `Registrando o seu voto em ${name}…`;
}

/** While waiting to send the same vote again. */
export function waiting(name, waitMs, { inDoubt, online }) {
  const soon = wait(waitMs);
  if (!online) {
    return inDoubt
      ? `Você está sem conexão, e ainda não sabemos se o voto em ${name} chegou. Reenviamos o mesmo voto assim que der: ele não conta duas vezes.`
      : `Você está sem conexão. O voto em ${name} ainda não foi registrado; tentamos de novo assim que der.`;
  }
  return inDoubt
    ? `Sem resposta: ainda não sabemos se o voto em ${name} chegou. Reenviamos o mesmo voto em ${soon}: ele não conta duas vezes.`
    : `Muita gente votando agora. O voto em ${name} ainda não foi registrado; tentamos de novo em ${soon}.`;
}

export function receiptCode(receipt) {
  return receipt.replace(/(.{8})(?=.)/g, "$1 ");
}

/** What to tell a voter whose vote was not confirmed: title, text, and what they can do next. */
export function problem(reply, name) {
  switch (reply.kind) {
    case "closed":
      return closed(reply.inDoubt, name);
    case "refused":
      return refused(reply);
    default:
      return reply.inDoubt ? doubtful(name) : turnedAway(name);
  }
}

/** The poll closed while the voter was still choosing. */
export function closedMeanwhile() {
  return {
    title: "A votação encerrou",
    text: "Não dá mais para votar. Acompanhe os números até o resultado final.",
    retry: null,
  };
}

function closed(inDoubt, name) {
  const text = inDoubt
    ? `Ela encerrou enquanto tentávamos confirmar o seu voto em ${name}. Não sabemos se ele chegou a tempo.`
    : `O voto em ${name} chegou fora do horário da votação e não foi registrado.`;
  return { title: "A votação encerrou", text, retry: null };
}

function refused({ status, detail, inDoubt }) {
  const title = status === 404 ? "Esta votação mudou" : "O voto não foi aceito";
  const known = inDoubt ? "" : " Nada foi registrado.";
  const text = `${detail ?? "O sistema recusou este voto."}${known} Recarregue a página e tente de novo.`;
  return { title, text, retry: "Voltar aos candidatos" };
}

function doubtful(name) {
  return {
    title: "Não sabemos se o seu voto chegou",
    text: `Tentamos por dois minutos e ninguém respondeu. O voto em ${name} pode ter sido registrado ou não. Se você votar de novo, será outro voto.`,
    retry: "Votar de novo",
  };
}

function turnedAway(name) {
  return {
    title: "O seu voto não foi registrado",
    text: `Há mais gente votando do que conseguimos atender agora. O voto em ${name} não conta. Tente outra vez em alguns instantes.`,
    retry: "Tentar outra vez",
  };
}

/** What `/recibo/{receipt}` answered. */
export function receiptState(state, result) {
  const results = {
    contado: "Conferido: este voto foi contado.",
    duplicado: "Conferido: é a repetição de um voto que já conta.",
    "conflito-de-chave": "Conferido: repetição de um voto dado a outro candidato; vale o primeiro.",
    separado: "Conferido: este voto foi separado e não entrou na contagem.",
  };
  const states = {
    registrado: "Conferido: este voto está registrado.",
    "a-caminho": "Este voto está guardado e a caminho da apuração.",
    perdido: "Este voto consta como perdido. A produção já foi avisada.",
    desconhecido: "A apuração ainda não conhece este voto. Confira de novo em instantes.",
  };
  return results[result] ?? states[state] ?? "Não entendemos a resposta. Tente de novo.";
}
