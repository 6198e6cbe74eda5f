// One item on the page: its query and responses, and its traces in columns, with marks, difference and legend.
// Everything is built from text nodes (text.js); what is shown is in `state` (reader.js).

// Responses in item order: A, B, ... Z, AA, ...
const letter = (i) => (i < 26 ? "" : String.fromCharCode(64 + Math.floor(i / 26))) + String.fromCharCode(65 + (i % 26));
const tone = (i) => `r r${i % 6}`;
const named = (i) => make("b", { className: tone(i) }, letter(i));

function place(p, n) {
  if (n === 2) return p === 0 ? "first" : "second";
  return `${p + 1}${[, "st", "nd", "rd"][p % 100 >= 10 && p % 100 <= 12 ? 0 : (p % 10) + 1] || "th"} of ${n}`;
}

// --- The item -----------------------------------------------------------------------------------------------------------

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
    const what =
      missing.length > 2 ? `${missing.length} judges` : missing.map((judge) => flat(judge, 40)).join(" and ");
    $("facts").append(
      make("span", { className: "fact", title: flat(missing.join(", "), 1000) }, "no trace by ", make("bdi", {}, what)),
    );
  }
  if (state.found && state.at < 0)
    $("facts").append(make("span", { className: "fact warn" }, "not in the list as filtered"));
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
  if (!item.query.length && !item.asked.length)
    parts.push(make("p", { className: "small" }, "Nothing is known of this item but its name."));
  const n = item.responses.length;
  if (n) {
    const box = make("div", {
      className: n > 4 ? "responses many" : "responses",
      role: "group",
      "aria-label": "Responses",
    });
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
  if (item.best.includes(i))
    parts.push(make("span", { className: "badge right" }, item.best.length > 1 ? "✓ best (equal)" : "✓ best"));
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
  box.addEventListener("toggle", () => {
    if (box.open && box.children.length === 1) box.append(textBlock(text));
  });
  return box;
}

// --- Columns -----------------------------------------------------------------------------------------------------------

// Different judges in the same order first; of one judge its two orders, then its samples.
function defaults(item) {
  const judges = state.query.judges.length ? state.query.judges : state.meta.judges;
  const wanted = state.columns || (judges.length > 2 && innerWidth >= 1500 ? 3 : 2);
  const own = grouped(item.traces, (t) => t.judge);
  if (judges.length > 1) {
    const orders = [...grouped(item.traces, (t) => t.order)].map(([order, traces]) => [
      order,
      new Set(traces.map((t) => t.judge)).size,
    ]);
    const best = Math.max(...orders.map(([, n]) => n));
    const order = orders
      .filter(([, n]) => n === best)
      .map(([name]) => name)
      .sort()[0];
    const present = judges.filter((judge) => own.has(judge));
    const first = present.map((judge) => own.get(judge).find((t) => t.order === order) || own.get(judge)[0]);
    const rest = item.traces.filter((t) => present.includes(t.judge) && !first.includes(t));
    // Where every judge has a column, one that misses this item keeps it; where there are many, those that judged go first.
    if (judges.length <= wanted && !state.columns)
      return judges.map((judge) => idOf(first[present.indexOf(judge)] || { judge, order: "", sample: 0 }));
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
  const [had, tag] = [
    [...box.children].findIndex((one) => one.contains(document.activeElement)),
    document.activeElement.tagName,
  ];
  box.replaceChildren(...state.ids.map((_, i) => column(i)));
  if (had >= 0)
    (box.children[had] || box.lastElementChild).querySelector(tag === "SELECT" ? "select" : ".body").focus();
}

const STATES = new Map([
  ["unparsed", "No verdict could be read"],
  ["truncated", "Cut off before a verdict"],
  ["too_long", "Not judged: the prompt does not fit"],
  ["error", "Not judged: the call failed"],
]);

// What a trace says, in words, as nodes: in the frame of the item and in that of the judge.
function verdict(item, t) {
  if (t.state !== "read") return [STATES.get(t.state) || flat(t.state)];
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
  const pick =
    t.state !== "read" ? t.state : t.choice === "tie" ? "tie" : t.choice === null ? "in part" : letter(t.choice);
  return `${flat(t.judge, 40)} · ${flat(t.order, 16)} · sample ${t.sample} — ${pick} ${mark.slice(0, 1)}`;
}

function chooser(i) {
  const { item } = state;
  const select = make("select", { className: "choose", "aria-label": `Trace in column ${i + 1}` });
  const trace = state.shown[i];
  const own = grouped(item.traces, (t) => t.judge);
  for (const judge of new Set([...state.meta.judges, ...own.keys()])) {
    const group = make("optgroup", { label: flat(judge, 60) });
    for (const t of own.get(judge) || [])
      group.append(make("option", { value: idOf(t), selected: t === trace }, optionText(item, t)));
    const lost = !trace && state.ids[i].startsWith(judge + "|");
    if (!own.has(judge))
      group.append(make("option", { value: `${judge}||0`, selected: lost }, `${flat(judge, 40)} — no trace`));
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
  const head = make(
    "header",
    {},
    make("div", { className: "pick" }, make("kbd", { "aria-hidden": "true" }, String(i + 1)), chooser(i)),
  );
  const body = make("div", { className: "body", tabIndex: 0, role: "group", "aria-label": `Text of trace ${i + 1}` });
  box.append(head, body);
  if (!t) {
    const judge = state.ids[i].split("|").slice(0, -2).join("|");
    body.append(
      make("p", { className: "missing" }, "Judge ", make("bdi", {}, flat(judge)), " has no trace of this item."),
    );
    return box;
  }
  const [kind, word] = correctness(t);
  head.append(
    make(
      "p",
      { className: `verdict is-${kind}` },
      make("span", { className: `badge ${kind}` }, word),
      make("span", {}, ...verdict(item, t)),
    ),
  );
  const order = make("span", {}, t.shown.length > 1 && t.shown.length <= 4 ? "shown " : `order ${flat(t.order, 40)}`);
  if (t.shown.length > 1 && t.shown.length <= 4)
    t.shown.forEach((r, p) => order.append(p ? ", " : "", `${p + 1} = `, named(r)));
  const facts = [
    make("bdi", {}, flat(t.judge, 60)),
    order,
    `sample ${t.sample}`,
    `state ${flat(t.state).replace("_", " ")}`,
  ];
  facts.push(t.tokens >= 0 ? count(t.tokens, "token") : `${count(t.words, "word")}, tokens unknown`, finishText(t));
  const line = make("p", { className: "small meta" });
  for (const fact of facts) line.append(make("span", { className: "fact" }, fact));
  head.append(line);
  if (t.note) head.append(make("p", { className: "small reason", dir: "auto" }, flat(t.note, 300)));
  if (t.values) body.append(scoreTable(item, t));
  drawTrace(body, t, i);
  const lead = () => {
    state.lead = i;
  };
  for (const event of ["pointerenter", "wheel", "focusin", "touchstart"])
    body.addEventListener(event, lead, { passive: true });
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
    const score = make(
      "td",
      { className: value === best ? "number top" : "number" },
      value === null ? "not read" : String(+value.toPrecision(6)),
    );
    rows.append(make("tr", {}, name, make("td", { className: "number" }, String(t.shown.indexOf(i) + 1)), score));
  });
  table.append(rows);
  if (t.values.length <= 8) return table;
  const top = t.values.flatMap((v, i) => (v === best ? [letter(i)] : []));
  return make(
    "details",
    { className: "score-box" },
    make("summary", {}, `${t.values.length} scores, highest: ${top.join(", ")} (${+best.toPrecision(6)})`),
    table,
  );
}

const TITLES = new Map([
  ["think", "Thinking"],
  ["type", "Type"],
  ["rubric", "Rubric"],
  ["solution", "Solution"],
  ["eval", "Evaluation"],
  ["answer", "Answer"],
  ["principles", "Principles"],
  ["analysis", "Analysis"],
  ["scores", "Scores"],
]);

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
      const block = make("details", { className: `block b-${TITLES.has(name) ? name : "other"}`, open: true });
      block.append(make("summary", {}, TITLES.get(name) || flat(name, 40)));
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
      if (response !== undefined)
        ranges.push([
          start,
          end,
          `m-mention m-r${response % 6}`,
          `means response ${letter(response)}`,
          letter(response),
        ]);
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
  const terms = termsOf(state.query.q).map((term) => term.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
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
    $(name).replaceChildren(
      ...state.ids.map((_, i) => make("option", { value: i, selected: i === state.pair[j] }, String(i + 1))),
    );
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
  $("diff-state").textContent =
    x === "0" && y === "0"
      ? `${a} and ${b} have the same words`
      : `only in ${a}: ${x}, only in ${b}: ${y}, in both: ${found.same.toLocaleString("en")} words`;
}

// --- Legend and tools ------------------------------------------------------------------------------------------------------

function drawLegend() {
  const { item, meta } = state;
  const kinds = new Set(item.traces.flatMap((t) => t.marks.map((mark) => mark[2])));
  const entries = [["verdict", "m-verdict", "verdict"]];
  if (item.traces.some((t) => t.marks.some((mark) => mark[2].startsWith("mention"))))
    entries.push(["mention", "", "mentions"]);
  for (const family of meta.families)
    if (kinds.has(`pattern:${family}`))
      entries.push([`pattern:${family}`, `m-pattern p${familyNumber(family)}`, flat(family, 40)]);
  const buttons = entries.map(([kind, look, label]) => {
    const button = make("button", {
      type: "button",
      className: "chip",
      "aria-pressed": String(!state.hidden.has(kind)),
    });
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
