// Where items come from: a document in the page, or the server of `rrm view`. One interface for both:
//   await source.meta()       { title, judges, families, sections, difficulties, benchmarks, items, note, counts }
//   await source.counts([judge])  how many items pass each filter, over the traces of these judges (of all: []); in meta
//                             it is for all
//   await source.find(query)  { sort, total, row(i) or undefined, need(from, to): promise or null }; a row's `by` is the
//                             number that it is sorted by, or null
//   await source.item(benchmark, id), source.notes (a Map), await source.keep(benchmark, id, text), source.lacks(benchmark, id)
// query: { filters: [name], judges: [name] or [], section, difficulty, benchmark (null: any), q, sort }.
// What a filter means is stated in rrmlib/viewer/filters.py; a test compares the two.

const FILTERS = [
  ["disagree", "judges disagree", "Two judges have different majorities, over all their traces or in one order", "A/B"],
  ["flipped", "flipped on swap", "A judge prefers another response when the order is exchanged (same sample, no ties)", "⇄"],
  ["wrong", "wrong", "Some trace is wrong", "✗"],
  ["majority_wrong", "majority wrong, some right", "A judge's majority is wrong, one of its traces is right", "◐"],
  ["outvoted", "most judges wrong, some right", "Most judges prefer a wrong response (each by its majority), one is right", "◔"],
  ["long_wrong", "long but wrong", "A wrong trace among the longest quarter of its judge's (half at most, where many are equal)", "↔"],
  ["unparsed", "unparsed", "Some trace holds no verdict that can be read", "∅"],
  ["truncated", "truncated", "Some trace was cut off before its verdict", "✂"],
  ["forced", "forced", "Some thinking was closed at its budget", "⏱"],
  ["too_long", "too long", "Some prompt did not fit the judge", "⤓"],
  ["error", "error", "Some call failed", "!"],
  ["noted", "with a note", "You wrote a note", "✎"],
];

const keyOf = (benchmark, id) => benchmark + "\u0000" + id;

// Words that must all occur, whatever the case; "a quoted phrase" is one.
const termsOf = (q) => [...q.matchAll(/"([^"]+)"|([^\s"]+)/g)].map((m) => m[1] || m[2]);

function majority(traces) {
  const counts = new Map();
  for (const t of traces) {
    if (t.choice !== null) counts.set(t.choice, (counts.get(t.choice) || 0) + 1);
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return !sorted.length || (sorted.length > 1 && sorted[0][1] === sorted[1][1]) ? null : sorted[0][0];
}

const lengthOf = (trace) => (trace.tokens >= 0 ? trace.tokens : trace.words);

function grouped(values, key) {
  const groups = new Map();
  for (const value of values) {
    const name = key(value);
    if (groups.has(name)) groups.get(name).push(value);
    else groups.set(name, [value]);
  }
  return groups;
}

// For each judge the length at the 75th percentile (nearest rank) of its traces; the next longer one, or none, where
// more than half of them would be long.
function longFrom(items) {
  const lengths = grouped(
    items.flatMap((item) => item.traces),
    (t) => t.judge,
  );
  return new Map(
    [...lengths].map(([judge, traces]) => {
      const sorted = traces.map(lengthOf).sort((a, b) => a - b);
      const least = sorted[Math.ceil(0.75 * sorted.length) - 1];
      if (2 * sorted.indexOf(least) >= sorted.length) return [judge, least];
      return [judge, sorted.find((length) => length > least) ?? Number.MAX_SAFE_INTEGER];
    }),
  );
}

// The names of the filters that an item passes, and what it is sorted by, over the traces of the judges chosen.
function factsOf(item, chosen, long) {
  const traces = chosen ? item.traces.filter((t) => chosen.has(t.judge)) : item.traces;
  const flags = new Set();
  const votes = []; // of the judges, each by its majority
  const within = new Map(); // by order, the different majorities of the judges in it
  for (const own of grouped(traces, (t) => t.judge).values()) {
    const most = majority(own);
    const verdicts = own.filter((t) => t.choice === most && t.right !== null);
    if (most !== null)
      votes.push({ choice: most, right: verdicts.length ? verdicts.some((t) => t.right) : null });
    for (const [order, part] of grouped(own, (t) => t.order)) {
      const best = majority(part);
      if (best !== null) within.set(order, (within.get(order) || new Set()).add(best));
    }
    const naming = own.filter((t) => Number.isInteger(t.choice));
    for (const sample of grouped(naming, (t) => t.sample).values())
      if (sample.some((t) => t.choice !== sample[0].choice)) flags.add("flipped");
    if (own.some((t) => t.right === true) && own.some((t) => t.choice === most && t.right === false))
      flags.add("majority_wrong");
  }
  within.set("", new Set(votes.map((vote) => vote.choice)));
  const distinct = Math.max(...[...within.values()].map((picks) => picks.size));
  if (distinct > 1) flags.add("disagree");
  const most = majority(votes);
  if (votes.some((vote) => vote.right) && votes.every((vote) => vote.choice !== most || vote.right === false))
    if (most !== null) flags.add("outvoted");
  let [judged, right, longest, words] = [0, 0, null, 0];
  const places = new Map(); // of each pattern
  for (const t of traces) {
    if (t.state !== "read") flags.add(t.state);
    if (t.finish === "budget") flags.add("forced");
    if (t.right !== null) judged++;
    if (t.right === true) right++;
    if (t.right === false) {
      flags.add("wrong");
      if (lengthOf(t) >= long.get(t.judge)) flags.add("long_wrong");
    }
    for (const [, , kind] of t.marks) {
      if (!kind.startsWith("pattern:")) continue;
      flags.add(kind);
      places.set(kind, (places.get(kind) || 0) + 1);
    }
    words += t.words;
    longest = Math.max(longest ?? 0, lengthOf(t));
  }
  const rate = (family) => (words ? (places.get("pattern:" + family) || 0) / words : null);
  return { flags, longest, distinct, share: judged ? right / judged : null, rate };
}

// The number that an item is sorted by; null where it has none, or the order is not one of numbers.
function numberOf(facts, sort) {
  if (sort.startsWith("rate:")) return facts.rate(sort.slice(5));
  return { longest: facts.longest, disagreement: facts.distinct, share_right: facts.share }[sort] ?? null;
}

function sorter(sort) {
  const numeric = (text) => (/^-?[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : null);
  if (sort === "difficulty")
    return (a, b) => {
      const [x, y] = [a.item.difficulty, b.item.difficulty];
      const [m, n] = [numeric(x), numeric(y)];
      if (m !== null && n !== null) return m - n;
      if ((m === null) !== (n === null)) return m === null ? 1 : -1;
      return (x === "") - (y === "") || (x < y ? -1 : +(x > y));
    };
  if (sort === "given") return null;
  return (a, b) => {
    const [x, y] = [numberOf(a.facts, sort), numberOf(b.facts, sort)];
    return (x === null) - (y === null) || (sort === "share_right" ? x - y : y - x);
  };
}

class Notes {
  // Those that came with the document, and over them what was written here ("" where one was removed): that is kept in
  // the browser's storage where there is one (a sandboxed frame has none: then until the page is closed).
  constructor(name, given) {
    this.name = "rrm-notes:" + name;
    this.map = new Map(given.map(({ benchmark, id, text }) => [keyOf(benchmark, id), text]));
    this.own = new Map();
    this.kept = true;
    try {
      for (const [key, text] of JSON.parse(localStorage.getItem(this.name) || "[]")) this.put(key, String(text));
    } catch {
      this.kept = false;
    }
  }
  put(key, text) {
    this.own.set(key, text);
    if (text) this.map.set(key, text);
    else this.map.delete(key);
  }
  set(key, text) {
    this.put(key, text);
    try {
      localStorage.setItem(this.name, JSON.stringify([...this.own]));
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }
}

class Embedded {
  constructor(data) {
    this.data = data;
    const store = new Notes(data.title, data.notes || []);
    this.store = store;
    this.notes = store.map;
    // A file may hold a part of a store: what is long there was decided by all of it.
    this.long = data.long ? new Map(Object.entries(data.long)) : longFrom(data.items);
    this.byKey = new Map(data.items.map((item) => [keyOf(item.benchmark, item.id), item]));
    this.facts = new Map();
    this.texts = data.items.map(() => null);
    this.prepare(0);
  }

  get kept() {
    return this.store.kept;
  }

  // The folded texts that are searched, a few items at a time while nobody waits.
  prepare(from) {
    const idle = window.requestIdleCallback || ((f) => setTimeout(f, 20));
    const step = () => {
      const until = performance.now() + 12;
      while (from < this.texts.length && performance.now() < until) this.folded(from++);
      if (from < this.texts.length) idle(step);
    };
    idle(step);
  }

  folded(i) {
    if (this.texts[i]) return this.texts[i];
    const item = this.data.items[i];
    const own = [...item.query, ...item.asked].map(([, text]) => text).concat(item.responses);
    const found = {
      own: own.map((text) => text.toLowerCase()).join("\0"),
      traces: item.traces.map((t) => [t.judge, t.text.toLowerCase()]),
    };
    return (this.texts[i] = found);
  }

  factsFor(judges) {
    const name = JSON.stringify(judges);
    if (!this.facts.has(name)) {
      if (this.facts.size > 8) this.facts.clear();
      const chosen = judges.length ? new Set(judges) : null;
      this.facts.set(
        name,
        this.data.items.map((item) => factsOf(item, chosen, this.long)),
      );
    }
    return this.facts.get(name);
  }

  async meta() {
    const { items, title, judges, families, note } = this.data;
    const counts = await this.counts([]);
    const values = (field) => [...new Set(items.map((item) => item[field]))];
    const [sections, benchmarks] = [values("section"), values("benchmark")];
    const difficulties = values("difficulty").sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    return { title, judges, families, note, sections, benchmarks, difficulties, items: items.length, counts };
  }

  async counts(judges) {
    const counts = {};
    for (const { flags } of this.factsFor(judges)) for (const flag of flags) counts[flag] = (counts[flag] || 0) + 1;
    return counts;
  }

  async find(query) {
    const { items } = this.data;
    const facts = this.factsFor(query.judges);
    const chosen = query.judges.length ? new Set(query.judges) : null;
    const terms = termsOf(query.q.toLowerCase());
    let found = [];
    for (let i = 0; i < items.length; i++) {
      const item = items[i];
      if (query.section !== null && item.section !== query.section) continue;
      if (query.difficulty !== null && item.difficulty !== query.difficulty) continue;
      if (query.benchmark !== null && item.benchmark !== query.benchmark) continue;
      const noted = this.notes.has(keyOf(item.benchmark, item.id));
      if (!query.filters.every((name) => (name === "noted" ? noted : facts[i].flags.has(name)))) continue;
      if (terms.length) {
        const text = this.folded(i);
        const holds = ([judge, trace], term) => (!chosen || chosen.has(judge)) && trace.includes(term);
        if (!terms.every((term) => text.own.includes(term) || text.traces.some((t) => holds(t, term)))) continue;
      }
      found.push({ item, facts: facts[i] });
    }
    const order = sorter(query.sort);
    if (order) found = found.sort(order);
    const row = (i) => {
      const { item, facts } = found[i];
      const first = item.query.findLast(([role]) => role === "user") || item.query[0] || item.asked.at(-1) || ["", ""];
      return {
        benchmark: item.benchmark,
        id: item.id,
        section: item.section,
        difficulty: item.difficulty,
        query_start: first[1].slice(0, 200),
        flags: [...facts.flags],
        by: numberOf(facts, query.sort),
        noted: this.notes.has(keyOf(item.benchmark, item.id)),
      };
    };
    return {
      sort: query.sort,
      total: found.length,
      row: (i) => (i >= 0 && i < found.length ? row(i) : undefined),
      place: (key) => found.findIndex(({ item }) => keyOf(item.benchmark, item.id) === key),
      need: () => null,
    };
  }

  async item(benchmark, id) {
    const item =
      this.byKey.get(keyOf(benchmark, id)) || (benchmark ? undefined : this.data.items.find((x) => x.id === id));
    if (!item) throw new Error(`there is no item ${flat(id)} in this document`);
    return item;
  }

  lacks(benchmark, id) {
    return !this.byKey.has(keyOf(benchmark, id));
  }

  async keep(benchmark, id, text) {
    this.store.set(keyOf(benchmark, id), text);
  }
}

// encodeURIComponent refuses lone surrogates; they go as the bytes that Python calls surrogatepass.
function percent(text) {
  const bytes = (code) => [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)];
  const lone = (c) =>
    bytes(c.charCodeAt(0))
      .map((byte) => "%" + byte.toString(16).toUpperCase())
      .join("");
  return text
    .split(/(\p{Cs})/u)
    .map((part, i) => (i % 2 ? lone(part) : encodeURIComponent(part)))
    .join("");
}

class Server {
  constructor() {
    this.token = new URLSearchParams(location.search).get("token") || "";
    this.notes = new Map();
    this.kept = true;
  }

  async ask(path, options = {}) {
    const response = await fetch(path, { ...options, headers: { "X-Token": this.token, ...options.headers } });
    const answer = await response.json().catch(() => ({ error: `the server says ${response.status}` }));
    if (!response.ok) throw new Error(flat(String(answer.error), 300));
    return answer;
  }

  async meta() {
    const meta = await this.ask("/api/meta");
    for (const { benchmark, id, text } of (await this.ask("/api/notes")).notes)
      this.notes.set(keyOf(benchmark, id), text);
    return meta;
  }

  async counts(judges) {
    return (await this.ask("/api/counts?" + judges.map((judge) => `judges=${percent(judge)}`).join("&"))).counts;
  }

  async find(query) {
    const PAGE = 100;
    const asked = Object.entries({ ...query, limit: PAGE }).filter(([, value]) => value !== null);
    const given = asked.flatMap(([name, value]) => [value].flat().map((each) => `${name}=${percent(String(each))}`));
    const pages = new Map();
    const get = (page) => {
      if (!pages.has(page)) {
        const answer = this.ask(`/api/items?${given.join("&")}&offset=${page * PAGE}`).then((found) => {
          pages.set(page, found.items);
          return found;
        });
        answer.catch(() => pages.delete(page));
        pages.set(page, answer);
      }
      return pages.get(page);
    };
    const { sort } = query;
    const { total } = await get(0);
    const row = (i) => {
      const page = pages.get(Math.floor(i / PAGE));
      return Array.isArray(page) ? page[i % PAGE] : undefined;
    };
    return {
      sort,
      total,
      row,
      place: (key) => {
        for (const [page, rows] of pages) {
          const at = Array.isArray(rows) ? rows.findIndex((r) => keyOf(r.benchmark, r.id) === key) : -1;
          if (at >= 0) return page * PAGE + at;
        }
        return -1;
      },
      need: (from, to) => {
        const waits = [];
        for (let page = Math.floor(from / PAGE); page <= Math.floor(Math.max(from, to - 1) / PAGE); page++)
          if (page * PAGE < total && !Array.isArray(pages.get(page))) waits.push(get(page));
        return waits.length ? Promise.all(waits) : null;
      },
    };
  }

  async item(benchmark, id) {
    return this.ask(`/api/item?benchmark=${percent(benchmark)}&id=${percent(id)}`);
  }

  lacks() {
    return false; // it refuses a note on what it does not have
  }

  async keep(benchmark, id, text) {
    const body = JSON.stringify({ benchmark, id, text });
    await this.ask("/api/note", { method: "PUT", body, headers: { "Content-Type": "application/json" } });
    if (text) this.notes.set(keyOf(benchmark, id), text);
    else this.notes.delete(keyOf(benchmark, id));
  }
}

// The document in the page: base64 of gzip of JSON, so that no text of it can end the element that holds it.
async function unpack(element) {
  const packed = element.textContent.trim();
  const bytes = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(packed)
    : Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  element.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(stream).text());
  if (data.version !== 1) throw new Error(`this page reads documents of version 1, not ${data.version}`);
  return data;
}
