// The page of uploads.

import { takeDrops, upload } from "./upload.js";

const form = document.getElementById("upload");
const zone = document.getElementById("zone");
const list = document.getElementById("uploads");
const status = document.getElementById("uploaded");

function take(files) {
  if (!form.reportValidity()) return;
  const { scope, ttl } = form.elements;
  const done = (state, name, words) => {
    status.textContent = state === "done" ? `${name} is stored` : `${name}: ${words}`;
  };
  upload(files, { scope: scope.value, ttl: ttl.value, list, done });
}

takeDrops(document, (over) => zone.classList.toggle("over", over), take);
const chosen = document.getElementById("files");
chosen.addEventListener("change", () => {
  take([...chosen.files]);
  chosen.value = "";
});
form.addEventListener("submit", (event) => event.preventDefault());
