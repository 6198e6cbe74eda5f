// The reader: finding items, and going from one to the next by list, key or address; notes; keys. It holds the state.
// An item itself is drawn by item.js, its texts by text.js; where items come from is behind one interface (source.js).

const $ = (id) => document.getElementById(id);
const framed = window.parent !== window; // in a notebook the address is not ours
const ROW = 50;

const state = {
  query: { filters: [], judges: [], section: null, difficulty: null, benchmark: null, q: "", sort: "given" },
  meta: null,
  found: null,
  at: -1,
  item: null,
  key: null,
  pinned: null, // trace ids that the reader, or the link, chose; null: the default ones
  columns: 0, // 0: as many as there is reason for
  ids: [], // trace id of each column
  shown: [], // trace (or null) of each column
  ranges: [], // what the difference adds to each column
  hidden: new Set(),
  sync: true,
  diff: false,
  pair: [0, 1],
  lead: -1,
  opening: 0,
  keys: true,
};
let source;

const say = (text) => {
  $("said").textContent = text;
};
const idOf = (trace) => `${trace.judge}|${trace.order}|${trace.sample}`;
const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

// --- Finding ---------------------------------------------------------------------------------------------------------

let asked = 0;

async function find() {
  const mine = ++asked;
  try {
    const found = await source.find(state.query);
    if (mine !== asked) return;
    state.found = found;
    state.at = state.key ? found.place(state.key) : -1;
    const all = state.meta.items;
    $("count").textContent =
      found.total === all ? count(all, "item") : `${found.total.toLocaleString("en")} of ${count(all, "item")}`;
    $("list").hidden = !found.total;
    $("none").hidden = !!found.total || !all;
    $("rows").style.height = found.total * ROW + "px";
    const { filters, judges, section, difficulty, benchmark } = state.query;
    const active =
      filters.length + [section, difficulty, benchmark].filter((value) => value !== null).length + !!judges.length;
    $("active").textContent = active ? `(${active} on)` : "";
    $("clear").disabled = !active && !state.query.q;
    if (state.at >= 0) reveal(state.at);
    else $("list").scrollTop = 0;
    drawRows();
    steps();
    if (state.item) drawFacts();
  } catch (problem) {
    fail(problem);
  }
}

function fail(problem) {
  const text = `Something went wrong: ${problem.message}`;
  $("count").textContent = text;
  if (!state.item) $("message").textContent = text;
  say(text);
  throw problem;
}

function drawRows() {
  const { found } = state;
  if (!found) return;
  const list = $("list");
  const from = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const to = Math.min(found.total, from + Math.ceil((list.clientHeight || 400) / ROW) + 10);
  const wait = found.need(from, to);
  if (wait) wait.then(() => state.found === found && drawRows(), fail);
  const rows = [];
  for (let i = from; i < to; i++) {
    const row = found.row(i);
    const options = { className: "row", role: "option", id: `row-${i}`, "aria-selected": String(i === state.at) };
    const line = make("div", { ...options, "aria-setsize": found.total, "aria-posinset": i + 1 });
    line.style.transform = `translateY(${i * ROW}px)`;
    line.dataset.at = i;
    if (row) line.append(...rowParts(row, found.sort));
    else line.append("…");
    rows.push(line);
  }
  $("rows").replaceChildren(...rows);
  if (state.at >= from && state.at < to) list.setAttribute("aria-activedescendant", `row-${state.at}`);
  else list.removeAttribute("aria-activedescendant");
}

// The number that the list is sorted by, in words.
function byText(by, sort) {
  if (sort === "given" || sort === "difficulty") return ""; // a difficulty stands in the row
  if (by === null) return "–";
  if (sort === "longest") return `longest ${by.toLocaleString("en")}`;
  if (sort === "disagreement") return by > 1 ? `${by} different verdicts` : by ? "one verdict" : "no verdict";
  if (sort === "share_right") return `${Math.round(100 * by)} % right`;
  return `${(100 * by).toFixed(1)} per 100 words`;
}

function rowParts(row, sort) {
  const flags = make("span", { className: "flags" });
  for (const [name, label, , sign] of FILTERS) {
    if (name === "noted" ? !source.notes.has(keyOf(row.benchmark, row.id)) : !row.flags.includes(name)) continue;
    if (name === "wrong" && ["majority_wrong", "outvoted"].some((more) => row.flags.includes(more))) continue;
    const mark = make("span", { className: `flag f-${name}`, title: label });
    mark.append(make("span", { "aria-hidden": "true" }, sign), make("span", { className: "hidden" }, label));
    flags.append(mark, " ");
  }
  const place = [row.section, row.difficulty]
    .filter(Boolean)
    .map((text) => flat(text, 40))
    .join(" · ");
  const id = make("bdi", { className: "id", title: flat(row.id) }, flat(row.id, 60));
  const head = make("span", { className: "row-head" }, id, make("bdi", { className: "where" }, place), flags);
  const start = make("bdi", { className: "start", dir: "auto" }, flat(row.query_start, 120));
  const by = byText(row.by, sort);
  return [head, make("span", { className: "second" }, by && make("span", { className: "by" }, by), start)];
}

function reveal(i) {
  const list = $("list");
  const top = i * ROW;
  if (top < list.scrollTop || top + ROW > list.scrollTop + list.clientHeight)
    list.scrollTop = Math.max(0, top - list.clientHeight / 2 + ROW / 2);
}

async function step(by) {
  const { found, at } = state;
  const to = at < 0 && by < 0 ? -1 : at + by;
  if (!found || to < 0 || to >= found.total) return say(by > 0 ? "This is the last item." : "This is the first item.");
  await found.need(to, to + 1);
  if (state.found === found) open(found.row(to), { at: to });
}

// The next row with that flag; of a server's rows, pages are fetched until there is one, within reason.
async function nextWith(flag) {
  const { found } = state;
  const limit = Math.min(found.total, state.at + 5001);
  for (let i = state.at + 1; i < limit; i++) {
    await found.need(i, i + 1);
    if (state.found !== found) return;
    if (found.row(i).flags.includes(flag)) return open(found.row(i), { at: i });
  }
  const rest = limit < found.total ? " among the next 5,000 items: use the filter" : " below in the list";
  announce("No disagreement" + rest + ".");
}

function announce(text) {
  say(text);
  $("diff-state").textContent = text;
}

async function open({ benchmark, id }, { at = -1, pinned = null, push = true } = {}) {
  const mine = ++state.opening;
  await saveNote();
  let item;
  try {
    item = await source.item(benchmark, id);
  } catch (problem) {
    $("message").textContent = `Something went wrong: ${problem.message}`;
    return announce($("message").textContent);
  }
  if (mine !== state.opening) return;
  state.item = item;
  state.key = keyOf(item.benchmark, item.id);
  state.at = at >= 0 ? at : state.found ? state.found.place(state.key) : -1;
  if (pinned) state.pinned = pinned;
  $("welcome").hidden = true;
  $("opened").hidden = false;
  drawItem();
  if (state.at >= 0) reveal(state.at);
  drawRows();
  steps();
  address(push);
  say(`Item ${flat(item.id)}`);
}

function steps() {
  $("previous").disabled = state.at <= 0;
  $("next").disabled = !state.found || state.at + 1 >= state.found.total;
}

// --- The address --------------------------------------------------------------------------------------------------------

// As `percent` writes it, also with lone surrogates.
function decode(text) {
  const parts = text.split(/%ED%([AB][0-9A-F])%([89AB][0-9A-F])/);
  let out = "";
  for (let i = 0; i < parts.length; i += 3) {
    out += decodeURIComponent(parts[i]);
    if (i + 2 >= parts.length) break;
    const [high, low] = [parseInt(parts[i + 1], 16), parseInt(parts[i + 2], 16)];
    out += String.fromCharCode(0xd000 | ((high & 0x3f) << 6) | (low & 0x3f));
  }
  return out;
}

function fragment() {
  const { item, ids, meta } = state;
  const parts = ["item=" + percent(item.id)];
  if (meta.benchmarks.length > 1) parts.push("benchmark=" + percent(item.benchmark));
  if (ids.length) parts.push("cols=" + ids.map(percent).join(","));
  return "#" + parts.join("&");
}

function address(push) {
  if (framed || !state.item) return;
  const to = fragment();
  if (to === location.hash) return;
  try {
    history[push ? "pushState" : "replaceState"](null, "", to);
  } catch {
    /* where the address cannot change, everything else still works */
  }
}

function fromAddress() {
  try {
    const given = new Map(
      location.hash
        .slice(1)
        .split("&")
        .map((part) => part.split("=", 2)),
    );
    if (!given.has("item")) return null;
    const cols = given.get("cols");
    const pinned = cols ? cols.split(",").slice(0, 4).map(decode) : null;
    return {
      id: decode(given.get("item")),
      benchmark: decode(given.get("benchmark") || "") || state.meta.benchmarks[0] || "",
      pinned,
    };
  } catch {
    return null;
  }
}

async function followAddress() {
  const given = framed ? null : fromAddress();
  if (given) await open(given, { pinned: given.pinned, push: false });
  return !!given;
}

// --- Notes --------------------------------------------------------------------------------------------------------------

let noteTimer = 0;

async function saveNote() {
  clearTimeout(noteTimer);
  if (!state.item) return;
  const { item, key } = state;
  const text = $("note-text").value.trim();
  if (text === (source.notes.get(key) || "")) return;
  try {
    await source.keep(item.benchmark, item.id, text);
    $("note-state").textContent = source.kept ? "kept" : "kept until this page is closed: save it with Notes…";
  } catch (problem) {
    $("note-state").textContent = `not kept: ${problem.message}`;
  }
  drawRows();
}

function toggleNote() {
  const box = $("note-box");
  const opens = box.hidden || document.activeElement !== $("note-text");
  box.hidden = !opens;
  $("note-button").setAttribute("aria-expanded", String(opens));
  if (opens) $("note-text").focus();
}

function notesJson() {
  const notes = [...source.notes].map(([key, text]) => {
    const [benchmark, id] = [key.slice(0, key.indexOf("\u0000")), key.slice(key.indexOf("\u0000") + 1)];
    return { benchmark, id, text };
  });
  return JSON.stringify({ version: 1, notes }, null, 1) + "\n";
}

async function takeNotes(text) {
  let notes;
  const refused = [];
  try {
    const given = JSON.parse(text);
    notes = given.notes;
    const fits = (n) => n && [n.benchmark, n.id, n.text].every((part) => typeof part === "string");
    if (given.version !== 1 || !Array.isArray(notes) || !notes.every(fits))
      throw new Error("no list of notes of version 1");
    for (const { benchmark, id, text } of notes)
      await source.keep(benchmark, id, text.trim()).catch((problem) => refused.push(problem.message));
  } catch (problem) {
    $("notes-state").textContent = `Not taken over: ${problem.message}`;
    return;
  }
  const away = notes.filter(({ benchmark, id, text }) => text.trim() && source.lacks(benchmark, id)).length;
  $("notes-state").textContent =
    `${count(notes.length - refused.length, "note")} taken over.` +
    (away ? ` ${away} of them on items that are not in this file: kept, but not to be seen here.` : "") +
    (refused.length ? ` Not ${refused.length} of ${notes.length}: ${refused[0]}` : "");
  $("notes-json").value = notesJson();
  if (state.item) $("note-text").value = source.notes.get(state.key) || "";
  find();
}

async function showNotes() {
  await saveNote();
  $("notes-json").value = notesJson();
  $("notes-state").textContent = "";
  const where =
    source instanceof Server
      ? "Notes are kept beside the store."
      : source.kept
        ? "Notes are kept in this browser, for pages of this title."
        : "Nothing can be kept here (a frame, or a browser that forbids it): copy the text or save it as a file.";
  $("notes-where").textContent = where;
  $("notes").showModal();
}

function saveFile() {
  const url = URL.createObjectURL(new Blob([notesJson()], { type: "application/json" }));
  make("a", { href: url, download: "notes.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// --- Keys ---------------------------------------------------------------------------------------------------------------

const KEYS = [
  ["j", "→", "next item", () => step(1)],
  ["k", "←", "previous item", () => step(-1)],
  ["d", "", "next disagreement", () => nextWith("disagree")],
  ["1", "2 3 4", "go to a column (then ↑ ↓ to scroll)", () => focusColumn(1)],
  ["/", "", "search", () => $("q").focus()],
  ["n", "", "note on this item", toggleNote],
  ["x", "", "differences on or off", () => $("diff").click()],
  ["s", "", "scroll together on or off", () => $("sync").click()],
  ["p", "", "fold or unfold query and responses", () => document.body.classList.toggle("folded")],
  ["t", "", "light or dark", () => $("theme").click()],
  ["?", "", "this help", () => $("help").showModal()],
  ["Esc", "", "clear the search (Enter leaves it), leave a note", () => {}],
];

function focusColumn(n) {
  const target = $("columns").children[n - 1]?.querySelector(".body");
  if (!target) return say(`There is no column ${n}.`);
  target.focus();
  state.lead = n - 1;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  const { target, key } = event;
  const writes = target.matches("textarea, select, input:not([type=checkbox])");
  if (key === "Escape" && target === $("q") && target.value) {
    target.value = "";
    target.dispatchEvent(new Event("input"));
  }
  if (key === "Escape" && writes) return target === $("note-text") ? $("note-button").focus() : target.blur();
  if (target === $("q") && (key === "ArrowDown" || key === "Enter") && state.found?.total) {
    $("list").focus();
    return state.at < 0 && step(1);
  }
  if (writes || !state.keys || !state.found) return;
  if (target === $("list") && onListKey(key)) return event.preventDefault();
  let action = KEYS.find(([name]) => name === key)?.[3];
  if (key === "ArrowRight") action = () => step(1);
  if (key === "ArrowLeft") action = () => step(-1);
  if (/^[1-4]$/.test(key)) action = () => focusColumn(Number(key));
  if (!action) return;
  event.preventDefault();
  action();
}

function onListKey(key) {
  const page = Math.max(1, Math.floor($("list").clientHeight / ROW) - 1);
  const { total } = state.found;
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -total, End: total }[key];
  if (!by) return false;
  step(Math.max(0, Math.min(total - 1, state.at + by)) - state.at);
  return true;
}

// --- Start --------------------------------------------------------------------------------------------------------------

function drawFilters() {
  const { meta } = state;
  const chips = FILTERS.map(([name, label, title]) => [name, label, title]);
  for (const family of meta.families)
    chips.push([`pattern:${family}`, flat(family, 30), `Some trace has the pattern ${flat(family, 60)}`]);
  const shown = chips.filter(([name]) => name === "noted" || !meta.counts || meta.counts[name]);
  const buttons = shown.map(([name, label, title]) => {
    const button = make("button", { type: "button", className: "chip", title, "aria-pressed": "false" }, label);
    if (meta.counts && name !== "noted")
      button.append(make("span", { className: "n" }, (meta.counts[name] || 0).toLocaleString("en")));
    button.dataset.filter = name;
    button.addEventListener("click", () => {
      const on = !state.query.filters.includes(name);
      state.query.filters = on ? [...state.query.filters, name] : state.query.filters.filter((other) => other !== name);
      button.setAttribute("aria-pressed", String(on));
      find();
    });
    return button;
  });
  const first = shown.findIndex(([name]) => name.startsWith("pattern:"));
  if (first >= 0) buttons.splice(first, 0, make("span", { className: "break" }, "Patterns"));
  $("filters").replaceChildren(...buttons);
  for (const [name, values] of [
    ["section", meta.sections],
    ["difficulty", meta.difficulties],
    ["benchmark", meta.benchmarks],
  ]) {
    const options = values.map((value) => make("option", { value: "=" + value }, flat(value, 60) || "(none)"));
    $(name).replaceChildren(make("option", { value: "" }, "all"), ...options);
    $(`l-${name}`).hidden = values.length < 2;
    $(name).addEventListener("change", () => {
      state.query[name] = $(name).value ? $(name).value.slice(1) : null;
      find();
    });
  }
  for (const family of meta.families)
    $("sort").append(make("option", { value: "rate:" + family }, `${flat(family, 30)}, per 100 words`));
  $("sort").addEventListener("change", () => {
    state.query.sort = $("sort").value;
    find();
  });
  $("judges").replaceChildren(
    ...meta.judges.map((judge) => {
      const box = make("input", { type: "checkbox", checked: true, value: judge });
      box.addEventListener("change", chooseJudges);
      return make("label", {}, box, make("bdi", {}, flat(judge, 60)));
    }),
  );
  $("judge-box").hidden = meta.judges.length < 2;
  $("judge-count").textContent = `(${meta.judges.length})`;
}

function chooseJudges() {
  const boxes = [...$("judges").querySelectorAll("input")];
  const on = boxes.filter((box) => box.checked).map((box) => box.value);
  state.query.judges = on.length === boxes.length ? [] : on;
  if (!on.length)
    boxes.forEach((box) => {
      box.checked = true;
    });
  $("judge-count").textContent = state.query.judges.length ? `(${on.length} of ${boxes.length})` : `(${boxes.length})`;
  find();
  recount();
  if (state.item && !state.pinned) chooseColumns();
}

// The numbers of the filters are of the judges chosen, as the filters are.
async function recount() {
  const { judges } = state.query;
  try {
    const counts = await source.counts(judges);
    if (judges !== state.query.judges) return;
    for (const number of $("filters").querySelectorAll(".n"))
      number.textContent = (counts[number.parentElement.dataset.filter] || 0).toLocaleString("en");
  } catch (problem) {
    fail(problem);
  }
}

function clearAll() {
  Object.assign(state.query, { filters: [], judges: [], section: null, difficulty: null, benchmark: null, q: "" });
  for (const name of ["section", "difficulty", "benchmark", "q"]) $(name).value = "";
  for (const button of $("filters").querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
  for (const box of $("judges").querySelectorAll("input")) box.checked = true;
  chooseJudges();
}

// What scrolls can be reached by key.
function fitNote() {
  const note = $("note");
  if (note.scrollHeight > note.clientHeight) note.tabIndex = 0;
  else note.removeAttribute("tabindex");
}

function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}

function wire() {
  let typing = 0;
  if (innerWidth <= 700 || innerHeight < 680) $("filter-box").open = false;
  $("q").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(
      async () => {
        state.query.q = $("q").value;
        await find();
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); // the list first, then the marks
        if (state.item) {
          drawPrompt(state.item);
          drawColumns();
        }
      },
      source instanceof Server ? 200 : 10,
    );
  });
  $("list").addEventListener("scroll", () => requestAnimationFrame(drawRows), { passive: true });
  $("list").addEventListener("click", (event) => {
    const line = event.target.closest("[data-at]");
    const row = line && state.found.row(Number(line.dataset.at));
    if (row) open(row, { at: Number(line.dataset.at) });
  });
  $("clear").addEventListener("click", clearAll);
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("next-disagreement").addEventListener("click", () => nextWith("disagree"));
  $("note-button").addEventListener("click", toggleNote);
  $("note-text").addEventListener("input", () => {
    clearTimeout(noteTimer);
    noteTimer = setTimeout(saveNote, 500);
  });
  $("note-text").addEventListener("blur", saveNote);
  $("sync").addEventListener("click", () => {
    state.sync = !state.sync;
    $("sync").setAttribute("aria-pressed", String(state.sync));
    say(state.sync ? "Columns scroll together" : "Columns scroll alone");
  });
  $("diff").addEventListener("click", () => {
    state.diff = !state.diff;
    drawColumns();
  });
  for (const [i, name] of ["diff-a", "diff-b"].entries())
    $(name).addEventListener("change", () => {
      state.pair[i] = Number($(name).value);
      drawColumns();
    });
  for (const n of [1, 2, 3, 4]) {
    const button = make(
      "button",
      { type: "button", className: "chip", "aria-label": count(n, "column"), "aria-pressed": "false" },
      String(n),
    );
    button.addEventListener("click", () => setColumns(n));
    $("how-many").append(button);
  }
  $("link").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(new URL(fragment(), location.href).href);
      announce("The link is in the clipboard.");
    } catch {
      announce("The link is the address of this page.");
    }
  });
  $("link").hidden = framed;
  $("notes-file").addEventListener("click", showNotes);
  $("notes-save").addEventListener("click", saveFile);
  $("notes-take").addEventListener("click", () => takeNotes($("notes-json").value));
  $("notes-read").addEventListener("change", async () => {
    const [file] = $("notes-read").files;
    if (file) await takeNotes(await file.text());
    $("notes-read").value = "";
  });
  for (const [key, more, what] of KEYS) {
    const name = make("dt", {}, make("kbd", {}, key));
    for (const other of more.split(" ").filter(Boolean)) name.append(" ", make("kbd", {}, other));
    $("keys").append(name, make("dd", {}, what));
  }
  $("help-button").addEventListener("click", () => $("help").showModal());
  $("keys-on").addEventListener("change", () => {
    state.keys = $("keys-on").checked;
  });
  $("theme").addEventListener("click", () => {
    const dark =
      document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    setTheme(dark === "dark" ? "light" : "dark");
    try {
      localStorage.setItem("rrm-theme", document.documentElement.dataset.theme);
    } catch {
      /* no storage in a frame */
    }
  });
  $("skip").addEventListener("click", (event) => {
    event.preventDefault();
    (state.item ? $("item-name") : $("main")).focus();
  });
  document.addEventListener("keydown", onKey);
  addEventListener("popstate", followAddress);
  addEventListener("resize", () =>
    requestAnimationFrame(() => {
      drawRows();
      fitPrompt();
      fitNote();
    }),
  );
  // On paper everything of the item is there: what was left out of long texts, and folded parts.
  addEventListener("beforeprint", () => {
    for (const button of document.querySelectorAll("#opened .more")) button.click();
    for (const part of document.querySelectorAll("#opened details")) part.open = true;
  });
}

async function start() {
  try {
    setTheme(localStorage.getItem("rrm-theme"));
  } catch {
    /* no storage in a frame */
  }
  const remote = document.querySelector('meta[name="rrm-source"]').content === "server";
  if (!remote) await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); // paint first
  source = remote ? new Server() : new Embedded(await unpack($("data")));
  state.meta = await source.meta();
  const { meta } = state;
  $("title").textContent = flat(meta.title, 100);
  $("note").textContent = meta.note ? flat(meta.note, 1000) : "";
  fitNote();
  drawFilters();
  wire();
  await find();
  if (!(await followAddress()) && state.found.total) {
    await state.found.need(0, 1);
    await open(state.found.row(0), { at: 0, push: false });
  }
  if (!state.found.total && !state.item)
    $("message").textContent =
      "There is no judgment in this document." + (meta.note ? ` (${flat(meta.note, 300)})` : "");
  document.documentElement.dataset.ready = "yes";
}

start().catch((problem) => {
  $("message").textContent = `This page cannot show its data: ${problem.message}`;
  $("count").textContent = "";
  document.documentElement.dataset.ready = "failed";
  throw problem;
});
