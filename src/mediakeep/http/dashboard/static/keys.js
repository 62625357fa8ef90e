// The keyboard: / searches, g and a letter goes somewhere, arrows move between files.

import { root } from "./net.js";

const PAGES = { o: "/", g: "/gallery", u: "/upload" };
let waiting = 0;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input, select, textarea, dialog, audio, video")) return;
  const going = Date.now() - waiting < 1200;
  waiting = 0;
  if (going && event.key in PAGES) location.assign(root + PAGES[event.key]);
  else if (event.key === "g") waiting = Date.now();
  else if (event.key === "/") {
    const search = document.getElementById("search");
    if (search) search.focus();
    else location.assign(`${root}/gallery#search`);
  } else if (event.key === "?") document.getElementById("keys").showModal();
  else if (!move(event.key)) return;
  event.preventDefault();
});

function move(key) {
  const here = document.activeElement?.closest(".tile-link");
  if (!here || !["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(key)) return false;
  const links = [...document.querySelectorAll(".tile-link")];
  const at = links.indexOf(here);
  let aim = at + (key === "ArrowRight") - (key === "ArrowLeft");
  if (key === "ArrowUp" || key === "ArrowDown") {
    const step = key === "ArrowDown" ? 1 : -1;
    const place = here.getBoundingClientRect();
    // The next one in this column, whatever the number of columns.
    for (aim = at + step; links[aim]; aim += step) {
      const there = links[aim].getBoundingClientRect();
      if (Math.abs(there.left - place.left) < 4 && there.top !== place.top) break;
    }
  }
  links[aim]?.focus();
  return true;
}

if (location.hash === "#search") document.getElementById("search")?.focus();
