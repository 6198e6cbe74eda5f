// The reader: one item at a time, its query and responses on top, two to four traces beside each other below.
// What is shown is built from text nodes only (text.js); where items come from is behind one interface (source.js).

const $ = (id) => document.getElementById(id);
const framed = window.parent !== window; // in a notebook the address is not ours
const ROW = 50;

const state = {
  query: { filters: [], judges: [], section: "", difficulty: "", benchmark: "", q: "", sort: "given" },
  meta: null, found: null, at: -1, item: null, key: null,
  pinned: null, // trace ids that the reader, or the link, chose; null: the default ones
  columns: 0, // 0: as many as there is reason for
  shown: [], // trace (or null) of each column
  ranges: [], // what the difference adds to each column
  hidden: new Set(), sync: true, diff: false, pair: [0, 1], lead: -1, opening: 0, keys: true,
};
let source;

const say = (text) => { $("said").textContent = text; };
const idOf = (trace) => `${trace.judge}|${trace.order}|${trace.sample}`;
const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

// Responses in item order: A, B, ... Z, AA, ...
const letter = (i) => (i < 26 ? "" : String.fromCharCode(64 + Math.floor(i / 26))) + String.fromCharCode(65 + (i % 26));
const tone = (i) => `r r${i % 6}`;
const named = (i) => make("b", { className: tone(i) }, letter(i));

function place(p, n) {
  if (n === 2) return p === 0 ? "first" : "second";
  return `${p + 1}${[, "st", "nd", "rd"][(p % 100 >= 10 && p % 100 <= 12) ? 0 : (p % 10) + 1] || "th"} of ${n}`;
}

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
    $("count").textContent = found.total === all ? count(all, "item") : `${found.total.toLocaleString("en")} of ${count(all, "item")}`;
    $("list").hidden = !found.total;
    $("none").hidden = !!found.total || !all;
    $("rows").style.height = found.total * ROW + "px";
    const { filters, judges, section, difficulty, benchmark } = state.query;
    const active = filters.length + [section, difficulty, benchmark].filter(Boolean).length + !!judges.length;
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
    if (row) line.append(...rowParts(row));
    else line.append("…");
    rows.push(line);
  }
  $("rows").replaceChildren(...rows);
  if (state.at >= from && state.at < to) list.setAttribute("aria-activedescendant", `row-${state.at}`);
  else list.removeAttribute("aria-activedescendant");
}

function rowParts(row) {
  const flags = make("span", { className: "flags" });
  for (const [name, label, , sign] of FILTERS) {
    if (name === "noted" ? !row.noted : !row.flags.includes(name)) continue;
    if (name === "wrong" && row.flags.includes("majority_wrong")) continue;
    const mark = make("span", { className: `flag f-${name}`, title: label });
    mark.append(make("span", { "aria-hidden": "true" }, sign), make("span", { className: "hidden" }, label));
    flags.append(mark, " ");
  }
  const place = [row.section, row.difficulty].filter(Boolean).map((text) => flat(text, 40)).join(" · ");
  const id = make("bdi", { className: "id", title: flat(row.id) }, flat(row.id, 60));
  const head = make("span", { className: "row-head" }, id, make("bdi", { className: "where" }, place), flags);
  return [head, make("bdi", { className: "start", dir: "auto" }, flat(row.query_start, 120))];
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

// --- An item -----------------------------------------------------------------------------------------------------------

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

function drawItem() {
  const { item, meta } = state;
  $("item-name").replaceChildren();
  plain($("item-name"), item.id || "(no name)");
  drawFacts();
  if (!framed) document.title = `${flat(item.id, 60)} · ${flat(meta.title, 100)}`;
  const note = source.notes.get(state.key) || "";
  $("note-text").value = note;
  $("note-state").textContent = "";
  $("note-box").hidden = !note;
  $("note-button").setAttribute("aria-expanded", String(!!note));
  drawPrompt(item);
  drawLegend();
  chooseColumns();
}

function drawFacts() {
  const { item, meta } = state;
  const facts = [item.section && `section ${item.section}`, item.difficulty && `difficulty ${item.difficulty}`];
  facts.push(item.benchmark, item.source, count(item.traces.length, "trace"));
  $("facts").replaceChildren(...facts.filter(Boolean).map((text) => make("bdi", { className: "fact" }, flat(text))));
  const missing = meta.judges.filter((judge) => !item.traces.some((t) => t.judge === judge));
  if (missing.length) {
    const what = missing.length > 2 ? `${missing.length} judges` : missing.map((judge) => flat(judge, 40)).join(" and ");
    $("facts").append(make("span", { className: "fact", title: flat(missing.join(", "), 1000) }, "no trace by ", make("bdi", {}, what)));
  }
  if (state.found && state.at < 0) $("facts").append(make("span", { className: "fact warn" }, "not in the list as filtered"));
}

function textBlock(text, label, limit) {
  const block = make("div", { className: "text", dir: "auto" });
  if (!text) block.append(make("i", { className: "small" }, "(empty)"));
  const ranges = hits(text);
  longText(block, text, (parent, from, to) => marked(parent, text, from, to, ranges), limit);
  return block;
}

function messages(pairs, title) {
  const box = make("section", { className: "query", "aria-label": title });
  box.append(make("h3", {}, title));
  for (const [role, text] of pairs) {
    if (pairs.length > 1 || role !== "user") box.append(make("bdi", { className: "role" }, flat(role, 40)));
    box.append(textBlock(text));
  }
  return box;
}

function drawPrompt(item) {
  const parts = [];
  if (item.query.length) parts.push(messages(item.query, "Query"));
  if (item.asked.length) parts.push(messages(item.asked, "The prompt as asked (the item is not known here)"));
  if (!item.query.length && !item.asked.length) parts.push(make("p", { className: "small" }, "Nothing is known of this item but its name."));
  const n = item.responses.length;
  if (n) {
    const box = make("div", { className: n > 4 ? "responses many" : "responses", role: "group", "aria-label": "Responses" });
    box.style.setProperty("--n", Math.min(n, 4));
    item.responses.forEach((text, i) => box.append(n > 4 ? folded(item, text, i) : response(item, text, i)));
    parts.push(box);
  }
  if (n && !item.best.length) parts.push(make("p", { className: "small" }, "Which response is better is not known."));
  const top = $("prompt");
  top.replaceChildren(...parts);
  top.className = n > 1 && n < 4 ? "beside" : "";
  top.tabIndex = 0;
  top.scrollTop = 0;
  fitPrompt();
}

// As high as it needs, up to a third of the window; once the reader has dragged it, as high as that.
function fitPrompt() {
  const top = $("prompt");
  if (top.style.height && top.style.height !== state.fitted) return;
  top.style.height = "auto";
  top.style.height = state.fitted = Math.min(top.scrollHeight + 2, Math.round(innerHeight * 0.34)) + "px";
}

function responseName(item, i) {
  const head = make("span", { className: "name " + tone(i) }, "Response ", make("b", {}, letter(i)));
  const parts = [head];
  if (item.best.includes(i)) parts.push(make("span", { className: "badge right" }, item.best.length > 1 ? "✓ best (equal)" : "✓ best"));
  const truth = item.truth && item.truth[i];
  const graded = item.truth && new Set(item.truth).size > 2;
  if (graded) parts.push(make("span", { className: "small" }, `quality ${truth}`));
  return parts;
}

function response(item, text, i) {
  const box = make("section", { className: `response edge${i % 6}`, "aria-label": `Response ${letter(i)}` });
  box.append(make("h3", {}, ...responseName(item, i)), textBlock(text));
  return box;
}

function folded(item, text, i) {
  const box = make("details", { className: `response edge${i % 6}` });
  const start = make("bdi", { className: "start" }, flat(text, 150));
  box.append(make("summary", {}, ...responseName(item, i), " ", start));
  box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(textBlock(text)); });
  return box;
}

// --- Columns -----------------------------------------------------------------------------------------------------------

// Different judges in the same order first; of one judge its two orders, then its samples.
function defaults(item) {
  const judges = state.query.judges.length ? state.query.judges : state.meta.judges;
  const wanted = state.columns || (judges.length > 2 && innerWidth >= 1500 ? 3 : 2);
  const own = grouped(item.traces, (t) => t.judge);
  if (judges.length > 1) {
    const orders = [...grouped(item.traces, (t) => t.order)].map(([order, traces]) => [order, new Set(traces.map((t) => t.judge)).size]);
    const best = Math.max(...orders.map(([, n]) => n));
    const order = orders.filter(([, n]) => n === best).map(([name]) => name).sort()[0];
    const present = judges.filter((judge) => own.has(judge));
    const first = present.map((judge) => own.get(judge).find((t) => t.order === order) || own.get(judge)[0]);
    const rest = item.traces.filter((t) => present.includes(t.judge) && !first.includes(t));
    // Where every judge has a column, one that misses this item keeps it; where there are many, those that judged go first.
    if (judges.length <= wanted && !state.columns) return judges.map((judge) => idOf(first[present.indexOf(judge)] || { judge, order: "", sample: 0 }));
    return [...first, ...rest].slice(0, wanted).map(idOf);
  }
  const traces = own.get(judges[0]) || [];
  const samples = [...grouped(traces, (t) => t.order).values()];
  const turn = [];
  for (let i = 0; turn.length < traces.length; i++) for (const s of samples) if (s[i]) turn.push(s[i]);
  return turn.slice(0, wanted).map(idOf);
}

// A trace id on this item: the trace; else, where orders differ between items, the same judge's nearest one; else null.
function traceFor(item, id) {
  const exact = item.traces.find((t) => idOf(t) === id);
  if (exact) return exact;
  const judge = id.split("|").slice(0, -2).join("|");
  const own = item.traces.filter((t) => t.judge === judge);
  return own.find((t) => String(t.sample) === id.split("|").at(-1)) || own[0] || null;
}

function chooseColumns() {
  const { item } = state;
  state.ids = state.pinned ? [...state.pinned] : defaults(item);
  if (state.pinned && state.columns) {
    for (const id of [...defaults(item), ...item.traces.map(idOf)])
      if (state.ids.length < state.columns && !state.ids.includes(id)) state.ids.push(id);
    state.ids.length = Math.min(state.ids.length, state.columns);
  }
  state.shown = state.ids.map((id) => traceFor(item, id));
  drawColumns();
}

function drawColumns() {
  const n = state.ids.length;
  const box = $("columns");
  box.style.setProperty("--n", Math.max(1, n));
  for (const button of $("how-many").querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(Number(button.textContent) === n));
  if (!n) return box.replaceChildren(make("p", { className: "missing" }, "This item has no trace."));
  compare();
  const [had, tag] = [[...box.children].findIndex((one) => one.contains(document.activeElement)), document.activeElement.tagName];
  box.replaceChildren(...state.ids.map((_, i) => column(i)));
  if (had >= 0) (box.children[had] || box.lastElementChild).querySelector(tag === "SELECT" ? "select" : ".body").focus();
}

const STATES = {
  unparsed: "No verdict could be read", truncated: "Cut off before a verdict",
  too_long: "Not judged: the prompt does not fit", error: "Not judged: the call failed",
};

// What a trace says, in words, as nodes: in the frame of the item and in that of the judge.
function verdict(item, t) {
  if (t.state !== "read") return [STATES[t.state] || flat(t.state)];
  if (t.choice === null) return ["No pick: some score could not be read"];
  if (t.choice === "tie") return ["Calls it a tie"];
  const strong = t.strength ? ` (strength ${t.strength})` : "";
  const where = t.shown.indexOf(t.choice);
  const shown = where < 0 ? "" : t.shown.length > 1 ? `, shown ${place(where, t.shown.length)}` : "";
  return ["Prefers ", named(t.choice), `${strong}${shown}`];
}

function correctness(t) {
  if (t.right === true) return ["right", "✓ right"];
  if (t.right === false) return ["wrong", "✗ wrong"];
  return ["open", t.state === "read" ? "? truth unknown" : "— not read"];
}

function finishText(t) {
  if (t.finish === "budget") return "forced at its budget";
  if (t.finish === "length") return "cut at the token cap";
  return t.finish ? `finish ${flat(t.finish, 30)}` : "finish unknown";
}

function optionText(item, t) {
  const [, mark] = correctness(t);
  const pick = t.state !== "read" ? t.state : t.choice === "tie" ? "tie" : t.choice === null ? "in part" : letter(t.choice);
  return `${flat(t.judge, 40)} · ${flat(t.order, 16)} · sample ${t.sample} — ${pick} ${mark.slice(0, 1)}`;
}

function chooser(i) {
  const { item } = state;
  const select = make("select", { className: "choose", "aria-label": `Trace in column ${i + 1}` });
  const trace = state.shown[i];
  const own = grouped(item.traces, (t) => t.judge);
  for (const judge of new Set([...state.meta.judges, ...own.keys()])) {
    const group = make("optgroup", { label: flat(judge, 60) });
    for (const t of own.get(judge) || []) group.append(make("option", { value: idOf(t), selected: t === trace }, optionText(item, t)));
    const lost = !trace && state.ids[i].startsWith(judge + "|");
    if (!own.has(judge)) group.append(make("option", { value: `${judge}||0`, selected: lost }, `${flat(judge, 40)} — no trace`));
    select.append(group);
  }
  select.addEventListener("change", () => {
    const ids = [...state.ids];
    ids[i] = select.value;
    state.pinned = ids;
    chooseColumns();
    address(false);
  });
  return select;
}

function column(i) {
  const { item } = state;
  const t = state.shown[i];
  const box = make("section", { className: "column", "aria-label": `Trace ${i + 1}` });
  const head = make("header", {}, make("div", { className: "pick" }, make("kbd", { "aria-hidden": "true" }, String(i + 1)), chooser(i)));
  const body = make("div", { className: "body", tabIndex: 0, role: "group", "aria-label": `Text of trace ${i + 1}` });
  box.append(head, body);
  if (!t) {
    const judge = state.ids[i].split("|").slice(0, -2).join("|");
    body.append(make("p", { className: "missing" }, "Judge ", make("bdi", {}, flat(judge)), " has no trace of this item."));
    return box;
  }
  const [kind, word] = correctness(t);
  head.append(make("p", { className: `verdict is-${kind}` }, make("span", { className: `badge ${kind}` }, word), make("span", {}, ...verdict(item, t))));
  const order = make("span", {}, t.shown.length > 1 && t.shown.length <= 4 ? "shown " : `order ${flat(t.order, 40)}`);
  if (t.shown.length > 1 && t.shown.length <= 4) t.shown.forEach((r, p) => order.append(p ? ", " : "", `${p + 1} = `, named(r)));
  const facts = [make("bdi", {}, flat(t.judge, 60)), order, `sample ${t.sample}`, `state ${flat(t.state).replace("_", " ")}`];
  facts.push(t.tokens >= 0 ? count(t.tokens, "token") : `${count(t.words, "word")}, tokens unknown`, finishText(t));
  const line = make("p", { className: "small meta" });
  for (const fact of facts) line.append(make("span", { className: "fact" }, fact));
  head.append(line);
  if (t.note) head.append(make("p", { className: "small reason", dir: "auto" }, flat(t.note, 300)));
  if (t.values) body.append(scoreTable(item, t));
  drawTrace(body, t, i);
  const lead = () => { state.lead = i; };
  for (const event of ["pointerenter", "wheel", "focusin", "touchstart"]) body.addEventListener(event, lead, { passive: true });
  body.addEventListener("scroll", () => follow(i, body), { passive: true });
  return box;
}

function scoreTable(item, t) {
  const table = make("table", { className: "scores" });
  const best = Math.max(...t.values.filter((v) => v !== null));
  const head = make("tr");
  for (const name of ["Response", "Shown", "Score"]) head.append(make("th", { scope: "col" }, name));
  table.append(make("caption", { className: "hidden" }, "Scores by response"), make("thead", {}, head));
  const rows = make("tbody");
  t.values.forEach((value, i) => {
    const name = make("th", { scope: "row" }, named(i));
    if (item.best.includes(i)) name.append(" ", make("span", { className: "small" }, "✓ best"));
    const score = make("td", { className: value === best ? "number top" : "number" }, value === null ? "not read" : String(+value.toPrecision(6)));
    rows.append(make("tr", {}, name, make("td", { className: "number" }, String(t.shown.indexOf(i) + 1)), score));
  });
  table.append(rows);
  if (t.values.length <= 8) return table;
  const top = t.values.flatMap((v, i) => (v === best ? [letter(i)] : []));
  return make("details", { className: "score-box" }, make("summary", {}, `${t.values.length} scores, highest: ${top.join(", ")} (${+best.toPrecision(6)})`), table);
}

const TITLES = {
  think: "Thinking", type: "Type", rubric: "Rubric", solution: "Solution", eval: "Evaluation", answer: "Answer",
  principles: "Principles", analysis: "Analysis", scores: "Scores",
};

function drawTrace(body, t, i) {
  if (!t.text) return body.append(make("p", { className: "missing" }, "The text is empty."));
  const ranges = rangesOf(t, i);
  const fill = (parent, from, to) => {
    let at = from;
    const piece = (start, end, into) => {
      const text = make("div", { className: "text", dir: "auto" });
      marked(text, t.text, start, end, ranges);
      into.append(text);
    };
    const between = (end) => {
      if (end <= at) return;
      if (at > from) at += t.text.slice(at, end).match(/^[\r\n]*/)[0].length; // the border of a block is a new line
      if (t.text.slice(at, end).trim()) piece(at, end, parent);
      at = end;
    };
    for (const [start, end, name] of t.blocks) {
      if (end <= at || start >= to) continue;
      between(Math.max(start, from));
      const block = make("details", { className: `block b-${TITLES[name] ? name : "other"}`, open: true });
      block.append(make("summary", {}, TITLES[name] || flat(name, 40)));
      const stop = Math.min(end, to);
      piece(at, stop, block);
      parent.append(block);
      at = stop;
    }
    between(to);
  };
  const parts = make("div", { className: "parts" });
  body.append(parts);
  longText(parts, t.text, fill);
}

const familyNumber = (family) => Math.max(0, state.meta.families.indexOf(family)) % 8;

// Everything that is marked in a trace: [start, end, class, label], sorted by start.
function rangesOf(t, i) {
  const ranges = [];
  for (const [start, end, kind] of t.marks) {
    const [name, what] = [kind.split(":")[0], kind.slice(kind.indexOf(":") + 1)];
    if (state.hidden.has(name === "pattern" ? kind : name)) continue;
    if (name === "verdict") ranges.push([start, end, "m-verdict", "verdict"]);
    else if (name === "mention") {
      const response = t.shown[Number(what)];
      if (response !== undefined) ranges.push([start, end, `m-mention m-r${response % 6}`, `means response ${letter(response)}`, letter(response)]);
    } else if (name === "pattern") ranges.push([start, end, `m-pattern p${familyNumber(what)}`, flat(what, 40)]);
  }
  for (const [start, end, name] of t.blocks) {
    const tag = t.text.slice(start, Math.min(end, start + 40)).match(/^<\w+>/);
    if (tag) ranges.push([start, start + tag[0].length, "m-tag"]);
    const close = t.text.slice(Math.max(start, end - 40), end).match(/<\/\w+>$/);
    if (close) ranges.push([end - close[0].length, end, "m-tag"]);
  }
  for (const [start, end] of state.ranges[i] || []) ranges.push([start, end, "m-diff", "only in this trace"]);
  ranges.push(...hits(t.text));
  return ranges.sort((a, b) => a[0] - b[0]);
}

// Where the words searched for stand.
function hits(text) {
  const terms = termsOf(state.query.q).map((term) => term.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  if (!terms.length) return [];
  const found = [];
  for (const match of text.matchAll(new RegExp(terms.join("|"), "giu"))) {
    found.push([match.index, match.index + match[0].length, "m-hit", "search"]);
    if (found.length > 5000) break;
  }
  return found;
}

function follow(i, body) {
  if (!state.sync || state.lead !== i) return;
  const share = body.scrollTop / Math.max(1, body.scrollHeight - body.clientHeight);
  document.querySelectorAll("#columns .body").forEach((other) => {
    if (other !== body) other.scrollTop = share * (other.scrollHeight - other.clientHeight);
  });
}

// --- Difference ----------------------------------------------------------------------------------------------------------

function compare() {
  state.ranges = [];
  $("diff").setAttribute("aria-pressed", String(state.diff));
  const n = state.ids.length;
  $("diff-pair").hidden = !state.diff || n < 3;
  $("diff-state").textContent = "";
  if (!state.diff) return;
  if (state.pair.some((i) => i >= n) || state.pair[0] === state.pair[1]) state.pair = [0, 1];
  for (const [j, name] of ["diff-a", "diff-b"].entries())
    $(name).replaceChildren(...state.ids.map((_, i) => make("option", { value: i, selected: i === state.pair[j] }, String(i + 1))));
  const [left, right] = state.pair.map((i) => state.shown[i]);
  if (!left || !right) {
    $("diff-state").textContent = "A difference needs two traces.";
    return;
  }
  const found = difference(left.text, right.text);
  const [a, b] = state.pair.map((i) => i + 1);
  if (!found) {
    const sizes = [left, right].map((t) => count(t.words, "word")).join(" and ");
    $("diff-state").textContent = `Too different to compare at this length (${sizes}): given up.`;
    return;
  }
  state.ranges[state.pair[0]] = found.left;
  state.ranges[state.pair[1]] = found.right;
  const [x, y] = found.words.map((w) => w.toLocaleString("en"));
  $("diff-state").textContent = x === "0" && y === "0" ? `${a} and ${b} have the same words` : `only in ${a}: ${x}, only in ${b}: ${y}, in both: ${found.same.toLocaleString("en")} words`;
}

// --- Legend and tools ------------------------------------------------------------------------------------------------------

function drawLegend() {
  const { item, meta } = state;
  const kinds = new Set(item.traces.flatMap((t) => t.marks.map((mark) => mark[2])));
  const entries = [["verdict", "m-verdict", "verdict"]];
  if (item.traces.some((t) => t.marks.some((mark) => mark[2].startsWith("mention")))) entries.push(["mention", "", "mentions"]);
  for (const family of meta.families)
    if (kinds.has(`pattern:${family}`)) entries.push([`pattern:${family}`, `m-pattern p${familyNumber(family)}`, flat(family, 40)]);
  const buttons = entries.map(([kind, look, label]) => {
    const button = make("button", { type: "button", className: "chip", "aria-pressed": String(!state.hidden.has(kind)) });
    const sample = make("span", { className: look }, label);
    if (kind === "mention") {
      const n = Math.min(4, Math.max(2, item.responses.length));
      for (let i = 0; i < n; i++) sample.append(" ", make("span", { className: `m-mention m-r${i}` }, letter(i)));
    }
    button.append(sample);
    button.addEventListener("click", () => {
      if (!state.hidden.delete(kind)) state.hidden.add(kind);
      button.setAttribute("aria-pressed", String(!state.hidden.has(kind)));
      drawColumns();
    });
    return button;
  });
  $("legend").replaceChildren($("legend").firstElementChild, ...buttons);
}

function setColumns(n) {
  state.columns = n;
  if (state.pinned) state.pinned = state.ids.slice(0, n);
  chooseColumns();
  address(false);
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
    const given = new Map(location.hash.slice(1).split("&").map((part) => part.split("=", 2)));
    if (!given.has("item")) return null;
    const cols = given.get("cols");
    const pinned = cols ? cols.split(",").slice(0, 4).map(decode) : null;
    return { id: decode(given.get("item")), benchmark: decode(given.get("benchmark") || "") || state.meta.benchmarks[0] || "", pinned };
  } catch {
    return null;
  }
}

async function follow_address() {
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
  try {
    const given = JSON.parse(text);
    notes = given.notes;
    const fits = (n) => n && [n.benchmark, n.id, n.text].every((part) => typeof part === "string");
    if (given.version !== 1 || !Array.isArray(notes) || !notes.every(fits)) throw new Error("no list of notes of version 1");
    for (const { benchmark, id, text } of notes) await source.keep(benchmark, id, text.trim());
  } catch (problem) {
    $("notes-state").textContent = `Not taken over: ${problem.message}`;
    return;
  }
  $("notes-state").textContent = `${count(notes.length, "note")} taken over.`;
  $("notes-json").value = notesJson();
  if (state.item) $("note-text").value = source.notes.get(state.key) || "";
  find();
}

async function showNotes() {
  await saveNote();
  $("notes-json").value = notesJson();
  $("notes-state").textContent = "";
  const where = source instanceof Server ? "Notes are kept beside the store." : source.kept ? "Notes are kept in this browser, for pages of this title." : "Nothing can be kept here (a frame, or a browser that forbids it): copy the text or save it as a file.";
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
  ["Esc", "", "clear the search, leave a note", () => {}],
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
  for (const family of meta.families) chips.push([`pattern:${family}`, flat(family, 30), `Some trace has the pattern ${flat(family, 60)}`]);
  const shown = chips.filter(([name]) => name === "noted" || !meta.counts || meta.counts[name]);
  const buttons = shown.map(([name, label, title]) => {
    const button = make("button", { type: "button", className: "chip", title, "aria-pressed": "false" }, label);
    if (meta.counts && name !== "noted") button.append(make("span", { className: "n" }, (meta.counts[name] || 0).toLocaleString("en")));
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
  for (const [name, values] of [["section", meta.sections], ["difficulty", meta.difficulties], ["benchmark", meta.benchmarks]]) {
    const options = values.filter(Boolean).map((value) => make("option", { value }, flat(value, 60)));
    $(name).replaceChildren(make("option", { value: "" }, "all"), ...options);
    $(`l-${name}`).hidden = values.length < 2;
    $(name).addEventListener("change", () => { state.query[name] = $(name).value; find(); });
  }
  $("sort").addEventListener("change", () => { state.query.sort = $("sort").value; find(); });
  $("judges").replaceChildren(...meta.judges.map((judge) => {
    const box = make("input", { type: "checkbox", checked: true, value: judge });
    box.addEventListener("change", chooseJudges);
    return make("label", {}, box, make("bdi", {}, flat(judge, 60)));
  }));
  $("judge-box").hidden = meta.judges.length < 2;
  $("judge-count").textContent = `(${meta.judges.length})`;
}

function chooseJudges() {
  const boxes = [...$("judges").querySelectorAll("input")];
  const on = boxes.filter((box) => box.checked).map((box) => box.value);
  state.query.judges = on.length === boxes.length ? [] : on;
  if (!on.length) boxes.forEach((box) => { box.checked = true; });
  $("judge-count").textContent = state.query.judges.length ? `(${on.length} of ${boxes.length})` : `(${boxes.length})`;
  find();
  if (state.item && !state.pinned) chooseColumns();
}

function clearAll() {
  Object.assign(state.query, { filters: [], judges: [], section: "", difficulty: "", benchmark: "", q: "" });
  for (const name of ["section", "difficulty", "benchmark", "q"]) $(name).value = "";
  for (const button of $("filters").querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
  for (const box of $("judges").querySelectorAll("input")) box.checked = true;
  chooseJudges();
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
    typing = setTimeout(async () => {
      state.query.q = $("q").value;
      await find();
      if (state.item) { drawPrompt(state.item); drawColumns(); }
    }, source instanceof Server ? 200 : 30);
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
  $("note-text").addEventListener("input", () => { clearTimeout(noteTimer); noteTimer = setTimeout(saveNote, 500); });
  $("note-text").addEventListener("blur", saveNote);
  $("sync").addEventListener("click", () => {
    state.sync = !state.sync;
    $("sync").setAttribute("aria-pressed", String(state.sync));
    say(state.sync ? "Columns scroll together" : "Columns scroll alone");
  });
  $("diff").addEventListener("click", () => { state.diff = !state.diff; drawColumns(); });
  for (const [i, name] of ["diff-a", "diff-b"].entries())
    $(name).addEventListener("change", () => { state.pair[i] = Number($(name).value); drawColumns(); });
  for (const n of [1, 2, 3, 4]) {
    const button = make("button", { type: "button", className: "chip", "aria-label": count(n, "column"), "aria-pressed": "false" }, String(n));
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
  $("keys-on").addEventListener("change", () => { state.keys = $("keys-on").checked; });
  $("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    setTheme(dark === "dark" ? "light" : "dark");
    try {
      localStorage.setItem("rrm-theme", document.documentElement.dataset.theme);
    } catch {
      /* no storage in a frame */
    }
  });
  $("skip").addEventListener("click", (event) => { event.preventDefault(); (state.item ? $("item-name") : $("main")).focus(); });
  document.addEventListener("keydown", onKey);
  addEventListener("popstate", follow_address);
  addEventListener("resize", () => requestAnimationFrame(() => { drawRows(); fitPrompt(); }));
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
  drawFilters();
  wire();
  await find();
  if (!(await follow_address()) && state.found.total) {
    await state.found.need(0, 1);
    await open(state.found.row(0), { at: 0, push: false });
  }
  if (!state.found.total && !state.item) $("message").textContent = "There is no judgment in this document." + (meta.note ? ` (${flat(meta.note, 300)})` : "");
  document.documentElement.dataset.ready = "yes";
}

start().catch((problem) => {
  $("message").textContent = `This page cannot show its data: ${problem.message}`;
  $("count").textContent = "";
  document.documentElement.dataset.ready = "failed";
  throw problem;
});
