/* What is shown over time, task by task: the learning curves, and when a reward was first seen. */

function curves(app) {
  const { data, state } = app,
    tasks = visibleTasks(app),
    [, title, band] = QUANTITIES[state.what];
  const there = Object.entries(QUANTITIES).filter(([key]) => data.groups.some((group) => group.curves[key]));
  if (!there.length) return section("curves", "Curves", h("p", { class: "empty" }, "No run has a curve yet."));
  const panel = (task) => {
    const host = h("div", { class: "host" });
    app.charts.push(() => {
      const cpu = state.axis === "cpu",
        series = groupsOf(app, task.task).map((group) => {
          const curve = group.curves[state.what],
            stretch = cpu ? (group.cpu_seconds || 0) / group.steps : 1;
          const usable = curve && (stretch > 0 || !cpu);
          const seeds =
            state.what === "episode_return" && usable ? group.runs.filter((run) => run.curve).map((run) => points(run.curve, stretch)) : [];
          return {
            contender: contenderOf(app, group.label),
            shown: state.shown.has(group.label),
            seeds,
            ...(usable ? points(curve, stretch) : { x: [], y: [] }),
          };
        });
      lineChart(host, {
        title: `${title} on ${task.title}`,
        height: tasks.length === 1 ? 420 : 330,
        series,
        xKind: state.xscale,
        yKind: state.yscale,
        bands: state.bands,
        seeds: state.seeds,
        xTitle: cpu ? "CPU seconds of a run" : "environment steps",
        xUnit: cpu ? "CPU s" : "steps",
        xFormat: (v, fine) => (fine ? (cpu ? number(v, 3) : whole(v)) : number(v)),
        yFormat: state.what === "bonus_share" || state.what === "coverage" ? (v) => number(100 * v) + " %" : (v) => number(v),
        range: state.what === "bonus_share" && state.yscale === "linear" ? [0, 1.02] : null,
        xMost: cpu ? null : task.steps,
        empty: cpu ? "No CPU time to show yet, or all is switched off." : undefined,
      });
    });
    return h("figure", { class: "panel" }, h("figcaption", {}, task.title), host);
  };
  return section(
    "curves",
    "Curves",
    h(
      "div",
      { class: "options" },
      choice(app, "what", "Show", Object.fromEntries(there.map(([key, [word]]) => [key, word]))),
      choice(app, "axis", "Over", { steps: "steps", cpu: "CPU seconds" }),
      choice(app, "xscale", "Across", { linear: "linear", log: "log" }),
      choice(app, "yscale", "Upwards", { linear: "linear", log: "log" }),
      tick(app, "bands", "bands"),
      tick(app, "seeds", "single seeds"),
    ),
    note(
      `${title}: interquartile mean over the seeds; band: ${band}. `,
      state.axis === "cpu" ? "CPU time: the mean of the finished runs, spread evenly over their steps. " : "",
      state.yscale === "log" ? "Where a curve touches 0 or less, the upward axis is linear near 0." : "",
    ),
    h("div", { class: "panels" + (tasks.length === 1 ? " one" : "") }, tasks.map(panel)),
    tasks.length ? null : h("p", { class: "empty" }, "All tasks are switched off."),
  );
}

function firsts(app) {
  const tasks = visibleTasks(app).filter((task) =>
    groupsOf(app, task.task).some((group) => group.runs.some((run) => run.status === "finished" || known(run.first_reward_step))),
  );
  if (!tasks.length) return null;
  const panel = (task) => {
    const groups = groupsOf(app, task.task).filter((group) => app.state.shown.has(group.label));
    const steps = groups.flatMap((group) => group.runs.map((run) => run.first_reward_step)).filter(known),
      log = app.state.xscale === "log" && steps.length;
    const scale = scaleOf(log ? "log" : "linear", log ? Math.min(...steps) * 0.9 : 0, task.steps, 0, 92);
    const rows = groups.map((group) => {
      const found = group.runs.filter((run) => known(run.first_reward_step)),
        never = group.runs.filter((run) => run.status === "finished" && !known(run.first_reward_step)).length;
      return h(
        "tr",
        { "data-label": group.label },
        h("th", { scope: "row" }, name(app, group.label)),
        h(
          "td",
          { class: "plot" },
          h(
            "div",
            {
              class: "track seeds " + look(contenderOf(app, group.label)),
              role: "img",
              "aria-label": `${found.length} seeds found a reward, ${never} never`,
            },
            ...found.map((run) =>
              h("i", {
                class: "dot",
                style: { left: scale.at(run.first_reward_step) + "%" },
                title: `seed ${run.seed}: step ${whole(run.first_reward_step)}`,
              }),
            ),
            never ? h("b", { class: "never", title: `${never} seeds never found a reward` }, `✕ ${never}`) : null,
          ),
        ),
        h("td", { class: "num" }, group.cells.first),
      );
    });
    const ends = [log ? scale.low : 0, task.steps].map((v) => number(v));
    return h(
      "figure",
      { class: "panel" },
      h("figcaption", {}, task.title),
      h(
        "table",
        { class: "ranking firsts" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "bonus"),
            h(
              "th",
              { scope: "col", class: "plot" },
              h("span", { class: "ends" }, h("span", {}, ends[0]), h("span", {}, "steps"), h("span", {}, ends[1])),
            ),
            h("th", { scope: "col", class: "num" }, "median"),
          ),
        ),
        h("tbody", {}, rows),
      ),
    );
  };
  return section(
    "firsts",
    "First reward",
    note(
      "A dot for every seed at the step of its first reward; ✕ and a number for those that never saw one. The median counts never as infinitely late.",
    ),
    h("div", { class: "panels" + (tasks.length === 1 ? " one" : "") }, tasks.map(panel)),
  );
}
