/* Parts of a page that the service draws again: refresh() fetches the page and exchanges what has changed in its element
   with the id "shown". Whoever types into it is left alone, and a link that has the focus keeps it. */

export async function refresh() {
  const shown = document.getElementById("shown");
  const focused = shown.contains(document.activeElement) ? document.activeElement : null;
  if (document.hidden || (focused && focused.tagName !== "A")) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("shown");
  if (!fresh || fresh.innerHTML === shown.innerHTML) return;
  shown.replaceWith(document.adoptNode(fresh));
  if (focused) fresh.querySelector(`a[href="${CSS.escape(focused.getAttribute("href"))}"]`)?.focus({ preventScroll: true });
}
