// Times in the reader's own zone, and times to live that count down.

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function tell(part) {
  for (const it of part.querySelectorAll("time[data-when]")) {
    it.title = it.dateTime;
    it.textContent = local.format(new Date(it.dateTime));
  }
  countDown(part, true);
}

function countDown(part, all) {
  for (const it of part.querySelectorAll(all ? "time[data-ends]" : "time[data-ends][data-seconds]")) {
    const left = (new Date(it.dateTime) - Date.now()) / 1000;
    it.textContent = left > 0 ? `in ${spanWords(left, "seconds" in it.dataset)}` : "now";
    if (!it.title) it.title = local.format(new Date(it.dateTime));
  }
}

function spanWords(seconds, exact) {
  const whole = Math.floor(seconds);
  const [d, h, m, s] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  if (exact) return (d ? `${d} d ` : "") + `${two(h)}:${two(m)}:${two(s)}`;
  if (d) return `${d} d`;
  if (h) return `${h} h`;
  return m ? `${m} min` : `${s} s`;
}

tell(document);
let ticks = 0;
setInterval(() => {
  if (!document.hidden) countDown(document, ++ticks % 15 === 0);
}, 1000);
