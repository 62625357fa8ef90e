// Release, after showing what it would do.

import { ask, element, sizeWords } from "./net.js";

const dialog = document.getElementById("release");
const plan = document.getElementById("release-plan");
const now = document.getElementById("release-now");
const error = document.getElementById("release-error");
let asked = null;

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-release]");
  if (button) foresee(button.dataset);
});

async function foresee(about) {
  asked = about;
  now.disabled = true;
  error.hidden = true;
  dialog.querySelector("h2").textContent = `Release ${about.words}?`;
  plan.replaceChildren(element("p", { className: "quiet", textContent: "Looking at what would happen…" }));
  dialog.showModal();
  try {
    const said = await ask("DELETE", withDryRun(about.release));
    if (asked !== about) return;
    plan.replaceChildren(words(said));
    now.disabled = false;
  } catch (problem) {
    fail(problem);
  }
}

function withDryRun(url) {
  return `${url}${url.includes("?") ? "&" : "?"}dry_run=true`;
}

function words(said) {
  const list = element("ul", { className: "plan" });
  const add = (kind, text) => {
    const item = element("li", {}, element("span", { className: "icon-space" }), element("span", { textContent: text }));
    item.dataset.is = kind;
    list.append(item);
  };
  add("ref", `${count(said.refs, "ref ends", "refs end")}, for good.`);
  if (!said.files) {
    add("ref", "Files that nobody else needs go with them.");
    return list;
  }
  const { deleted, freed, kept } = said.files;
  if (deleted) add("gone", `${count(deleted, "file is", "files are")} deleted: ${sizeWords(freed)}.`);
  const reasons = new Map();
  for (const it of kept) reasons.set(it.why, (reasons.get(it.why) ?? 0) + 1);
  for (const [why, times] of reasons) add("kept", `${count(times, "file stays", "files stay")}: ${why}.`);
  return list;
}

function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

function fail(problem) {
  plan.replaceChildren();
  error.textContent = problem.message;
  error.hidden = false;
}

now.addEventListener("click", async () => {
  now.disabled = true;
  try {
    await ask("DELETE", asked.release);
    if (asked.then) location.assign(asked.then);
    else location.reload();
  } catch (problem) {
    fail(problem);
  }
});
