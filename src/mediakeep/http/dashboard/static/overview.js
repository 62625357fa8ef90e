// The overview: what is under the pointer in a plot, and news as they come.

import { element, root, sizeWords } from "./net.js";

const MOST_NEWS = 8;
const WORDS = { put: "Put", released: "Released", expired: "Expired", reconciled: "Ended", deleted: "Deleted", failed: "Failed", changed: "Changed" };
const news = document.getElementById("news");

document.addEventListener("happened", ({ detail }) => {
  if (!(detail.name in WORDS)) return;
  const words = detail.name === "changed"
    ? `now ${detail.files.toLocaleString("en")} files, ${sizeWords(detail.size)}`
    : detail.filename || detail.scope || detail.id;
  const what = detail.id && detail.name === "put"
    ? element("a", { href: `${root}/media/${detail.id}`, textContent: words })
    : element("span", { textContent: words });
  const time = element("span", { className: "quiet", textContent: new Date(detail.at ?? Date.now()).toLocaleTimeString() });
  news.prepend(element("li", {}, element("b", { textContent: WORDS[detail.name] }), element("span", { className: "news-what" }, what), time));
  while (news.children.length > MOST_NEWS) news.lastChild.remove();
  document.getElementById("no-news").hidden = true;
});

document.addEventListener("pointermove", (event) => point(event));
document.addEventListener("pointerleave", (event) => point(event));

function point(event) {
  const svg = event.target.closest?.(".plot svg[data-points]");
  for (const other of document.querySelectorAll(".plot svg[data-points]")) {
    if (other !== svg) say(other, null);
  }
  if (!svg) return;
  const box = svg.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * 640;
  const points = svg.dataset.points.split(" ").map((it) => it.split(",").map(Number));
  say(svg, points.reduce((best, it) => (Math.abs(it[0] - x) < Math.abs(best[0] - x) ? it : best)));
}

function say(svg, nearest) {
  const figure = svg.closest(".plot");
  const cursor = svg.querySelector(".cursor");
  cursor.classList.toggle("seen", nearest !== null);
  for (const end of nearest ? ["x1", "x2"] : []) cursor.setAttribute(end, nearest[0]);
  const at = nearest && new Date(Date.now() - nearest[2] * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const value = nearest && (figure.dataset.kind === "size" ? sizeWords(nearest[3]) : nearest[3].toLocaleString("en"));
  figure.querySelector(".plot-said").textContent = nearest ? `${value} · ${at}` : "";
}
