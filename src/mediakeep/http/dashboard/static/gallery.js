// The gallery: a window on a list of any length, players, drops, and what happens meanwhile.

import "./release.js";
import { element, page, toast } from "./net.js";
import { tell } from "./times.js";
import { takeDrops, upload } from "./upload.js";

const NEAR_PX = 1200; // how near an end of what is shown may come before more is fetched
const MOST_PAGES = 8; // how many pages are shown at a time, so that a hundred thousand files fit
const BAR_PX = 72; // the bar at the top, which covers what is under it
const MOST_EMPTY = 200; // pages in a row in which nothing fitted, before one has to ask for more
const STILL_MS = 150; // after so long without a scroll the place is remembered
const pages = document.getElementById("pages");
const tail = document.getElementById("tail");
const head = document.getElementById("head");
const jumps = document.getElementById("jumps");
const loaded = document.getElementById("loaded");
const fresh = document.getElementById("fresh");
const { scope, here, order } = document.getElementById("gallery").dataset;
const path = location.pathname;
let loading = false;

// -- a window on the list: pages come at one end and go at the other, and nothing moves under the reader

const shown = () => pages.querySelectorAll(".tiles");
const address = (query) => path + (query ? `?${query}` : "");
const tilesOf = async (query) => (await page(address(`${query}${query ? "&" : ""}part=tiles`))).querySelector(".tiles");

// Further pages behind the last one, or with `back` before the first.
async function extend(back) {
  const lists = shown();
  const edge = back ? lists[0] : lists[lists.length - 1];
  const way = back ? "before" : "next";
  let query = edge?.dataset[way];
  if (loading || !query) return;
  loading = true;
  pages.setAttribute("aria-busy", "true");
  const link = document.getElementById(back ? "earlier" : "more");
  if (link) link.textContent = "Loading…";
  try {
    for (let tries = 0; query && tries < MOST_EMPTY; tries += 1) {
      const tiles = await tilesOf(query);
      if (tiles.children.length) {
        add(document.adoptNode(tiles), back);
        break;
      }
      query = tiles.dataset[way];
      edge.dataset[way] = query;
      if (link) link.textContent = "Still looking…";
    }
    tellEnds();
    loaded.textContent = `${pages.querySelectorAll(".tile").length} files shown`;
  } catch {
    if (link) link.textContent = "That did not load: try again";
    return;
  } finally {
    loading = false;
    pages.setAttribute("aria-busy", "false");
  }
  check();
}

function add(list, back) {
  tell(list);
  steady(() => {
    for (const other of shown()) if (!other.children.length) other.remove();
    pages[back ? "prepend" : "append"](list);
    while (pages.children.length > MOST_PAGES) (back ? pages.lastElementChild : pages.firstElementChild).remove();
  });
}

// Changes what is around the reader, and not where he is.
function steady(change) {
  const kept = atTop();
  const before = kept?.getBoundingClientRect().top;
  change();
  if (kept?.isConnected) scrollBy({ top: kept.getBoundingClientRect().top - before, behavior: "instant" });
}

// The first tile that is in sight, below the bar.
function atTop() {
  const list = [...shown()].find((it) => it.getBoundingClientRect().bottom > BAR_PX);
  return list && [...list.children].find((it) => it.getBoundingClientRect().bottom > BAR_PX);
}

function tellEnds() {
  const lists = shown();
  const before = lists[0]?.dataset.before;
  const next = lists[lists.length - 1]?.dataset.next;
  const link = (id, rel, query, words) => element("a", { id, rel, className: "button", href: address(query), textContent: words });
  head.replaceChildren(...(before ? [link("earlier", "prev", before, "What comes before")] : []));
  const end = pages.querySelector(".tile") ? `That is all, by scope, the ${order} first.` : "No file has all of what you look for.";
  if (lists.length) tail.replaceChildren(next ? link("more", "next", next, "More") : element("span", { className: "quiet", textContent: end }));
  jumps.hidden = !before && !next;
}

function check() {
  if (loading) return;
  if (tail.getBoundingClientRect().top < innerHeight + NEAR_PX && document.getElementById("more")) extend(false);
  else if (head.getBoundingClientRect().bottom > -NEAR_PX && document.getElementById("earlier")) extend(true);
}

let still = 0;
addEventListener("scroll", () => {
  check();
  clearTimeout(still);
  still = setTimeout(remember, STILL_MS);
}, { passive: true });
addEventListener("resize", check);
for (const part of [head, tail]) {
  part.addEventListener("click", (event) => {
    if (!event.target.matches("#earlier, #more")) return;
    event.preventDefault();
    extend(event.target.id === "earlier");
  });
}

// -- the place: it is in the address, so that who comes back finds it again

function remember() {
  const tile = atTop();
  if (!tile) return;
  const list = tile.parentElement;
  const query = list.dataset.before ? `${here}${here ? "&" : ""}at=${encodeURIComponent(list.dataset.at)}` : here;
  history.replaceState({ id: tile.dataset.id, top: tile.getBoundingClientRect().top }, "", address(query));
}

async function restore() {
  const place = history.state;
  if (!place?.id) {
    if (new URL(location.href).searchParams.get("before") === "end") scrollTo({ top: document.body.scrollHeight, behavior: "instant" });
    return;
  }
  const settle = () => {
    const tile = pages.querySelector(`.tile[data-id="${CSS.escape(place.id)}"]`);
    if (!tile) return true;
    scrollBy({ top: tile.getBoundingClientRect().top - place.top, behavior: "instant" });
    return Math.abs(tile.getBoundingClientRect().top - place.top) < 2;
  };
  if (settle()) return;
  await extend(true); // it was not the first in sight of its page
  settle();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("a[href]")) remember();
});

// -- what happens meanwhile

const ENDS = { released: "released", expired: "expired", reconciled: "ended" };
document.addEventListener("happened", ({ detail }) => {
  if (detail.name in ENDS) end(detail.id, ENDS[detail.name]);
  else if (detail.name === "put" && (!scope || detail.scope === scope || detail.scope.startsWith(`${scope}:`))) come();
  else if (detail.name === "changed" || detail.name === "reset") come();
});

function end(id, word) {
  const tile = pages.querySelector(`.tile[data-id="${CSS.escape(id)}"]`);
  if (!tile) return;
  tile.classList.add("over");
  tile.querySelector(".tile-more").textContent = word;
  tile.querySelector(".play")?.remove();
}

// At the top of a short list what is new simply appears; elsewhere nothing moves under the reader.
let looking = 0;
function come() {
  if (!looking) looking = setTimeout(look, 800);
}

async function look() {
  looking = 0;
  const [first] = shown();
  if (first?.dataset.before) {
    fresh.hidden = false;
    return;
  }
  const now = await page(address(here)).catch(() => null);
  const theirs = now?.getElementById("pages");
  if (!theirs) return;
  const ids = (part) => [...part.querySelectorAll(".tile:not(.over)")].map((it) => it.dataset.id);
  const [known, found] = [ids(pages), ids(theirs)];
  if (found.every((it, at) => known[at] === it)) {
    fresh.hidden = order === "newest" || shown().length < 2; // what is new may be at the other end
    return;
  }
  if (scrollY > NEAR_PX / 4 || pages.contains(document.activeElement)) {
    fresh.hidden = false;
    return;
  }
  pages.replaceChildren(...document.adoptNode(theirs).childNodes);
  tell(pages);
  tellEnds();
  check();
}

// -- players

const player = document.getElementById("player");
const box = document.getElementById("player-box");
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-play]");
  if (!button) return;
  const { play, kind, name } = button.dataset;
  document.getElementById("player-title").textContent = name;
  const media = element(kind === "video" ? "video" : "audio", { controls: true, autoplay: true, src: play });
  media.setAttribute("aria-label", name);
  media.addEventListener("error", () => toast("This browser cannot play it: open its page to download it."));
  box.replaceChildren(media);
  player.showModal();
});
player.addEventListener("close", () => {
  box.querySelector("audio, video")?.pause();
  box.replaceChildren();
});

// -- filters and drops

const filters = document.getElementById("filters");
filters.addEventListener("change", (event) => {
  if (event.target.matches("select")) filters.requestSubmit();
});
filters.addEventListener("submit", () => {
  // Fields that ask for nothing have no place in the address.
  for (const field of filters.elements) if (field.name && !field.value) field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of filters.elements) field.disabled = false;
});
if ("takesFiles" in document.getElementById("gallery").dataset) {
  const drop = document.getElementById("drop");
  const tray = document.getElementById("tray");
  const list = document.getElementById("uploads");
  takeDrops(document, (over) => { drop.hidden = !over; }, (files) => {
    tray.hidden = false;
    upload(files, { scope, list });
  });
}

history.scrollRestoration = "manual";
tellEnds();
await restore();
check();
