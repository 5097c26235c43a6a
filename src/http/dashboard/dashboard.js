// Asks the server once a second for the points that are new, and draws them.
"use strict";

const EVERY_MS = 1000;
// A point that comes later than this has a gap before it.
const GAP_MS = 3500;
const KEPT_MS = 30 * 60 * 1000;
const WINDOWS = [["30 s", 30], ["1 min", 60], ["5 min", 300], ["15 min", 900], ["30 min", 1800]];
const PATIENCE_MS = 5000;
// A server that is started anew is another one, once.
const SERVERS_MAX = 3;

const perSecond = value => compact(value) + "/s";
const milliseconds = value => value < 1 ? compact(value * 1000) + " µs"
  : value < 1000 ? compact(value) + " ms" : compact(value / 1000) + " s";

function compact(value) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(value) >= size * 0.9995) return digits(value / size) + unit;
  }
  return digits(value);
}

function digits(value) {
  const places = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return String(Number(value.toFixed(places)));
}

// Of a status: by class, and those apart that operators look for.
function colorOf(status) {
  if (status === "304") return "--teal";
  if (status === "202") return "--blue";
  if (status === "201") return "--violet";
  if (status === "429") return "--orange";
  return { 2: "--green", 4: "--amber", 5: "--red" }[status[0]] || "--grey";
}

// Lines of a logarithmic axis: one a decade.
function powersOfTen(chart, axis, low, high) {
  const powers = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high * 1.001; power++) {
    if (10 ** power >= low * 0.999) powers.push(10 ** power);
  }
  return powers;
}

// A value with nothing on either side has no line: it is drawn as a point.
function alone(chart, series) {
  const values = chart.data[series];
  return values.flatMap((value, at) => value != null && values[at - 1] == null && values[at + 1] == null ? [at] : []);
}

const isStatus = name => /^(\d{3}|other)$/.test(name);

// Series are [name, label, color]; they are drawn where the server has them, those with a fourth member
// where there was ever any of it.
const CHARTS = [
  { title: "Requests", unit: "by status", wide: true, show: perSecond, statuses: true },
  { title: "Latency", unit: "head to head, logarithmic", wide: true, show: milliseconds, logarithmic: true,
    series: [["p50", "p50", "--green"], ["p90", "p90", "--blue"], ["p99", "p99", "--amber"], ["p999", "p99.9", "--red"]] },
  { title: "Admission", unit: "of limited requests", show: perSecond,
    series: [["allowed", "allowed", "--green"], ["throttled_rate", "throttled: rate", "--orange"],
      ["throttled_inflight", "throttled: in flight", "--red"], ["throttled_unknown", "refused: unknown", "--violet", "any"],
      ["without_redis", "without Redis", "--grey", "any"]] },
  { title: "Tokens", unit: "fewest of the buckets that cores asked last", show: compact, series: [["tokens", "tokens", "--teal"]] },
  { title: "In flight", unit: "slots in use by this server", show: compact, series: [["in_flight", "in flight", "--violet"]] },
  { title: "Writes", unit: "made durable here, and applied", show: perSecond,
    series: [["queued", "queued", "--blue"], ["applied", "applied", "--green"]] },
  { title: "Lag", unit: "commands", show: compact,
    series: [["waiting", "waiting for the log", "--blue"], ["lag", "applied, not served yet", "--orange"]] },
  { title: "Connections", unit: "open", show: compact, series: [["connections", "connections", "--blue"]] },
];

const TILES = [
  ["Requests", point => perSecond(requests(point))],
  ["p50", point => shown(point.p50, milliseconds)],
  ["p99", point => shown(point.p99, milliseconds)],
  ["Throttled", point => perSecond((point.throttled_rate || 0) + (point.throttled_inflight || 0))],
  ["In flight", point => shown(point.in_flight, compact)],
  ["Queued", point => shown(point.queued, perSecond)],
  ["Applied", point => shown(point.applied, perSecond)],
  ["Todos", point => shown(point.todos, value => value.toLocaleString("en"))],
];

const shown = (value, show) => value == null ? "–" : show(value);
const requests = point => Object.keys(point).filter(isStatus).reduce((sum, name) => sum + (point[name] || 0), 0);
const element = (name, text, className) =>
  Object.assign(document.createElement(name), { textContent: text || "", className: className || "" });
const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// What has come from the server: times, whether nothing is known of them, and a column for each series.
const kept = { at: [], isGap: [], series: new Map() };
let server = null;
let servers = 0;
let shownSeconds = 300;
let isPaused = false;
let serverNow = 0;

function keep(points) {
  // Where the server's clock was set back, what was kept lies in its future; another process has its own
  // past. Either tells all of it when it is asked next.
  if (points.now < lastTime() || (server !== null && points.server !== server)) {
    servers += points.server !== server;
    server = points.server;
    kept.at = [];
    kept.isGap = [];
    kept.series.clear();
    return;
  }
  server = points.server;
  serverNow = points.now;
  for (const name of Object.keys(points.series)) {
    if (!kept.series.has(name)) kept.series.set(name, new Array(kept.at.length).fill(null));
  }
  points.at.forEach((at, nth) => {
    if (kept.at.length && at - lastTime() > GAP_MS) put(lastTime() + 1, true, () => null);
    put(at, false, name => (points.series[name] || [])[nth] ?? null);
  });
  const old = kept.at.findIndex(at => at >= serverNow - KEPT_MS);
  if (old > 0) {
    kept.at.splice(0, old);
    kept.isGap.splice(0, old);
    for (const column of kept.series.values()) column.splice(0, old);
  }
}

function put(at, isGap, valueOf) {
  kept.at.push(at);
  kept.isGap.push(isGap);
  for (const [name, column] of kept.series) column.push(valueOf(name));
}

const lastTime = () => kept.at.length ? kept.at[kept.at.length - 1] : 0;

class Chart {
  constructor(definition) {
    this.definition = definition;
    const card = element("section", "", definition.wide ? "chart wide" : "chart");
    const title = element("h2", definition.title + " ");
    title.append(element("small", definition.unit));
    this.legend = element("ul", "", "legend");
    this.plot = element("div", "", "plot");
    card.append(title, this.legend, this.plot);
    document.getElementById("charts").append(card);
    new ResizeObserver(() => this.resize()).observe(this.plot);
  }

  // Those that there is something of: statuses come as they are answered.
  series() {
    if (!this.definition.statuses) {
      return this.definition.series.filter(([name, , , any]) =>
        kept.series.has(name) && (!any || kept.series.get(name).some(value => value)));
    }
    const names = [...kept.series.keys()].filter(isStatus).sort();
    return names.map(name => [name, name, colorOf(name)]);
  }

  draw() {
    const series = this.series();
    const names = series.map(([name]) => name).join();
    if (names !== this.names) this.build(series, names);
    if (!this.chart) return;
    const first = Math.max(0, kept.at.findIndex(at => at >= serverNow - shownSeconds * 1000) - 1);
    const times = kept.at.slice(first).map(at => at / 1000);
    // No answer of a status is none of it, where anything is known at all.
    const fill = (value, nth) =>
      this.definition.statuses && !kept.isGap[first + nth] ? value ?? 0 : value;
    this.chart.setData([times, ...series.map(([name]) => kept.series.get(name).slice(first).map(fill))], false);
    const now = serverNow / 1000;
    this.chart.setScale("x", { min: now - shownSeconds, max: now });
    this.tell(this.chart.cursor.idx);
  }

  build(series, names) {
    this.names = names;
    if (this.chart) this.chart.destroy();
    this.chart = null;
    this.plot.replaceChildren();
    this.legend.replaceChildren();
    if (!series.length) {
      this.plot.append(element("p", "nothing yet"));
      return;
    }
    this.values = series.map(([, label, variable]) => {
      const item = element("li", label + " ");
      item.style.setProperty("--own", `var(${variable})`);
      const value = element("b");
      item.append(value);
      this.legend.append(item);
      return value;
    });
    const line = { stroke: color("--faint"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    const { show, logarithmic } = this.definition;
    const spread = (chart, low, high) => logarithmic
      ? uPlot.rangeLog(low ?? 0.01, high ?? 10, 10, true)
      : [0, Math.max(1, (high ?? 0) * 1.08)];
    this.chart = new uPlot({
      ...this.size(),
      legend: { show: false },
      cursor: { sync: { key: "time" }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true }, y: { distr: logarithmic ? 3 : 1, range: spread } },
      axes: [
        { ...line, space: 70, size: 26, values: "{HH}:{mm}:{ss}" },
        { ...line, size: 62, ...(logarithmic && { splits: powersOfTen }), values: (chart, splits) => splits.map(split => split == null ? "" : show(split)) },
      ],
      series: [{}, ...series.map(([, label, variable]) =>
        ({ label, stroke: color(variable), width: 1.5, points: { show: false, size: 4, filter: alone } }))],
      hooks: { setCursor: [chart => this.tell(chart.cursor.idx)] },
    }, [[], ...series.map(() => [])], this.plot);
  }

  // The values under the cursor, or else the last ones.
  tell(at) {
    const data = this.chart.data;
    this.values.forEach((value, nth) => {
      const column = data[nth + 1];
      value.textContent = shown(column[at ?? column.length - 1], this.definition.show);
    });
  }

  size() {
    return { width: Math.max(120, this.plot.clientWidth), height: this.plot.clientHeight };
  }

  resize() {
    if (this.chart) this.chart.setSize(this.size());
  }
}

const charts = CHARTS.map(definition => new Chart(definition));
const tiles = TILES.map(([title, show]) => {
  const tile = element("div");
  const value = element("dd", "–");
  tile.append(element("dt", title), value);
  document.getElementById("tiles").append(tile);
  return [value, show];
});

function draw() {
  charts.forEach(chart => chart.draw());
  if (!kept.at.length) return;
  const last = kept.at.length - 1;
  const point = Object.fromEntries([...kept.series].map(([name, column]) => [name, column[last]]));
  tiles.forEach(([value, show]) => { value.textContent = show(point); });
}

const state = document.getElementById("state");
let answeredAt = new Date();

async function ask() {
  let points;
  try {
    const answer = await fetch(`dashboard/points?after=${lastTime()}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`answers ${answer.status}`);
    points = await answer.json();
  } catch (error) {
    tell("away", `no answer since ${answeredAt.toLocaleTimeString()}: trying again`);
    return;
  }
  keep(points);
  answeredAt = new Date();
  document.getElementById("server").textContent = `${points.version} at ${location.host}`;
  tell("live", servers < SERVERS_MAX ? "live"
    : "answered by several servers in turn: ADMIN_PORT gives each a dashboard of its own");
  draw();
}

// Who has paused meanwhile is not told otherwise.
function tell(className, text) {
  if (isPaused) return;
  state.className = className;
  state.textContent = text;
}

async function follow() {
  try {
    if (!isPaused && !document.hidden) await ask();
  } finally {
    setTimeout(follow, EVERY_MS);
  }
}

const buttons = WINDOWS.map(([label, seconds]) => {
  const button = Object.assign(element("button", label), { type: "button" });
  button.addEventListener("click", () => choose(seconds));
  document.getElementById("windows").append(button);
  return [button, seconds];
});

function choose(seconds) {
  shownSeconds = seconds;
  buttons.forEach(([button, own]) => button.setAttribute("aria-pressed", own === seconds));
  draw();
}

const pause = document.getElementById("pause");
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", isPaused);
  pause.textContent = isPaused ? "Go on" : "Pause";
  state.className = "";
  state.textContent = isPaused ? "paused" : "going on";
});

// Colors are drawn, so they are drawn anew with the theme.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  charts.forEach(chart => { chart.names = null; });
  draw();
});

choose(shownSeconds);
follow();
