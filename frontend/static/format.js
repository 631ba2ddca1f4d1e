// Values as Brazilian voters read them. Pure functions.

const WHOLE = new Intl.NumberFormat("pt-BR", { maximumFractionDigits: 0 });

/** "56.73" → "56,73%". The text stays as the server apportioned it; it is never recomputed. */
export function percent(text) {
  return `${text.replace(".", ",")}%`;
}

/** 1532 → "1.532 votos". */
export function votes(count) {
  return `${WHOLE.format(count)} ${count === 1 ? "voto" : "votos"}`;
}

/** "2026-11-20T21:14:03.120-03:00" → "21:14:03": the poll's own clock, whatever the phone's. */
export function clockTime(rfc3339) {
  return rfc3339.slice(11, 19);
}

/** How long ago, in words; never negative. */
export function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 2) return "agora";
  if (seconds < 60) return `há ${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `há ${minutes} min`;
  return `há ${Math.floor(minutes / 60)} h`;
}

/** Time left as a clock shows it: "9:05", "1:00:00". Rounded up, so 0:00 means over. */
export function timeLeft(ms) {
  const total = Math.max(0, Math.ceil(ms / 1000));
  const [hours, minutes, seconds] = [total / 3600, (total / 60) % 60, total % 60].map(Math.floor);
  const two = (n) => String(n).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

/** A length of time in words: "1 segundo", "12 segundos", "cerca de 2 minutos". */
export function duration(ms) {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds > 90) return `cerca de ${Math.round(seconds / 60)} minutos`;
  return seconds === 1 ? "1 segundo" : `${seconds} segundos`;
}
