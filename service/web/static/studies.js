/* The page of all studies: it is drawn again when something has happened, and a changed order or an emptied search shows
   at once. */

import { follow, on } from "./live.js";
import { refresh } from "./refresh.js";

const AT_MOST_EVERY_MS = 2000;

for (const kind of ["change", "search"]) {
  document.addEventListener(kind, (event) => event.target.closest("[data-studies-filter]")?.requestSubmit(), true);
}

let isDue = false;

function look() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    refresh();
  }, AT_MOST_EVERY_MS);
}

for (const kind of ["study", "trial", "missed"]) on(kind, look);
follow("/v1/events");
