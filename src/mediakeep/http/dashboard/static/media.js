// The page of one ref: its link, its release, and its end, whoever brings that about.

import "./release.js";
import { copy } from "./app.js";
import { ask } from "./net.js";

const form = document.getElementById("link-form");
const made = document.getElementById("link-made");
const error = document.getElementById("link-error");
const url = document.getElementById("link-url");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  error.hidden = true;
  try {
    const said = await ask("POST", form.dataset.url, {
      expires_in: Number(form.elements.expires_in.value),
      disposition: form.elements.disposition.value,
    });
    url.value = new URL(said.url, location.href).href;
    made.hidden = false;
    url.select();
  } catch (problem) {
    error.textContent = problem.message;
    error.hidden = false;
  }
});
document.getElementById("link-copy").addEventListener("click", () => copy(url.value));

const { id } = document.getElementById("media").dataset;
document.addEventListener("happened", ({ detail }) => {
  if (detail.id === id && ["released", "expired", "reconciled"].includes(detail.name)) location.reload();
});
