/* What happens, as it happens: one stream of events a tab, closed while the tab is hidden.

   follow(address) begins; each event is then dispatched on the document as a CustomEvent "spezia:study", "spezia:trial",
   "spezia:value" or "spezia:replay", its detail being the event's data. A stream goes on where it was left: the id of
   the last event goes along in the address' parameter `after`, or in Last-Event-ID where the browser itself comes back.
   "spezia:live" tells whether the stream is open, by detail.isOpen. */

const KINDS = ["study", "trial", "value", "replay"];
let address;
let source;
let last = "";

export function follow(wanted) {
  address = wanted;
  open();
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
}

export function on(kind, listen) {
  document.addEventListener(`spezia:${kind}`, (event) => listen(event.detail));
}

function open() {
  if (source || document.hidden) return;
  const from = new URL(address, location.href);
  if (last) from.searchParams.set("after", last);
  source = new EventSource(from);
  source.addEventListener("open", () => tell("live", { isOpen: true }));
  source.addEventListener("error", () => {
    tell("live", { isOpen: false });
    // the browser comes back by itself, but not after an answer that was none: signed out, or deleted
    if (source?.readyState === EventSource.CLOSED) close();
  });
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      if (event.lastEventId) last = event.lastEventId;
      tell(kind, JSON.parse(event.data));
    });
  }
}

export function close() {
  source?.close();
  source = undefined;
}

function tell(kind, detail) {
  document.dispatchEvent(new CustomEvent(`spezia:${kind}`, { detail }));
}
