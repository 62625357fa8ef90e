// What the pages ask the API, and how it is told to people.

export const root = document.body.dataset.root;

export async function ask(method, url, body) {
  const options = { method, headers: { Accept: "application/json" }, cache: "no-store" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(url, options);
  } catch {
    throw new Error("The server does not answer. Try again in a moment.");
  }
  if (answer.status === 401) return signIn();
  const said = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(said.detail);
  return said;
}

// The session has ended: the login page leads back to here.
export function signIn() {
  location.assign(`${root}/login?next=${encodeURIComponent(location.pathname.slice(root.length) + location.search)}`);
  return new Promise(() => {});
}

export async function page(url) {
  const answer = await fetch(url, { cache: "no-store" });
  if (answer.redirected) return signIn();
  if (!answer.ok && answer.status !== 410) throw new Error(`status ${answer.status}`);
  // A document without a browsing context: nothing in it runs or loads.
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function sizeWords(size) {
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (size < 999.5 || unit === "TB") {
      return `${unit === "B" || size >= 99.95 ? Math.round(size) : size.toFixed(1).replace(/\.0$/, "")} ${unit}`;
    }
    size /= 1000;
  }
}

export function toast(words) {
  const made = element("p", { className: "toast", textContent: words });
  document.getElementById("toasts").append(made);
  setTimeout(() => made.remove(), 4000);
}
