"use strict";
// Draws the charts from the document that stands in the page. Nothing is fetched.
const report = JSON.parse(document.getElementById("document").textContent);
const PALETTE = ["#2563a8", "#d9772b", "#3a9a6c", "#a14fa3", "#c2a21a", "#5aa9c9", "#b3473f", "#7a6ad1", "#8a8f3c", "#c76b98", "#6b7680", "#49b0a4", "#1f3b57", "#e0a3a3", "#4d6b2f"];
const BASELINES = ["noop", "copy", "handwritten_uniform", "handwritten_hot"];
const CHART_HEIGHT = 320;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = (value) =>
  value === null ? "" : value === 0 ? "0" : value >= 10000 ? `${(value / 1000).toFixed(1)}k` : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

function axes(labels, unit) {
  const common = { stroke: () => colour("--quiet"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { stroke: () => colour("--line"), width: 1 } };
  const bottom = labels
    ? { ...common, grid: { show: false }, splits: () => labels.map((_, index) => index), values: () => labels.map((label) => label.replace("_", "\n").replaceAll("_", " ")), size: 58, gap: 6 }
    : { ...common, values: (_, ticks) => ticks.map((tick) => short(tick)) };
  return [bottom, { ...common, size: 64, values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "0" : short(tick))), label: unit, labelSize: 22 }];
}

function legend(host, entries) {
  const list = document.createElement("div");
  list.className = "legend";
  for (const [name, fill] of entries) {
    const item = document.createElement("span");
    const mark = document.createElement("i");
    mark.style.background = fill;
    item.append(mark, name);
    list.append(item);
  }
  host.append(list);
}

function draw(host, options, data) {
  const size = () => ({ width: host.clientWidth, height: CHART_HEIGHT });
  const box = document.createElement("div");
  box.className = "chart";
  host.append(box);
  const chart = new uPlot({ ...size(), legend: { show: false }, cursor: { show: false }, ...options }, data, box);
  new ResizeObserver(() => chart.setSize(size())).observe(host);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw(false, true));
}

// Writes each bar's value above it.
function valuesAbove(layers) {
  return (chart) => {
    const { ctx } = chart;
    ctx.save();
    ctx.fillStyle = colour("--ink");
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    for (const [values, offset] of layers) {
      values.forEach((value, index) => {
        if (value !== null) {
          ctx.fillText(short(value), chart.valToPos(index + offset, "x", true), chart.valToPos(value, "y", true) - 6 * devicePixelRatio);
        }
      });
    }
    ctx.restore();
  };
}

function bars(host, labels, unit, layers, { width = 0.62, above = layers } = {}) {
  const x = labels.map((_, index) => index);
  const top = Math.max(0, ...layers.flatMap((layer) => layer.values.map((value) => value ?? 0)));
  draw(
    host,
    {
      scales: { x: { time: false, range: [-0.6, labels.length - 0.4] }, y: { range: [0, (top || 1) * 1.12] } },
      axes: axes(labels, unit),
      series: [
        {},
        ...layers.map((layer) => ({
          fill: () => layer.fill(), stroke: () => layer.fill(), width: 0, points: { show: false },
          paths: uPlot.paths.bars({ size: [layer.width ?? width, 72], align: layer.align ?? 0, gap: layer.gap ?? 0 }),
        })),
      ],
      hooks: { draw: [valuesAbove(above.map((layer) => [layer.values, layer.offset ?? 0]))] },
    },
    [x, ...layers.map((layer) => layer.values)],
  );
}

function rates(host, names, runs) {
  const of = (isBaseline) => names.map((name) => (BASELINES.includes(name) === isBaseline ? runs[name].rate_per_s : null));
  const own = () => colour("--own");
  const baseline = () => colour("--baseline");
  // Plain COPY and the empty handler dwarf what does the work, so those are drawn apart.
  bars(host, names, "payments / s", [{ values: of(true), fill: baseline }, { values: of(false), fill: own }]);
  legend(host, [["baseline", "var(--baseline)"], ["Tallystick", "var(--own)"]]);
}

function latencies(host, names, runs) {
  const of = (key) => names.map((name) => runs[name][key]);
  const p50 = { values: of("p50_ms"), fill: () => PALETTE[0], width: 0.34, align: -1, offset: -0.17 };
  const p99 = { values: of("p99_ms"), fill: () => PALETTE[1], width: 0.34, align: 1, offset: 0.17 };
  bars(host, names, "milliseconds", [p50, p99]);
  legend(host, [["p50", PALETTE[0]], ["p99", PALETTE[1]]]);
}

function cpu(host, names, runs) {
  const spent = (name, role) => 1000 * (runs[name].cpu_s_per_payment[role] ?? 0);
  const roles = [...new Set(names.flatMap((name) => Object.keys(runs[name].cpu_s_per_payment)))]
    .filter((role) => names.some((name) => spent(name, role) > 0.001))
    .sort((one, other) => Math.max(...names.map((name) => spent(name, other))) - Math.max(...names.map((name) => spent(name, one))));
  const heights = roles.map((_, index) => names.map((name) => roles.slice(0, index + 1).reduce((sum, role) => sum + spent(name, role), 0)));
  // Drawn from the tallest sum down, so that each lower part covers the upper one's foot.
  const layers = roles.map((_, index) => ({ values: heights[index], fill: () => PALETTE[index % PALETTE.length] })).reverse();
  bars(host, names, "CPU ms / payment", layers, { above: layers.slice(0, 1) });
  legend(host, roles.map((role, index) => [role.replaceAll("_", " "), PALETTE[index % PALETTE.length]]));
}

function growth(host, points, slopes) {
  const last = points[points.length - 1].pss_bytes;
  const names = Object.keys(points[0].pss_bytes).sort((one, other) => (last[other] ?? 0) - (last[one] ?? 0));
  // More processes than colours: the second time round, lines are dashed.
  const dash = (index) => (index < PALETTE.length ? undefined : [6, 4]);
  const colours = new Map(names.map((name, index) => [name, PALETTE[index % PALETTE.length]]));
  const megabytes = (name) => points.map((point) => (name in point.pss_bytes ? point.pss_bytes[name] / 1e6 : null));
  draw(
    host,
    {
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, high * 1.08] } },
      axes: axes(null, "PSS, MB"),
      series: [{}, ...names.map((name, index) => ({ stroke: colours.get(name), dash: dash(index), width: 2, points: { show: true, size: 5, fill: colours.get(name) } }))],
    },
    [points.map((point) => point.orders), ...names.map(megabytes)],
  );
  const slope = (name) => (slopes[name] === null ? "" : `: ${slopes[name].toFixed(1)} B an order`);
  legend(host, names.map((name, index) => [name + slope(name) + (dash(index) ? " (dashed)" : ""), colours.get(name)]));
}

const place = (id) => document.getElementById(id);
if (report.runs) {
  const names = Object.keys(report.runs);
  const large = names.filter((name) => ["noop", "copy"].includes(name));
  rates(place("rates"), names.filter((name) => !large.includes(name)), report.runs);
  if (large.length) rates(place("rates-large"), large, report.runs);
  latencies(place("latencies"), names, report.runs);
  cpu(place("cpu"), names, report.runs);
}
if (report.growth) growth(place("growth"), report.growth.points, report.growth.slope_bytes_per_order);
