
// Lines over the seconds of a run, with the time of each fault shaded. Uses what stands above.
function lines(host, unit, series) {
  const shaded = (chart) => {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.fillStyle = colour("--bad");
    ctx.globalAlpha = 0.1;
    for (const fault of report.faults) {
      const left = chart.valToPos(fault.begin_s, "x", true);
      const right = chart.valToPos(fault.end_s, "x", true);
      ctx.fillRect(left, bbox.top, Math.max(right - left, 2), bbox.height);
    }
    ctx.restore();
  };
  draw(
    host,
    {
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, (high || 1) * 1.08] } },
      axes: axes(null, unit),
      series: [{}, ...series.map(([, , stroke]) => ({ stroke, width: 1.5, points: { show: false } }))],
      hooks: { drawAxes: [shaded] },
    },
    [report.series.second, ...series.map(([, values]) => values)],
  );
  legend(host, series.map(([name, , stroke]) => [name, stroke]));
}

const shown = report.series;
lines(place("rates"), "a second", [["served", shown.served_per_s, PALETTE[0]], ["settled", shown.settled_per_s, PALETTE[2]], ["failed", shown.failed_per_s, PALETTE[6]]]);
lines(place("latency"), "milliseconds", [["p99", shown.p99_ms, PALETTE[1]]]);
lines(place("unknown"), "orders", [["unknown", shown.unknown, PALETTE[3]]]);
