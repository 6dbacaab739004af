/* The page of a new study: uploads a table, shows what it seems to be for, and has the service check what would be posted
   each time that something changes. */

import { act, request, say } from "./api.js";
import { curl, yaml } from "./study_text.js";

const WAIT_MS = 400;
const LOOK_MS = 1000;
const SURE = { high: "sure", medium: "likely", low: "a guess" };
const get = (id) => document.getElementById(id);
const form = get("new-study");
const choices = JSON.parse(form.dataset.choices);
const presets = new Map();
let data; // the uploaded data set, with its name and number of rows
let held; // the uploaded test rows
let preview; // what it seems to hold; null where that cannot be shown
let guess;
let isCorrected = false; // whether a person has changed what was guessed, or named what could not be
let timer;
let check = 0; // number of the newest check: an older answer is not shown

/* -- data -- */

const drop = get("drop");
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("is-over");
  });
}
drop.addEventListener("dragleave", () => drop.classList.remove("is-over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("is-over");
  if (!event.dataTransfer.files.length) return;
  get("file").files = event.dataTransfer.files;
  take(event.dataTransfer.files[0]);
});
get("file").addEventListener("change", (event) => event.target.files.length && take(event.target.files[0]));

get("test").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  held = file ? await upload(file, "data.test") : undefined;
  changed();
});

async function upload(file, field) {
  show(field, "");
  try {
    return await request("POST", "/v1/datasets", file, { "Content-Type": "application/octet-stream" });
  } catch (error) {
    show(field, error.errors?.[0]?.message ?? error.message);
    return undefined;
  }
}

async function take(file) {
  note(`Uploading ${file.name}…`);
  const sent = await upload(file, "data.train");
  if (!sent) return note("Choose another file.");
  data = { ...sent, name: file.name };
  isCorrected = false;
  if (await look()) waitForPreview();
  for (const section of form.querySelectorAll("[data-step]")) section.hidden = false;
  get("task-and-columns").hidden = false;
  get("name").value = slug(file.name);
  chooseTask(guess?.task ?? "text-classification");
}

/* Shows what the data seem to be for, and resolves to whether a worker has to read the file first. */
async function look(task) {
  const about = data;
  try {
    const answer = await request("GET", `/v1/datasets/${data.sha256}/preview${task ? `?task=${task}` : ""}`);
    if (data !== about) return false;
    if ("n_workers" in answer) {
      [preview, guess] = [null, null];
      const waiting = `${data.name} is uploaded. Its rows are not shown yet: ${answer.detail}.`;
      if (get("file-note").textContent !== waiting) note(waiting); // said once to who listens
      return true;
    }
    preview = answer;
    guess = preview.guess;
    const rows = preview.n_rows ?? Math.round((preview.n_rows_read * data.size_bytes) / choices.headBytes);
    data.rows = rows;
    note(`${data.name}: ${preview.n_rows === null ? "about " : ""}${counted(rows, "row")} of ${counted(preview.n_columns, "column")}. ${guess ? "" : `Nothing is guessed: ${preview.no_guess}.`}`);
  } catch (error) {
    [preview, guess] = [null, null];
    note(`${data.name} is uploaded. ${error.message}`);
  }
  return false;
}

/* Looks again until a worker has read the file; a person may name task and columns meanwhile, and keeps them. */
async function waitForPreview() {
  const about = data;
  do await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  while (data === about && (await look()));
  if (data !== about) return;
  if (isCorrected) changed();
  else chooseTask(guess?.task ?? get("task").value);
}

function showPreview(read) {
  const box = get("preview");
  box.hidden = preview === null;
  if (preview === null) return;
  const table = element("table", { className: "data" });
  const head = table.createTHead().insertRow();
  for (const column of preview.columns) {
    const cell = element("th", { scope: "col", textContent: column.name, title: column.reason });
    if (read.includes(column.name)) cell.dataset.isRead = "";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of preview.rows) {
    const line = body.insertRow();
    for (const value of row) line.insertCell().textContent = value ?? "";
  }
  box.replaceChildren(table);
}

/* -- task and columns -- */

for (const task of Object.keys(choices.tasks)) get("task").append(new Option(task, task));
get("task").addEventListener("change", async () => {
  const task = get("task").value;
  if (preview !== null) await look(task);
  chooseTask(task);
});

function chooseTask(task) {
  get("task").value = task;
  get("task-reason").textContent = guess?.task === task ? `${SURE[guess.confidence]}: ${guess.reason}` : "";
  showColumns(task);
  const known = choices.tasks[task];
  get("metric").replaceChildren(...known.metrics.map((metric) => new Option(metric, metric)));
  get("model").value = columns().messages ? choices.chatModel : known.model;
  const fitting = [...presets.values()].filter((preset) => preset.tasks.includes(task));
  get("preset").replaceChildren(...fitting.map((preset) => new Option(preset.name, preset.name)));
  get("preset").value = known.presets.findLast(([rows]) => rows <= (data.rows ?? 0))[1];
  get("n-trials").value = choices.nTrials;
  showRanges();
}

function showColumns(task) {
  const sets = choices.tasks[task].columns;
  const guessed = new Map((guess?.task === task ? guess.columns : []).map((one) => [one.field, one]));
  const fields = guessed.size ? [...guessed.keys()] : sets[0];
  const all = [...new Set([...fields, ...sets.flat()])];
  get("columns").replaceChildren(...all.map((field) => {
    const found = guessed.get(field);
    const input = preview === null ? element("input", { value: fields.includes(field) ? field : "" }) : element("select");
    if (preview !== null) {
      input.append(new Option("none", ""), ...preview.columns.map((one) => new Option(`${one.name} (${one.kind})`, one.name)));
      input.value = found?.column ?? "";
    }
    Object.assign(input, { id: `column-${field}` });
    input.dataset.column = field;
    const why = element("p", { className: "field-note", textContent: found ? `${SURE[found.confidence]}: ${found.reason}` : "" });
    input.addEventListener("change", () => (why.hidden = input.value !== found?.column)); // it is about the guess alone
    const box = element("div", { className: "field" });
    box.append(
      element("label", { htmlFor: input.id, textContent: `Column of the ${field.replace("_", " ")}` }),
      input,
      why,
      message(`data.columns.${field}`),
    );
    return box;
  }));
  if (guess?.task === task) get("columns").dataset.separator = guess.label_separator ?? "";
  else get("columns").dataset.separator = "";
}

function columns() {
  const inputs = [...get("columns").querySelectorAll("[data-column]")];
  return Object.fromEntries(inputs.filter((one) => one.value).map((one) => [one.dataset.column, one.value]));
}

/* -- ranges -- */

get("preset").addEventListener("change", showRanges);

function showRanges() {
  const preset = presets.get(get("preset").value);
  get("preset-summary").textContent = preset.summary;
  get("ranges").replaceChildren(...Object.entries(preset.parameters).map(([name, line]) => rangeRow(name, line)));
  const epochs = choices.epochs[preset.name];
  if (epochs !== undefined) {
    const row = get("ranges").querySelector('[data-param="epochs"]');
    row.querySelector("select").value = "fixed";
    row.querySelector("[data-value]").value = epochs;
    update(row);
  }
  changed();
}

function rangeRow(name, line) {
  const known = choices.parameters[name];
  const row = element("tr");
  Object.assign(row.dataset, { param: name, line: JSON.stringify(line) });
  const what = row.insertCell();
  what.append(element("div", { className: "mono strong", textContent: name }), element("p", { className: "muted small", textContent: known?.meaning ?? "" }));
  what.append(message(`search_space.${name}`), message(`fixed.${name}`));
  const mode = row.insertCell();
  mode.dataset.label = "Values";
  const ranges = rangesOf(line);
  const select = element("select");
  select.setAttribute("aria-label", `Values of ${name}`);
  if (ranges.length) select.append(new Option("searched", "searched"));
  select.append(new Option("fixed", "fixed"));
  mode.append(select);
  const cell = row.insertCell();
  cell.dataset.label = "Range";
  for (const range of ranges) cell.append(rangeBox(name, range));
  const fixed = element("div", { className: "range" });
  fixed.dataset.mode = "fixed";
  fixed.append(input(name, "value", line.default ?? "", "Value"));
  cell.append(fixed);
  select.addEventListener("change", () => update(row));
  update(row);
  return row;
}

/* A parameter has no range, one, or several of which each has its condition. */
function rangesOf(line) {
  return [line.distribution ?? []].flat();
}

function rangeBox(name, range) {
  const box = element("div", { className: "range" });
  box.dataset.mode = "searched";
  const when = conditionWords(range);
  const label = when ? `${name} ${when}` : name;
  if (range.type === "categorical") box.append(input(label, "choices", range.choices.join(", "), "Choices"));
  else {
    box.append(input(label, "low", range.low, "Lowest"), element("span", { className: "muted", textContent: "to" }), input(label, "high", range.high, "Highest"));
    if (range.log) box.append(element("span", { className: "tag", textContent: "log" }));
    if (range.step && !(range.type === "int" && range.step === 1)) box.append(element("span", { className: "tag", textContent: `step ${range.step}` }));
  }
  if (when) box.append(element("span", { className: "muted", textContent: when }));
  return box;
}

function conditionWords(range) {
  const conditions = Object.entries(range.when ?? {}).map(([parent, values]) => `${parent} is ${[values].flat().join(" or ")}`);
  return conditions.length ? `where ${conditions.join(" and ")}` : "";
}

function update(row) {
  const mode = row.querySelector("select").value;
  for (const box of row.querySelectorAll(".range")) box.hidden = box.dataset.mode !== mode;
}

function input(name, part, value, label) {
  const made = element("input", { value: String(value), autocomplete: "off" });
  if (part === "choices") made.className = "choices";
  made.setAttribute("aria-label", `${label} of ${name}`);
  made.dataset[part] = "";
  return made;
}

/* Returns what the rows say otherwise than the preset: its own lines need not be posted. */
function overrides() {
  const [space, fixed] = [{}, {}];
  for (const row of get("ranges").querySelectorAll("[data-param]")) {
    const line = JSON.parse(row.dataset.line);
    const name = row.dataset.param;
    if (row.querySelector("select").value === "fixed") {
      const value = read(row.querySelector("[data-value]").value, name);
      if (line.distribution || value !== line.default) fixed[name] = value;
      continue;
    }
    const own = rangesOf(line);
    const boxes = row.querySelectorAll('[data-mode="searched"]');
    const wanted = own.map((range, i) => rangeOf(boxes[i], range, name));
    if (JSON.stringify(wanted) === JSON.stringify(own)) continue;
    space[name] = Array.isArray(line.distribution) ? wanted.map(clean) : clean(wanted[0]);
  }
  return { space, fixed };
}

/* What the fields of a range say, in the form of the range that they began with. */
function rangeOf(box, range, name) {
  const given = (part) => box.querySelector(`[data-${part}]`).value;
  if (range.type === "categorical") return { ...range, choices: given("choices").split(",").map((one) => read(one, name)) };
  return { ...range, low: read(given("low"), name), high: read(given("high"), name) };
}

function read(text, name) {
  const plain = text.trim();
  if (choices.parameters[name]?.type === "name") return plain;
  if (plain === "true" || plain === "false") return plain === "true";
  return plain !== "" && Number.isFinite(Number(plain)) ? Number(plain) : plain;
}

function clean(range) {
  return Object.fromEntries(Object.entries(range).filter(([key, value]) => value !== null && value !== false && !(key === "when" && !Object.keys(value).length)));
}

/* -- what is posted, and what the service says of it -- */

form.addEventListener("input", changed);
get("task-and-columns").addEventListener("input", () => (isCorrected = true));

function spec() {
  const { space, fixed } = overrides();
  const separator = get("columns").dataset.separator;
  const trials = Number(get("n-trials").value);
  return {
    name: get("name").value,
    task: get("task").value,
    model: { name: get("model").value },
    data: { train: data.reference, ...(held ? { test: held.reference } : {}), columns: columns(), ...(separator ? { label_separator: separator } : {}) },
    objective: { metric: get("metric").value },
    preset: get("preset").value,
    ...(Object.keys(space).length ? { search_space: space } : {}),
    ...(Object.keys(fixed).length ? { fixed } : {}),
    pruner: { name: get("pruner").value },
    n_trials: Number.isInteger(trials) ? trials : get("n-trials").value,
  };
}

function changed() {
  if (!data) return;
  showPreview(Object.values(columns()));
  const wanted = spec();
  get("yaml").textContent = yaml(wanted);
  get("curl").textContent = curl(wanted, location.origin, document.querySelector('meta[name="csrf-token"]') !== null);
  get("create").disabled = true;
  get("checked").textContent = "Checking…";
  clearTimeout(timer);
  timer = setTimeout(validate, WAIT_MS);
}

async function validate() {
  const number = (check += 1);
  let found;
  let refused = [];
  try {
    found = await request("POST", "/v1/studies:validate", spec());
  } catch (error) {
    refused = error.errors?.length ? error.errors : [{ field: "", message: error.message }];
  }
  if (number !== check) return;
  for (const one of form.querySelectorAll("[data-message-for]")) show(one.dataset.messageFor, "");
  for (const one of refused) show(one.field, one.message);
  for (const one of found?.warnings ?? []) show(one.field, `${one.message}; ${one.advice}`, "warn");
  get("create").disabled = found === undefined;
  get("checked").textContent = found ? (found.warnings.length ? "Can run; see the warnings." : "Can run.") : "Cannot run yet.";
  get("facts").replaceChildren(...(found ? facts(found) : []).flatMap(([term, text]) => [element("dt", { textContent: term }), element("dd", { textContent: text })]));
}

function facts(found) {
  const listed = [
    ["Parameters searched", String(found.n_parameters)],
    ["Trials", `${found.n_trials}; ${found.n_trials_advised} or more are advised`],
    ["Longest trial", counted(found.longest_trial_evaluations, "evaluation")],
  ];
  if (found.warm_start) listed.push(["Warm start", found.warm_start]);
  if (found.quote) listed.push(["Device time", `${Math.round(found.quote.device_seconds.expected / 60)} min, as measured before`]);
  return listed;
}

/* Shows a message beside the field that it is about: the longest part of its path that has a place on the page. */
function show(field, text, kind = "bad") {
  const parts = field.split(".");
  let place = null;
  while (place === null && parts.length) {
    place = form.querySelector(`[data-message-for="${CSS.escape(parts.join("."))}"]`);
    parts.pop();
  }
  place ??= form.querySelector('[data-message-for=""]');
  place.textContent = [text && place.textContent, text].filter(Boolean).join(" · ");
  place.classList.toggle("warn", kind === "warn");
  place.hidden = !place.textContent;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!data || get("create").disabled) return;
  get("create").disabled = true;
  const made = await act("POST", "/v1/studies", spec());
  get("create").disabled = false;
  if (made) location.assign(`/studies/${encodeURIComponent(made.name)}`);
});

/* -- small things -- */

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

function message(field) {
  const made = element("p", { className: "field-error", hidden: true });
  made.dataset.messageFor = field;
  return made;
}

function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function note(text) {
  get("file-note").textContent = text;
  say(text);
}

function slug(name) {
  return name.toLowerCase().replace(/(\.(csv|tsv|jsonl|parquet|gz|zip))+$/, "").replace(/[^a-z0-9._-]+/g, "-").replace(/^[-._]+|[-._]+$/g, "").slice(0, 64);
}

for (const preset of (await request("GET", "/v1/presets")).presets) presets.set(preset.name, preset);
form.dataset.isReady = "";
