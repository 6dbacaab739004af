/* What happens, as it happens: one stream of events a tab, closed while the tab is hidden.

   follow(address) begins; each event is then dispatched on the document as a CustomEvent "spezia:study", "spezia:trial",
   "spezia:value" or "spezia:replay", its detail being the event's data, to which on(kind, listen) listens. A connection
   that breaks goes on where it was left, by Last-Event-ID. After a tab was hidden "spezia:missed" says that events were
   missed, so that a page loads again what it shows. "spezia:live" tells by detail.isOpen whether the stream is open. */

const KINDS = ["study", "trial", "value", "replay"];
let address;
let source;
let wasOpen = false;

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
  source = new EventSource(address);
  source.addEventListener("open", () => tell("live", { isOpen: true }));
  source.addEventListener("error", () => {
    tell("live", { isOpen: false });
    // the browser comes back by itself, but not after an answer that was none: signed out, or deleted
    if (source?.readyState === EventSource.CLOSED) close();
  });
  for (const kind of KINDS) source.addEventListener(kind, (event) => tell(kind, JSON.parse(event.data)));
  if (wasOpen) tell("missed", {});
  wasOpen = true;
}

export function close() {
  source?.close();
  source = undefined;
}

function tell(kind, detail) {
  document.dispatchEvent(new CustomEvent(`spezia:${kind}`, { detail }));
}
