// The event stream: open while the page is seen, since a browser allows few connections to one server.
// Each event is told to the page as `happened`; parts marked data-live are fetched anew after it.

import { page, root } from "./net.js";
import { tell } from "./times.js";

const NAMES = ["put", "released", "expired", "reconciled", "deleted", "failed", "changed", "reset"];
const REST_MS = 1200;
const STALE_MS = 30000;
const LATER_MS = 2500;
const pulse = document.getElementById("pulse");
let source = null;
let due = 0;
let refreshing = false;
let again = false;
const rendered = new Map(); // parts as the server wrote them last: what has not changed is left alone

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(`${root}/v1/events`);
  source.onopen = () => show("on", "Live");
  source.onerror = () => show("off", source.readyState === EventSource.CLOSED ? "Not live" : "Connecting…");
  for (const name of NAMES) {
    source.addEventListener(name, (event) => {
      document.dispatchEvent(new CustomEvent("happened", { detail: { name, ...JSON.parse(event.data) } }));
      refreshSoon();
    });
  }
}

function hush() {
  source?.close();
  source = null;
}

function show(state, words) {
  pulse.dataset.state = state;
  pulse.querySelector(".pulse-words").textContent = words;
}

export function refreshSoon() {
  if (!due) due = setTimeout(refresh, REST_MS);
}

async function refresh() {
  due = 0;
  again = refreshing;
  const parts = document.querySelectorAll("[data-live]");
  if (refreshing || document.hidden || !parts.length) return;
  refreshing = true;
  try {
    const fresh = await page(location.href);
    for (const part of parts) {
      const now = fresh.getElementById(part.id);
      // What somebody is using just now stays as it is.
      if (!now || part.contains(document.activeElement) || rendered.get(part.id) === now.innerHTML) continue;
      rendered.set(part.id, now.innerHTML);
      part.replaceChildren(...document.adoptNode(now).childNodes);
      tell(part);
    }
    document.dispatchEvent(new CustomEvent("refreshed"));
  } catch {
    show("off", "Connecting…");
  } finally {
    refreshing = false;
    if (again) refreshSoon();
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) hush();
  else {
    listen();
    refreshSoon();
  }
});
addEventListener("pagehide", hush);
addEventListener("pageshow", listen);
// Counts are some seconds old when a page or an event comes, so what is new may only show a little later.
setInterval(refreshSoon, STALE_MS);
setTimeout(refreshSoon, LATER_MS);
document.addEventListener("happened", () => setTimeout(refreshSoon, LATER_MS));
listen();
