// Small SVG charts: lines with several series, stacked columns, intervals.
const NS = "http://www.w3.org/2000/svg";

export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  set(node, attributes, children);
  return node;
}

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(NS, name);
  set(node, attributes, children);
  return node;
}

function set(node, attributes, children) {
  for (const [k, v] of Object.entries(attributes)) if (v !== undefined && v !== null) node.setAttribute(k, v);
  node.append(...children.filter((c) => c !== undefined && c !== null));
}

export const colour = (i) => `var(--c${i % 11})`;

// ticks returns about n round values that span [lo, hi].
export function ticks(lo, hi, n = 4) {
  if (!(hi > lo)) return [lo];
  const raw = (hi - lo) / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const out = [];
  for (let v = Math.ceil(lo / step) * step; v <= hi + step * 1e-9; v += step) out.push(Number(v.toPrecision(12)));
  return out;
}

export function clock(ms, spanMs) {
  const d = new Date(ms);
  return spanMs > 2 * 86400e3
    ? d.toLocaleDateString(undefined, { month: "short", day: "numeric" })
    : d.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: spanMs < 600e3 ? "2-digit" : undefined });
}

function frame(width, height, pad, x, y, format) {
  const g = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  for (const t of ticks(y.lo, y.hi)) {
    g.append(svg("line", { class: "axis", x1: pad.left, x2: width - pad.right, y1: y.at(t), y2: y.at(t) }),
      svg("text", { x: pad.left - 8, y: y.at(t) + 4, "text-anchor": "end" }, format(t)));
  }
  const steps = 5;
  for (let i = 0; i <= steps; i++) {
    const v = x.lo + ((x.hi - x.lo) * i) / steps;
    g.append(svg("text", { x: x.at(v), y: height - 6, "text-anchor": i === 0 ? "start" : i === steps ? "end" : "middle" }, clock(v, x.hi - x.lo)));
  }
  return g;
}

const scale = (lo, hi, a, b) => ({ lo, hi, at: (v) => (hi > lo ? a + ((v - lo) / (hi - lo)) * (b - a) : (a + b) / 2) });

function legend(items) {
  return el("div", { class: "legend" }, ...items.map(([name, c]) => el("span", {}, el("i", { style: `background:${c}` }), name)));
}

// lines draws series [{name, colour, points: [{x, y, low, high}]}] with bands.
export function lines(target, series, format, label) {
  const width = 760, height = 240, pad = { left: 56, right: 12, top: 10, bottom: 26 };
  const points = series.flatMap((s) => s.points);
  if (points.length === 0) return empty(target, "No mature decisions yet.");
  const x = scale(Math.min(...points.map((p) => p.x)), Math.max(...points.map((p) => p.x)), pad.left, width - pad.right);
  const top = Math.max(...points.map((p) => p.high ?? p.y), 1e-9), bottom = Math.min(0, ...points.map((p) => p.low ?? p.y));
  const y = scale(bottom, top * 1.05, height - pad.bottom, pad.top);
  const g = frame(width, height, pad, x, y, format);
  g.setAttribute("aria-label", label);
  for (const s of series) {
    const band = s.points.filter((p) => p.low !== undefined);
    if (band.length > 1) {
      const path = band.map((p, i) => `${i ? "L" : "M"}${x.at(p.x)},${y.at(p.high)}`).join("") + band.toReversed().map((p) => `L${x.at(p.x)},${y.at(p.low)}`).join("") + "Z";
      g.append(svg("path", { d: path, fill: s.colour, opacity: 0.14 }));
    }
    g.append(svg("path", { d: s.points.map((p, i) => `${i ? "L" : "M"}${x.at(p.x)},${y.at(p.y)}`).join(""), fill: "none", stroke: s.colour, "stroke-width": 2.2, "stroke-linejoin": "round" }));
    for (const p of s.points) g.append(svg("circle", { cx: x.at(p.x), cy: y.at(p.y), r: s.points.length > 40 ? 0 : 2.6, fill: s.colour }, svg("title", {}, `${s.name} ${format(p.y)} (${p.note ?? ""})`)));
  }
  target.replaceChildren(g, legend(series.map((s) => [s.name, s.colour])));
}

// columns draws stacked shares: columns [{x, parts: {name: count}}].
export function columns(target, data, names, colourOf, label) {
  const width = 1160, height = 240, pad = { left: 46, right: 8, top: 8, bottom: 26 };
  if (data.length === 0) return empty(target, "No decisions yet.");
  const x = scale(data[0].x, data.at(-1).x, pad.left, width - pad.right);
  const y = scale(0, 1, height - pad.bottom, pad.top);
  const g = frame(width, height, pad, x, y, (v) => `${Math.round(v * 100)}%`);
  g.setAttribute("aria-label", label);
  const slot = (width - pad.left - pad.right) / data.length;
  data.forEach((column, i) => {
    const total = Object.values(column.parts).reduce((a, b) => a + b, 0);
    let sum = 0;
    for (const name of names) {
      const share = (column.parts[name] ?? 0) / total;
      if (share === 0) continue;
      g.append(svg("rect", { x: pad.left + i * slot + slot * 0.08, width: slot * 0.84, y: y.at(sum + share), height: y.at(sum) - y.at(sum + share), fill: colourOf(name) },
        svg("title", {}, `${name}: ${(share * 100).toFixed(1)}% of ${total}`)));
      sum += share;
    }
  });
  target.replaceChildren(g, legend(names.map((n) => [n, colourOf(n)])));
}

// interval draws low–high with a point and a line at zero, all on one scale.
export function interval(low, value, high, lo, hi) {
  const x = scale(lo, hi, 4, 176);
  const clamp = (v) => Math.min(Math.max(v, lo), hi);
  const tone = low > 0 ? "var(--good)" : high < 0 ? "var(--bad)" : "var(--soft)";
  return svg("svg", { viewBox: "0 0 180 18", width: 180, height: 18, class: "interval", role: "img", "aria-label": `${low} to ${high}` },
    svg("line", { class: "axis", x1: x.at(0), x2: x.at(0), y1: 1, y2: 17 }),
    svg("line", { x1: x.at(clamp(low)), x2: x.at(clamp(high)), y1: 9, y2: 9, stroke: tone, "stroke-width": 3, "stroke-linecap": "round" }),
    svg("circle", { cx: x.at(clamp(value)), cy: 9, r: 4.5, fill: tone }));
}

export function bars(target, items) {
  if (items.length === 0) return empty(target, "Nothing was left out.");
  const top = Math.max(...items.map((i) => i.count));
  target.replaceChildren(el("div", { class: "bars" }, ...items.flatMap((i) => [
    el("span", { title: i.name }, i.name), el("div", { class: "bar", style: `width:${(100 * i.count) / top}%` }), el("b", {}, i.count.toLocaleString())])));
}

export function empty(target, text) {
  target.replaceChildren(el("p", { class: "muted" }, text));
}
