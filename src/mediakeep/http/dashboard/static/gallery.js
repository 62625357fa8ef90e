// The gallery: further pages as one scrolls, players, drops, and what happens meanwhile.

import "./release.js";
import { element, page, toast } from "./net.js";
import { tell } from "./times.js";
import { takeDrops, upload } from "./upload.js";

const FAR_PX = 6000; // pages further away than this are emptied, so that a hundred thousand files fit
const NEAR_PX = 1200;
const MOST_EMPTY = 200; // pages in a row in which nothing fitted, before one has to ask for more
const here = new URL(location.href);
const pages = document.getElementById("pages");
const tail = document.getElementById("tail");
const loaded = document.getElementById("loaded");
const fresh = document.getElementById("fresh");
const { scope } = document.getElementById("gallery").dataset;
let loading = false;
let shown = pages.querySelectorAll(".tile").length;

// -- further pages

function address(query) {
  return `${here.pathname}?${query}${query ? "&" : ""}part=tiles`;
}

async function more() {
  const link = document.getElementById("more");
  if (loading || !link) return;
  loading = true;
  pages.setAttribute("aria-busy", "true");
  link.textContent = "Loading…";
  let query = link.getAttribute("href").split("?")[1];
  try {
    for (let tries = 0; query && tries < MOST_EMPTY; tries += 1) {
      const tiles = (await page(address(query))).querySelector(".tiles");
      const following = tiles.dataset.next;
      const count = tiles.children.length;
      if (count) add(tiles, query);
      query = following;
      if (count) break;
      link.textContent = "Still looking…";
    }
    if (query) {
      link.href = `${here.pathname}?${query}`;
      link.textContent = "More";
    } else {
      const words = shown ? "That is all, by scope, the oldest first." : "No file has all of what you look for.";
      tail.replaceChildren(element("span", { className: "quiet", textContent: words }));
    }
    loaded.textContent = `${shown} files`;
  } catch {
    link.textContent = "That did not load: try again";
    loading = false;
    return;
  } finally {
    pages.setAttribute("aria-busy", "false");
  }
  loading = false;
  if (tail.getBoundingClientRect().top < innerHeight + NEAR_PX) more();
}

function add(tiles, query) {
  const list = document.adoptNode(tiles);
  shown += list.children.length;
  tell(list);
  pages.append(list);
  keep(list, query);
}

new IntersectionObserver((seen) => {
  if (seen.some((it) => it.isIntersecting)) more();
}, { rootMargin: `${NEAR_PX}px` }).observe(tail);
tail.addEventListener("click", (event) => {
  if (event.target.id !== "more") return;
  event.preventDefault();
  more();
});

// A page far out of sight gives its place to one line of the same height, and comes back when it is near.
const queries = new WeakMap();
const distant = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (isIntersecting && "away" in target.dataset) bring(target);
    else if (!isIntersecting && !("away" in target.dataset)) send(target);
  }
}, { rootMargin: `${FAR_PX}px` });

function keep(list, query) {
  queries.set(list, query);
  distant.observe(list);
}

function send(list) {
  if (list.contains(document.activeElement) || !list.children.length) return;
  list.style.height = `${list.getBoundingClientRect().height}px`;
  list.dataset.away = "";
  list.replaceChildren(element("li", { className: "visually-hidden", textContent: "Files further away" }));
}

async function bring(list) {
  delete list.dataset.away;
  try {
    const tiles = (await page(address(queries.get(list)))).querySelector(".tiles");
    list.replaceChildren(...document.adoptNode(tiles).childNodes);
    list.style.height = "";
    tell(list);
  } catch {
    list.dataset.away = "";
  }
}

// Who opens a file comes back to the page that it is on.
pages.addEventListener("click", (event) => {
  const list = event.target.closest(".tile-link") && event.target.closest(".tiles");
  const query = list && queries.get(list);
  if (query) history.replaceState(null, "", `${here.pathname}?${query}`);
});

const first = pages.querySelector(".tiles");
if (first) keep(first, here.search.slice(1));

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
  if (pages.querySelectorAll(".tiles").length > 1 || here.searchParams.has("cursor")) {
    fresh.hidden = false;
    return;
  }
  const now = await page(here.href).catch(() => null);
  const theirs = now?.getElementById("pages");
  const ids = (part) => [...part.querySelectorAll(".tile:not(.over)")].map((it) => it.dataset.id).join();
  if (!theirs || ids(theirs) === ids(pages) || pages.contains(document.activeElement)) {
    fresh.hidden = !theirs || ids(theirs) === ids(pages);
    return;
  }
  pages.replaceChildren(...document.adoptNode(theirs).childNodes);
  tail.replaceChildren(...document.adoptNode(now.getElementById("tail")).childNodes);
  tell(pages);
  shown = pages.querySelectorAll(".tile").length;
  const list = pages.querySelector(".tiles");
  if (list) keep(list, here.search.slice(1));
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
