// Untrusted text, shown as it is: nothing of it is ever markup, a link or an attribute that acts.
// Text becomes text nodes; characters that cannot be seen become labelled symbols; marks become spans.
// Also the word-level difference of two texts (Myers, linear space, within a budget of steps).

const make = (name, properties = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key in element && !key.startsWith("aria")) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
};

// Controls, format characters (bidi overrides, zero widths, tags), line separators and lone surrogates, in runs of one.
// Not: tab, new line, what joins letters and emoji, the number signs of Arabic (they have a shape).
const UNSEEN = /((?![\t\n\u200C\u200D\u0600-\u0605\u06DD\u070F\u08E2]|\r\n)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}])\1*/gu;
const SHORT = {
  0: "NUL",
  7: "BEL",
  8: "BS",
  0xb: "VT",
  0xc: "FF",
  0xd: "CR",
  0x1b: "ESC",
  0x7f: "DEL",
  0xad: "SHY",
  0x61c: "ALM",
  0x200b: "ZWSP",
  0x200e: "LRM",
  0x200f: "RLM",
  0x2028: "LS",
  0x2029: "PS",
  0x202a: "LRE",
  0x202b: "RLE",
  0x202c: "PDF",
  0x202d: "LRO",
  0x202e: "RLO",
  0x2060: "WJ",
  0x2066: "LRI",
  0x2067: "RLI",
  0x2068: "FSI",
  0x2069: "PDI",
  0xfeff: "BOM",
};

function symbolOf(run) {
  const code = run.codePointAt(0);
  const point = "U+" + code.toString(16).toUpperCase().padStart(4, "0");
  const times = run.length / String.fromCodePoint(code).length;
  return { name: (SHORT[code] || point) + (times > 1 ? ` ×${times}` : ""), point };
}

function plain(parent, text) {
  let at = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match.index > at) parent.append(text.slice(at, match.index));
    const { name, point } = symbolOf(match[0]);
    parent.append(make("span", { className: "unseen", title: `character ${point}, made visible` }, name));
    at = match.index + match[0].length;
  }
  if (at < text.length) parent.append(text.slice(at));
}

// The same for places that hold no elements (options, titles): short, one line, symbols in brackets.
function flat(text, limit = 160) {
  const cut = text.length > limit ? text.slice(0, edge(text, limit)) + "…" : text;
  return cut.replace(UNSEEN, (run) => `⟦${symbolOf(run).name}⟧`).replace(/\s+/g, " ");
}

// A place to cut that does not split a pair of surrogates.
function edge(text, at) {
  const code = text.charCodeAt(at);
  return at > 0 && code >= 0xdc00 && code <= 0xdfff && (text.charCodeAt(at - 1) & 0xfc00) === 0xd800 ? at - 1 : at;
}

// ranges: [start, end, class name, label, sign], sorted by start, overlapping as they like. Each piece of text between
// two borders is one span with every class that holds there; the first piece of a range also has "<class>-starts", and
// its last one carries the sign, if it has one. The parent has its direction only afterwards: one that follows its text
// looks at all that is there for every piece that is added, many seconds for a megabyte.
function marked(parent, text, from, to, ranges) {
  const { dir } = parent;
  if (dir) parent.dir = "";
  const inside = ranges.filter(([start, end]) => start < to && end > from && start < end);
  const borders = new Set([from, to]);
  for (const [start, end] of inside) borders.add(Math.max(start, from)).add(Math.min(end, to));
  const places = [...borders].sort((a, b) => a - b);
  let next = 0;
  let active = [];
  for (let i = 0; i + 1 < places.length; i++) {
    const [start, end] = [places[i], places[i + 1]];
    active = active.filter((range) => range[1] > start);
    while (next < inside.length && inside[next][0] <= start) active.push(inside[next++]);
    const piece = text.slice(start, end);
    if (!active.length) {
      plain(parent, piece);
      continue;
    }
    const classes = new Set();
    for (const range of active) {
      classes.add(range[2]);
      if (range[0] === start) classes.add(range[2].split(" ")[0] + "-starts");
    }
    const labels = [...new Set(active.map((range) => range[3]).filter(Boolean))];
    const span = make("span", { className: [...classes].join(" "), title: labels.join(" · ") || undefined });
    const sign = active.find((range) => range[4] && range[1] === end);
    if (sign) span.dataset.sign = sign[4];
    plain(span, piece);
    parent.append(span);
  }
  if (dir) parent.dir = dir;
}

// A text of any length: a long one first shows its beginning and its end (where verdicts stand), the rest on demand.
const SHOWN = 40000;
const TAIL = 6000;

function longText(parent, text, fill, limit = SHOWN) {
  if (text.length <= limit) return fill(parent, 0, text.length);
  const [head, tail] = [edge(text, limit - TAIL), edge(text, text.length - TAIL)];
  const missing = (tail - head).toLocaleString("en");
  const whole = text.length.toLocaleString("en");
  const button = make("button", { type: "button", className: "more" });
  button.append(`Show all ${whole} characters (${missing} are left out here)`);
  button.addEventListener("click", () => {
    parent.replaceChildren();
    fill(parent, 0, text.length);
    parent.closest("[tabindex]")?.focus({ preventScroll: true });
  });
  fill(parent, 0, head);
  parent.append(button);
  fill(parent, tail, text.length);
}

// --- Difference ------------------------------------------------------------------------------------------------------

const WORD = /[\p{L}\p{M}\p{N}_]+|[^\s\p{L}\p{M}\p{N}_]/gu;

function wordsOf(text, numbers) {
  const [ids, starts, ends] = [[], [], []];
  for (const match of text.matchAll(WORD)) {
    let id = numbers.get(match[0]);
    if (id === undefined) numbers.set(match[0], (id = numbers.size));
    ids.push(id);
    starts.push(match.index);
    ends.push(match.index + match[0].length);
  }
  return { ids: Int32Array.from(ids), starts, ends };
}

// { left, right, same, words }: ranges found in only one of two texts; null where the budget of steps did not suffice.
function difference(left, right, budget = 2e7) {
  const numbers = new Map();
  const [a, b] = [wordsOf(left, numbers), wordsOf(right, numbers)];
  const kept = common(a.ids, b.ids, budget);
  if (!kept) return null;
  const only = (side, keep) => {
    const ranges = [];
    for (let i = 0; i < keep.length; i++) {
      if (keep[i]) continue;
      const first = i;
      while (i + 1 < keep.length && !keep[i + 1]) i++;
      ranges.push([side.starts[first], side.ends[i]]);
    }
    return ranges;
  };
  const same = kept.a.reduce((sum, bit) => sum + bit, 0);
  return {
    left: only(a, kept.a),
    right: only(b, kept.b),
    same,
    words: [a.ids.length - same, b.ids.length - same],
  };
}

// Which entries of a and b belong to a longest common subsequence, as two arrays of 0 and 1.
function common(a, b, budget) {
  const keep = { a: new Uint8Array(a.length), b: new Uint8Array(b.length) };
  const size = a.length + b.length + 3;
  const [forward, backward] = [new Int32Array(size), new Int32Array(size)];
  const todo = [[0, a.length, 0, b.length]];
  let steps = 0;
  while (todo.length) {
    let [aLow, aHigh, bLow, bHigh] = todo.pop();
    while (aLow < aHigh && bLow < bHigh && a[aLow] === b[bLow]) keep.a[aLow++] = keep.b[bLow++] = 1;
    while (aLow < aHigh && bLow < bHigh && a[aHigh - 1] === b[bHigh - 1]) keep.a[--aHigh] = keep.b[--bHigh] = 1;
    const [n, m] = [aHigh - aLow, bHigh - bLow];
    if (!n || !m) continue;
    const middle = middleOf(n, m);
    if (!middle) return null;
    const [x, y, u, v] = middle;
    for (let i = 0; i < u - x; i++) keep.a[aLow + x + i] = keep.b[bLow + y + i] = 1;
    todo.push([aLow, aLow + x, bLow, bLow + y], [aLow + u, aHigh, bLow + v, bHigh]);

    // The middle run of equal words on a shortest path, searched from both ends: [x, y] to [u, v].
    function middleOf(n, m) {
      const [delta, half, zero] = [n - m, (n + m + 1) >> 1, (size - 1) >> 1];
      forward[zero + 1] = backward[zero + 1] = 0;
      for (let d = 0; d <= half; d++) {
        for (const back of [false, true]) {
          const [mine, other] = back ? [backward, forward] : [forward, backward];
          for (let k = -(d - 2 * Math.max(0, d - m)); k <= d - 2 * Math.max(0, d - n); k += 2) {
            const down = k === -d || (k !== d && mine[zero + k - 1] < mine[zero + k + 1]);
            let x = down ? mine[zero + k + 1] : mine[zero + k - 1] + 1;
            let y = x - k;
            const [startX, startY] = [x, y];
            if (back) while (x < n && y < m && a[aHigh - 1 - x] === b[bHigh - 1 - y]) (x++, y++);
            else while (x < n && y < m && a[aLow + x] === b[bLow + y]) (x++, y++);
            mine[zero + k] = x;
            steps += 1 + x - startX;
            const met = back ? delta % 2 === 0 && Math.abs(k - delta) <= d : delta % 2 !== 0 && Math.abs(k - delta) < d;
            if (met && x + other[zero + delta - k] >= n)
              return back ? [n - x, m - y, n - startX, m - startY] : [startX, startY, x, y];
          }
        }
        if (steps > budget) return null;
      }
      return null;
    }
  }
  return keep;
}
