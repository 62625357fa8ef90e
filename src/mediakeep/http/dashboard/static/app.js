// What every page does.

import "./times.js";
import "./live.js";
import "./thumbs.js";
import "./keys.js";
import { toast } from "./net.js";

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) document.getElementById(opener.dataset.open).showModal();
  event.target.closest("[data-close]")?.closest("dialog").close();
  const copier = event.target.closest("[data-copy]");
  if (copier) copy(copier.dataset.copy);
  const menu = document.querySelector(".menu[open]");
  if (menu && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = document.querySelector(".menu[open]");
  if (event.key !== "Escape" || !menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    // Without TLS a page has no clipboard.
    prompt("Copy this:", text);
  }
}
