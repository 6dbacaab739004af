/* Requests to the service, and messages about them.

   request() resolves to the JSON of the answer and throws an ApiError, which is the problem document; act() shows the
   error besides, and resolves to undefined. */

export class ApiError extends Error {
  constructor(problem) {
    super(problem.detail);
    Object.assign(this, { status: problem.status, code: problem.code, errors: problem.errors ?? [], problem });
  }
}

export async function request(method, path, body, headers = {}) {
  const isJson = body !== undefined && !(body instanceof Blob) && typeof body !== "string";
  const sent = { Accept: "application/json", ...headers };
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  if (token) sent["X-CSRF-Token"] = token;
  if (isJson) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers: sent, body: isJson ? JSON.stringify(body) : body });
  } catch {
    throw new ApiError({ status: 0, code: "unreachable", detail: "The service does not answer; is it running?" });
  }
  if (answer.ok) return answer.status === 204 ? null : await answer.json();
  if (answer.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  const unread = { status: answer.status, code: "internal", detail: `The service answered ${answer.status}.` };
  throw new ApiError(await answer.json().catch(() => unread));
}

export async function act(method, path, body, headers) {
  try {
    return await request(method, path, body, headers);
  } catch (error) {
    toast(error.message, "bad");
    return undefined;
  }
}

/* Shows a message: for some seconds, or an error until it is closed. */
export function toast(text, kind = "good") {
  const box = document.createElement("div");
  box.className = `toast toast-${kind}`;
  const words = document.createElement("div");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet";
  close.textContent = "Close";
  close.addEventListener("click", () => box.remove());
  box.append(words, close);
  document.getElementById("toasts").append(box);
  say(text);
  if (kind !== "bad") setTimeout(() => box.remove(), 5000);
}

/* Has screen readers say something. */
export function say(text) {
  document.getElementById("live").textContent = text;
}
