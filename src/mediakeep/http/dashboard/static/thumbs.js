// Pictures that cannot be made small: the original where the page names it, or else the sign under it.

function fall(image) {
  const original = image.dataset.original;
  if (original && !image.src.endsWith(original)) image.src = original;
  else image.classList.add("failed");
}

document.addEventListener("error", (event) => {
  if (event.target.matches?.("img[data-thumb]")) fall(event.target);
}, true);
for (const image of document.querySelectorAll("img[data-thumb]")) {
  if (image.complete && !image.naturalWidth) fall(image);
}
