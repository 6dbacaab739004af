/* What every page does: ages that stay true, signing out, and copying. */

import { act, toast } from "./api.js";

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function age(seconds) {
  if (seconds < 5) return "just now";
  const [unit, name] = UNITS.find(([one]) => seconds >= one);
  return `${Math.floor(seconds / unit)} ${name} ago`;
}

function refreshAges() {
  for (const shown of document.querySelectorAll("time[data-age]")) {
    const words = age((Date.now() - Date.parse(shown.dateTime)) / 1000);
    if (shown.textContent !== words) shown.textContent = words;
  }
}

setInterval(() => document.hidden || refreshAges(), 10000);

document.querySelector("[data-sign-out]")?.addEventListener("click", async () => {
  if ((await act("POST", "/sign-out")) !== undefined) location.assign("/sign-in");
});

/* A button with data-copy-from copies what the element of this id says. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-from]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copyFrom).textContent;
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    toast("The browser does not let this page copy; select the text instead.", "bad");
  }
});
