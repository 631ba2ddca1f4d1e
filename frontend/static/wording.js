// What the vote page says. Every sentence states what is known and what is not.

import { duration } from "./format.js";

/** What lies behind an answer that is no confirmation, by the problem it names. */
const REASONS = new Map([
  ["overloaded", "Muita gente votando agora"],
  ["log-unavailable", "A votação está com uma falha momentânea"],
  ["shutting-down", "O servidor da votação está sendo trocado"],
  ["not-ready", "O servidor da votação ainda está iniciando"],
  ["outcome-unknown", "O sistema não conseguiu confirmar a tempo"],
]);
/** A wait asked for by the server that is worth telling. */
const LONG_WAIT_MS = 30_000;

export function sending(name) {
  return `Registrando o seu voto em ${name}…`;
}

/** While waiting to send the same vote again. */
export function waiting(reply, name, waitMs, isOnline) {
  const soon = duration(waitMs);
  if (!isOnline) {
    return reply.inDoubt
      ? `Você está sem conexão, e ainda não sabemos se o voto em ${name} chegou. Reenviamos o mesmo voto assim que der: ele não conta duas vezes.`
      : `Você está sem conexão. O voto em ${name} ainda não foi registrado; tentamos de novo assim que der.`;
  }
  return reply.inDoubt
    ? `${reason(reply)}: ainda não sabemos se o voto em ${name} chegou. Reenviamos o mesmo voto em ${soon}: ele não conta duas vezes.`
    : `${reason(reply)}. O voto em ${name} ainda não foi registrado; tentamos de novo em ${soon}.`;
}

/** Why the last attempt brought no confirmation. */
function reason({ kind, problem }) {
  if (kind === "silent") return "Sem resposta";
  const otherwise =
    kind === "unknown" ? "O sistema respondeu com uma falha" : "O sistema não pôde receber o voto agora";
  return REASONS.get(problem) ?? otherwise;
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
      return reply.inDoubt ? doubtful(reply, name) : turnedAway(reply, name);
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

function doubtful(reply, name) {
  const outcome = reply.wasAnswered ? "e não recebemos confirmação" : "e ninguém respondeu";
  return {
    title: "Não sabemos se o seu voto chegou",
    text: `${tries(reply)} ${outcome}. O voto em ${name} pode ter sido registrado ou não. Se você votar de novo, será outro voto.`,
    retry: "Votar de novo",
  };
}

/** How often and how long, as it was: not every vote is tried until its budget is used up. */
function tries({ attempts, triedMs }) {
  return attempts === 1 ? "Tentamos uma vez" : `Tentamos ${attempts} vezes em ${duration(triedMs)}`;
}

function turnedAway(reply, name) {
  const later = reply.askedMs >= LONG_WAIT_MS ? `em ${duration(reply.askedMs)}` : "em alguns instantes";
  return {
    title: "O seu voto não foi registrado",
    text: `${reason(reply)}. O voto em ${name} não conta. Tente outra vez ${later}.`,
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
    desconhecido: "Não encontramos este voto na apuração. A produção já foi avisada.",
  };
  return results[result] ?? states[state] ?? "Não entendemos a resposta. Tente de novo.";
}
