/* The page of webhooks: trying one again, and removing one after a question. */

import { act } from "./api.js";

const dialog = document.getElementById("remove");
let wanted;

document.addEventListener("click", async (event) => {
  const { enable, remove, url } = event.target.dataset;
  if (enable && (await act("PATCH", `/v1/webhooks/${enable}`, { state: "enabled" })) !== undefined) location.reload();
  if (remove) {
    wanted = remove;
    dialog.querySelector("[data-remove-url]").textContent = url;
    dialog.returnValue = "";
    dialog.showModal();
  }
});

dialog.addEventListener("close", async () => {
  if (dialog.returnValue !== "yes") return;
  if ((await act("DELETE", `/v1/webhooks/${wanted}`)) !== undefined) location.reload();
});
