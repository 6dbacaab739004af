// Brings the page up to date without loading it again: asks for it once more and replaces the parts marked `data-live`
// that have changed. What people have opened, chosen, scrolled or focused in them stays.

let last = 0;

export async function patch(url) {
  const own = ++last;
  const answer = await fetch(url, { headers: { Accept: "text/html" }, credentials: "same-origin" });
  if (answer.redirected && new URL(answer.url).pathname === "/sign-in") location.reload();
  if (!answer.ok || own !== last) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (own !== last) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (other && sourceOf(part) !== other.innerHTML) replaceInside(part, other);
  }
  for (const [name, value] of Object.entries(fresh.querySelector("[data-study]")?.dataset ?? {})) {
    document.querySelector("[data-study]").dataset[name] = value;
  }
}

const sources = new WeakMap();

// What the server sent of this part, whatever has been opened or chosen in it since.
function sourceOf(part) {
  return sources.get(part) ?? part.innerHTML;
}

function replaceInside(part, other) {
  const source = other.innerHTML;
  const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
  const checked = [...part.querySelectorAll("input:checked")].map((one) => one.value);
  const scrolled = [...part.querySelectorAll(".table-scroll")].map((one) => [one.scrollLeft, one.scrollTop]);
  const focused = part.contains(document.activeElement) ? pathTo(part, document.activeElement) : null;
  part.replaceChildren(...other.childNodes);
  sources.set(part, source);
  for (const one of part.querySelectorAll("details")) one.open = open.includes(one.id);
  for (const one of part.querySelectorAll("input[type=checkbox]")) one.checked = checked.includes(one.value);
  part.querySelectorAll(".table-scroll").forEach((one, i) => {
    if (scrolled[i]) [one.scrollLeft, one.scrollTop] = scrolled[i];
  });
  if (focused) elementAt(part, focused)?.focus({ preventScroll: true });
}

function pathTo(part, element) {
  const path = [];
  for (let one = element; one !== part; one = one.parentElement) path.unshift([...one.parentElement.children].indexOf(one));
  return path;
}

function elementAt(part, path) {
  return path.reduce((element, index) => element?.children[index], part);
}
