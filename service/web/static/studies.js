/* The page of all studies: it looks again while it is seen, and a changed order or an emptied search shows at once. */

const EVERY_MS = 5000;

const filter = document.querySelector("[data-studies-filter]");
filter?.elements.order_by.addEventListener("change", () => filter.requestSubmit());
filter?.elements.search.addEventListener("search", () => filter.requestSubmit());

async function refresh() {
  const shown = document.getElementById("studies");
  if (document.hidden || !shown || shown.contains(document.activeElement)) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("studies");
  if (fresh && fresh.innerHTML !== shown.innerHTML) shown.replaceWith(document.adoptNode(fresh));
}

setInterval(refresh, EVERY_MS);
