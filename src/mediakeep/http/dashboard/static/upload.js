// Uploads: each file a request of its own, so that each has its own progress and its own failure.

import { element, root, signIn, sizeWords } from "./net.js";

const AT_ONCE = 3;
const waiting = [];
let running = 0;

export function upload(files, { scope, ttl = "", list, done }) {
  for (const file of files) {
    const said = element("span", { className: "upload-said", textContent: "waiting" });
    const bar = element("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    const name = element("span", { className: "upload-name", textContent: file.name });
    const item = element("li", {}, name, said, bar);
    list.hidden = false;
    list.prepend(item);
    waiting.push(() => send(file, { scope, ttl, item, name, said, bar, done }));
  }
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    waiting.shift()().finally(() => {
      running -= 1;
      next();
    });
  }
}

function send(file, { scope, ttl, item, name, said, bar, done }) {
  const query = new URLSearchParams({ scope, filename: file.name.slice(0, 1024), source: "dashboard" });
  if (ttl) query.set("ttl", ttl);
  return new Promise((resolve) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much has been sent
    const end = (state, words) => {
      item.dataset.state = state;
      said.textContent = words;
      bar.hidden = state === "failed";
      bar.value = 1;
      done?.(state, file.name, words);
      resolve();
    };
    request.open("POST", `${root}/v1/media?${query}`);
    request.responseType = "json";
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.upload.onprogress = (event) => {
      if (!event.lengthComputable || !event.total) return;
      bar.value = event.loaded / event.total;
      said.textContent = event.loaded < event.total ? `${Math.floor(bar.value * 100)} %` : "making it durable…";
    };
    request.onload = () => {
      if (request.status === 401) signIn();
      else if (request.status !== 201) end("failed", request.response?.detail ?? `It failed (${request.status}).`);
      else {
        const link = element("a", { href: `${root}/media/${request.response.id}`, textContent: file.name });
        name.replaceChildren(link);
        end("done", sizeWords(file.size));
      }
    };
    request.onerror = () => end("failed", "The connection broke. Nothing of it was kept: try again.");
    request.send(file);
    said.textContent = "0 %";
  });
}

addEventListener("beforeunload", (event) => {
  if (running || waiting.length) event.preventDefault();
});

// Gives `target` files that are dropped; `hover` is told whether some are above it.
export function takeDrops(target, hover, take) {
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  target.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth += 1;
    hover(true);
  });
  target.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  target.addEventListener("dragleave", (event) => {
    if (hasFiles(event) && --depth <= 0) hover(false);
  });
  target.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    hover(false);
    take([...event.dataTransfer.files]);
  });
}
