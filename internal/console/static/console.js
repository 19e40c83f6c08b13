// The console: one page an experiment owner keeps open. It reads /v1/overview
// every few seconds and draws what it says; it computes nothing itself.
import { el, lines, columns, bars, interval, colour, empty } from "./charts.js";

const $ = (id) => document.getElementById(id);
const percent = (v, digits = 2) => (v === null || v === undefined ? "–" : `${(100 * v).toFixed(digits)}%`);
const number = (v) => {
  if (v === null || v === undefined) return "–";
  const a = Math.abs(v);
  return a >= 1000 ? Math.round(v).toLocaleString() : a >= 10 ? v.toFixed(1) : a >= 0.1 || v === 0 ? v.toFixed(3) : v.toPrecision(3);
};
const whole = (v) => (v ?? 0).toLocaleString();
let chosen = new URLSearchParams(location.search).get("placement");

async function load() {
  let answer;
  try {
    answer = await fetch("/v1/overview", { headers: { Accept: "application/json" }, credentials: "same-origin" });
  } catch (e) {
    return fail(`The server does not answer (${e.message}). The figures below are the last ones.`);
  }
  if (answer.status === 401 || answer.status === 403) return login(answer.status);
  const body = await answer.json();
  if (!answer.ok) return fail(body.detail ?? answer.statusText);
  $("failure").hidden = true;
  $("login").hidden = true;
  $("page").hidden = false;
  draw(body);
}

function fail(text) {
  $("failure").textContent = text;
  $("failure").hidden = false;
}

function login(status) {
  $("page").hidden = document.querySelector("nav").hidden = true;
  $("login").hidden = false;
  const refused = new URLSearchParams(location.search).get("refused");
  $("login-error").textContent = status === 403 ? "This key's role may not read the console." : (refused ?? "");
}

function draw(o) {
  const ids = o.placements.map((p) => p.id);
  if (!ids.includes(chosen)) chosen = ids[0];
  const select = $("placement");
  if (select.options.length !== ids.length || [...select.options].some((x, i) => x.value !== ids[i])) {
    select.replaceChildren(...ids.map((id) => el("option", { value: id }, id)));
  }
  select.value = chosen ?? "";
  select.onchange = () => {
    chosen = select.value;
    history.replaceState(null, "", `?placement=${encodeURIComponent(chosen)}`);
    draw(o);
  };
  health(o.health);
  const p = o.placements.find((x) => x.id === chosen);
  for (const part of [document.querySelector("nav"), ...document.querySelectorAll("#page > :not(#cards)")]) part.hidden = !p;
  if (!p) {
    empty($("cards"), "No placement is defined yet. PUT /v1/placements/{id} makes the first.");
    return;
  }
  cards(p);
  value(p);
  bars($("exclusions"), p.exclusions.map((e) => ({ name: `${e.action} · ${e.reason.replaceAll("_", " ")}`, count: e.count })));
  mix(p);
  $("experiments").replaceChildren(...o.experiments.filter((e) => e.placement === p.id).map(experiment));
}

function health(h) {
  const pill = (tone, text, title) => el("span", { class: `pill ${tone}`, title }, text);
  const pills = h.dependencies.map((d) => pill(d.ok ? "good" : "bad", d.name, d.detail ?? ""));
  pills.push(pill(h.lag_messages > 5000 ? "bad" : h.lag_messages > 500 ? "warn" : "good", `lag ${whole(h.lag_messages)} messages`, "journal messages not yet in ClickHouse"));
  if (h.dead_letters > 0) pills.push(pill("bad", `${whole(h.dead_letters)} dead letters`, "journal messages that could not be decoded"));
  pills.push(pill(h.unmatched > 0 ? "warn" : "good", `${whole(h.unmatched)} unmatched rewards`, "rewards that belong to no decision"));
  const v = h.verified;
  pills.push(v ? pill(v.checked === v.identical ? "good" : "bad", `verify ${whole(v.identical)} of ${whole(v.checked)}`, `replayed ${new Date(v.time).toLocaleString()}`) : pill("", "never verified", "nextbest verify replays the log"));
  $("health").replaceChildren(...pills);
}

function cards(p) {
  const card = (label, figure, note) => el("div", { class: "card" }, el("div", { class: "label" }, label), el("div", { class: "figure" }, figure), el("div", { class: "note" }, note));
  const lift = p.lift, told = lift && lift.low !== null; // a difference without an interval says nothing
  const many = (n, one) => `${whole(n)} ${one}${n === 1 ? "" : "s"}`;
  $("cards").replaceChildren(
    card("Decisions", whole(p.decisions), `${many(p.customers, "customer")}, since ${new Date(p.from).toLocaleString()}`),
    card("Value per customer", number(p.treated?.value), p.treated?.low === null || !p.treated ? "too few mature customers" : `${number(p.treated.low)} to ${number(p.treated.high)} · ${p.objective}`),
    card("Holdout", number(p.holdout?.value), p.holdout ? `${many(p.holdout.customers, "customer")} left alone` : "no universal holdout"),
    card("Gain over holdout", told ? `${lift.value > 0 ? "+" : ""}${number(lift.value)}` : "–", told ? `${number(lift.low)} to ${number(lift.high)} per customer` : lift ? "too few mature customers" : "needs a holdout"),
    card("Do-nothing", percent(p.do_nothing, 1), `${many(p.impressions, "impression")}, ${many(p.rewards, "reward")}`));
}

function value(p) {
  $("value-unit").textContent = `${p.objective}, mature decisions only, against the universal holdout`;
  const series = [["treated", "var(--c0)"], ["holdout", "var(--grey)"]].map(([name, c]) => ({
    name, colour: c,
    points: p.value.filter((b) => b[name]?.customers >= 10).map((b) => ({ x: Date.parse(b.time), y: b[name].value, low: b[name].low ?? undefined, high: b[name].high ?? undefined, note: `${whole(b[name].customers)} customers` })),
  })).filter((s) => s.points.length > 0);
  lines($("value-chart"), series, number, "value per customer over time, treated and holdout");
}

function mix(p) {
  const totals = {};
  for (const b of p.mix) for (const [a, n] of Object.entries(b.actions)) totals[a] = (totals[a] ?? 0) + n;
  const names = Object.keys(totals).sort((a, b) => (a === "do-nothing") - (b === "do-nothing") || totals[b] - totals[a]);
  const colourOf = (n) => (n === "do-nothing" ? "var(--grey)" : colour(names.indexOf(n)));
  columns($("mix-chart"), p.mix.map((b) => ({ x: Date.parse(b.time), parts: b.actions })), names, colourOf, "share of each action over time");
}

function experiment(e) {
  const box = el("article", { class: "panel experiment" });
  box.append(el("h2", {}, e.id, el("span", { class: "state" }, e.state.replace("_", " ")), el("small", {}, e.why ?? "")));
  const s = e.evidence;
  if (!s) {
    box.append(el("p", { class: "muted" }, e.problem ?? "Not started."));
    return box;
  }
  const lifts = s.arms.map((a) => a.lift?.difference).filter((d) => d && d.low !== null);
  const reach = Math.max(1e-9, ...lifts.flatMap((d) => [Math.abs(d.low), Math.abs(d.high)])) * 1.1;
  const cell = (text, cls = "") => el("td", { class: cls }, text);
  const rows = s.arms.map((a) => {
    const d = a.lift?.difference, promised = a.promised;
    return el("tr", {},
      el("td", {}, el("b", {}, a.arm), a.control ? el("span", { class: "muted" }, " control") : ""),
      cell(a.model ? `${a.policy} · model ${a.model}` : a.policy, "muted"), cell(whole(a.customers), "n"), cell(percent(a.rate), "n"),
      cell(a.value_per_decision ? number(a.value_per_decision.value) : "–", "n"),
      cell(promised ? `${number(promised.value)} (${number(promised.low)} – ${number(promised.high)})` : "–", "n muted"),
      el("td", {}, d && d.low !== null ? interval(d.low, d.value, d.high, -reach, reach) : el("span", { class: "muted" }, a.control ? "" : "too few conversions yet")),
      cell(d && d.low !== null ? `${number(d.value)} [${number(d.low)}, ${number(d.high)}]` : "", "n"));
  });
  const head = ["arm", "policy", "customers", "converted", "live / decision", "promised offline", "lift per customer, always valid", ""];
  box.append(el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...head.map((h, i) => el("th", { class: i > 1 && i < 6 ? "n" : "" }, h)))), el("tbody", {}, ...rows))));
  for (const [arm, gates] of Object.entries(e.gates ?? {})) {
    const passed = gates.filter((g) => g.passed).length;
    box.append(el("h2", { style: "margin-top:16px" }, `Gates for ${arm}`, el("small", {}, `${passed} of ${gates.length} passed`)),
      el("ul", { class: "gates" }, ...gates.map((g) => el("li", { class: g.passed ? "pass" : "fail" },
        el("strong", {}, el("span", {}, g.name.replaceAll("_", " ")), el("span", { class: g.passed ? "good" : "bad" }, g.passed ? "passed" : "not passed")),
        el("p", {}, g.detail ?? ""), g.passed || !g.cure ? "" : el("p", { class: "bad" }, g.cure)))));
  }
  return box;
}

await load();
setInterval(() => document.visibilityState === "visible" && $("login").hidden && load(), 3000);
