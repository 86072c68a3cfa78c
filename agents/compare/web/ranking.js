/* Who is best: the ranking with its uncertainty, and the performance profile. */

/* A track with an interval and a dot, all in percent of its width. */
function track(scale, value, low, high, hue, zero) {
  const at = (v) => Math.min(100, Math.max(0, 100 * scale(v))) + "%";
  return h(
    "div",
    { class: "track " + hue },
    known(zero) && h("i", { class: "zero", style: { left: at(zero) } }),
    known(low) && known(high) && h("i", { class: "interval", style: { left: at(low), right: `calc(100% - ${at(high)})` } }),
    known(value) && h("i", { class: "dot", style: { left: at(value) } }),
  );
}

function rankRows(app) {
  const { data, state } = app,
    single = data.tasks.length === 1,
    task = single ? data.tasks[0].task : state.ranking;
  if (task === "all")
    return {
      over: "all",
      rows: data.ranking.contenders.map((row) => ({
        ...row,
        of: `${row.runs} runs`,
        beats: row.improvement,
        beatsLow: row.improvement_low,
        beatsHigh: row.improvement_high,
        low: row.iqm_low,
        high: row.iqm_high,
      })),
    };
  const ranks = data.ranking.by_task[task] || {};
  const rows = groupsOf(app, task).map((row) => ({
    ...row,
    ...(ranks[row.label] || { rank: null }),
    beats: row.probability_of_improvement,
    beatsLow: row.improvement_low,
    beatsHigh: row.improvement_high,
  }));
  return { over: task, rows: rows.sort((a, b) => (a.rank ?? 1e9) - (b.rank ?? 1e9)) };
}

/* Why a contender is not ranked over so many tasks. */
function lacking(row, tasks) {
  const silent = row.missing.length - row.absent.length;
  const parts = [row.absent.length && `not run on ${row.absent.length}`, silent && `no score on ${silent}`].filter(Boolean);
  return `${parts.join(" and ")} of ${tasks} tasks`;
}

function ranking(app) {
  const { data, state } = app,
    { over, rows } = rankRows(app),
    scored = rows.filter((row) => known(row.iqm));
  const several = data.tasks.length > 1,
    all = over === "all",
    ranked = Object.keys(data.ranking.by_task).length - data.ranking.tied.length;
  const picker =
    several &&
    h(
      "label",
      { class: "picker" },
      "Ranking over ",
      h(
        "select",
        {
          id: "ranking-over",
          "data-key": "ranking-over",
          onchange: (event) => {
            state.ranking = event.target.value;
            app.render();
          },
        },
        h("option", { value: "all", selected: all }, `${ranked === data.tasks.length ? "all" : ranked + " of"} ${data.tasks.length} tasks`),
        ...data.tasks.map((task) => h("option", { value: task.task, selected: over === task.task }, task.title)),
      ),
    );
  if (!scored.length) return section("ranking", "Ranking", picker, h("p", { class: "empty" }, "No run has finished with a score yet."));
  const lowest = Math.min(all ? 0 : Infinity, ...scored.map((row) => Math.min(row.iqm, row.low ?? row.iqm))),
    highest = Math.max(all ? 1 : -Infinity, ...scored.map((row) => Math.max(row.iqm, row.high ?? row.iqm)));
  const from = lowest > 0 && lowest < 0.5 * highest ? 0 : lowest,
    scale = (v) => 0.02 + (0.96 * (v - from)) / (highest - from || 1);
  const control = rows.find((row) => row.label === "none" && known(row.iqm)),
    zero = control && control.iqm;
  const marked = all && rows.some((row) => row.marked_tasks);
  const places = scored.filter((row) => row.rank !== null).length;
  const body = rows.map((row) => {
    const contender = contenderOf(app, row.label),
      strip = row.rank_distribution;
    return h(
      "tr",
      {
        "data-label": row.label,
        class: contender.control ? "control" : null,
        onpointerenter: () => light(row.label),
        onpointerleave: () => light(null),
      },
      h(
        "td",
        { class: "num rank" },
        row.rank === null ? "-" : row.rank,
        h("small", { class: "wide-only" }, known(row.rank_low) ? ` ${row.rank_low}–${row.rank_high}` : ""),
      ),
      h(
        "th",
        { scope: "row" },
        name(app, row.label),
        row.missing && row.missing.length ? h("small", {}, ` not ranked: ${lacking(row, data.tasks.length)}`) : null,
      ),
      h("td", { class: "plot" }, track(scale, row.iqm, row.low, row.high, look(contender), zero)),
      h(
        "td",
        { class: "num" },
        row.cells ? row.cells.iqm : score(row.iqm),
        h(
          "small",
          { class: "wide-only" },
          row.cells ? " " + row.cells.interval : known(row.low) ? ` ${score(row.low)} to ${score(row.high)}` : "",
        ),
      ),
      h(
        "td",
        { class: "wide-only" },
        strip
          ? h(
              "div",
              {
                class: "strip " + look(contender),
                role: "img",
                "aria-label": `rank ${row.rank_low} to ${row.rank_high}, mean ${row.rank_mean.toFixed(1)}`,
                title: strip
                  .map((part, i) => (part >= 0.005 ? `rank ${i + 1}: ${percent(part)}` : ""))
                  .filter(Boolean)
                  .join("\n"),
              },
              ...strip.map((part) => h("i", { style: { opacity: part ? 0.12 + 0.88 * Math.sqrt(part) : 0.05 } })),
            )
          : null,
      ),
      h("td", { class: "num wide-only" }, percent(row.best_probability)),
      h(
        "td",
        { class: "num wide-only" },
        known(row.beats)
          ? [row.beats.toFixed(2), h("small", {}, known(row.beatsLow) ? ` ${row.beatsLow.toFixed(2)}–${row.beatsHigh.toFixed(2)}` : "")]
          : "-",
      ),
      marked && h("td", { class: "num wide-only" }, row.marked_tasks ? `${row.solved_tasks} of ${row.marked_tasks}` : "-"),
    );
  });
  const headers = [
    ["rank", "num"],
    ["bonus"],
    [all ? "normalised score" : "return per episode", "plot"],
    ["IQM", "num"],
    [`ranks 1 to ${places} in the draws`, "wide-only"],
    ["best", "num wide-only"],
    ["beats none", "num wide-only"],
  ];
  if (marked) headers.push(["tasks solved", "num wide-only"]);
  return section(
    "ranking",
    "Ranking",
    picker,
    h(
      "table",
      { class: "ranking" },
      h("thead", {}, h("tr", {}, ...headers.map(([text, kind]) => h("th", { scope: "col", class: kind || null }, text)))),
      h("tbody", {}, ...body),
    ),
    note(
      `Dot: interquartile mean (IQM) of the final returns${all ? ", normalised task by task" : ""}; bar: its 95 % interval from ${whole(data.repetitions)} bootstrap draws${all ? ", runs resampled within each task" : ""}; line: the control. Rank: with its 95 % interval over the same draws; best: how often first. Beats none: how probably a random run ends above a random run of the control, ties half. With one seed there is nothing to draw from.`,
    ),
    all &&
      fold("scales", "What counts as 0 and as 1, and as solved", () =>
        plain(
          ["task", "0", "1", "solved from", "source"],
          data.ranking.tasks.map((task) => [
            task.task,
            score(task.low),
            score(task.high),
            known(task.solved) ? score(task.solved) : "-",
            task.source,
          ]),
          1,
        ),
      ),
  );
}

function plain(headers, rows, texts) {
  const kind = (i) => (i < texts || (i === headers.length - 1 && headers[i] === "source") ? null : "num");
  return h(
    "div",
    { class: "wide", tabindex: 0, role: "region", "aria-label": headers.join(", ") },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...headers.map((text, i) => h("th", { scope: "col", class: kind(i) }, text)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((value, i) => h("td", { class: kind(i) }, value))))),
    ),
  );
}

function profile(app) {
  const { thresholds, contenders } = app.data.ranking.profiles;
  if (!contenders.length) return null;
  const host = h("div", { class: "host" });
  app.charts.push(() =>
    lineChart(host, {
      title: "Performance profile",
      height: 320,
      xKind: "linear",
      yKind: "linear",
      bands: app.state.bands,
      seeds: false,
      range: [0, 1.02],
      xTitle: "normalised score",
      xUnit: "normalised score",
      xFormat: (v, fine) => (fine ? v.toFixed(2) : number(v)),
      yFormat: (v) => Math.round(100 * v) + " %",
      direct: false,
      series: contenders.map((line) => ({
        contender: contenderOf(app, line.label),
        shown: app.state.shown.has(line.label),
        x: thresholds,
        y: line.share,
        low: line.low,
        high: line.high,
      })),
    }),
  );
  return section(
    "profile",
    "Performance profile",
    note(
      "Which part of all runs ends above a score: higher is better, and a line wholly above another is better whatever one asks for. Bands: 95 % intervals.",
    ),
    host,
  );
}
