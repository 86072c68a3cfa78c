/* The table of all figures, the maps, the costs, the single runs, and the settings. */

const SORT = {
  rank: (row) => row.rank ?? Infinity,
  bonus: (row) => row.label,
  iqm: (row) => -(row.iqm ?? -Infinity),
  interval: (row) => -(row.low ?? -Infinity),
  found: (row) => -row.found,
  first: (row) => row.first_reward_median ?? Infinity,
  improvement: (row) => -(row.probability_of_improvement ?? -Infinity),
  difference: (row) => -(row.difference ?? -Infinity),
  auc: (row) => -(row.auc ?? -Infinity),
  cpu: (row) => row.cpu_seconds ?? Infinity,
  memory: (row) => row.peak_memory_mb ?? Infinity,
  seeds: (row) => -row.seeds,
};

function table(app) {
  const { data, state } = app,
    columns = ["bonus", ...Object.keys(data.headers).filter((key) => key !== "task" && key !== "bonus")],
    by = SORT[state.sort];
  const compare = (a, b) => {
    const [left, right] = [by(a), by(b)];
    return (left < right ? -1 : left > right ? 1 : 0) * (state.reverse ? -1 : 1);
  };
  const header = h(
    "tr",
    {},
    ...columns.map((key) =>
      h(
        "th",
        {
          scope: "col",
          class: key === "bonus" ? "first" : "num",
          "aria-sort": state.sort === key ? (state.reverse ? "descending" : "ascending") : null,
        },
        h(
          "button",
          {
            type: "button",
            "data-key": "sort " + key,
            onclick: () => {
              state.reverse = state.sort === key && !state.reverse;
              state.sort = key;
              app.render();
            },
          },
          data.headers[key],
        ),
      ),
    ),
    h("th", { scope: "col" }, "again"),
  );
  const bodies = visibleTasks(app).map((task) =>
    h(
      "tbody",
      {},
      data.tasks.length > 1 ? h("tr", {}, h("th", { class: "group", colspan: columns.length + 1, scope: "colgroup" }, task.title)) : null,
      ...groupsOf(app, task.task)
        .sort(compare)
        .map((row) =>
          h(
            "tr",
            { "data-label": row.label, class: contenderOf(app, row.label).control ? "control" : null },
            ...columns.map((key) =>
              key === "bonus" ? h("th", { scope: "row" }, name(app, row.label)) : h("td", { class: "num" }, row.cells[key]),
            ),
            h("td", {}, copyButton(row.command, `${row.label} on ${task.title}`)),
          ),
        ),
    ),
  );
  return section(
    "table",
    "Table",
    h(
      "div",
      { class: "wide", tabindex: 0, role: "region", "aria-label": "Table of all figures" },
      h("table", { class: "figures" }, h("thead", {}, header), ...bodies),
    ),
    note(
      "Return: the reward of the task itself per episode, bonus left out, as the mean over the training episodes that ended in the last tenth of the steps. IQM: mean of the middle half of the seeds, with its 95 % bootstrap interval. Above control: difference of the two IQMs on the seeds that both have, each drawn with its pair. Area under curve: mean return over all of the training. Steps count all copies of the task. The last column copies the command that makes a row again.",
    ),
  );
}

function maps(app) {
  const tasks = visibleTasks(app).filter((task) => Object.keys(task.maps).length || task.episode);
  if (!tasks.length) return null;
  const panel = (task) => {
    const shown = app.data.contenders.filter((contender) => task.maps[contender.label] && app.state.shown.has(contender.label)),
      plane = task.plane;
    const tall = plane ? plane.bins[1] / plane.bins[0] : 1,
      flat = tall < 0.2;
    return h(
      "div",
      { class: "task" + (task.episode && shown.length ? " both" : "") },
      app.data.tasks.length > 1 ? h("h3", {}, task.title) : null,
      task.episode &&
        h(
          "figure",
          { class: "episode" },
          h("img", { src: task.episode.src, alt: task.episode.caption }),
          h("figcaption", {}, task.episode.caption),
        ),
      shown.length
        ? h(
            "div",
            { class: "maps" },
            shown.map((contender) =>
              h(
                "figure",
                { "data-label": contender.label },
                h("img", {
                  src: task.maps[contender.label].src,
                  alt: `${contender.label}: where its agents went`,
                  style: { aspectRatio: flat ? "6" : "1.15" },
                }),
                h("figcaption", {}, name(app, contender.label), h("b", {}, percent(task.maps[contender.label].share))),
              ),
            ),
          )
        : null,
      shown.length
        ? note(
            `Across: ${plane.labels[0]}, ${number(plane.low[0])} to ${number(plane.high[0])}${plane.labels[1] ? `; upwards: ${plane.labels[1]}, ${number(plane.low[1])} to ${number(plane.high[1])}` : ""}.`,
          )
        : null,
    );
  };
  return section(
    "maps",
    "Where the agents went",
    note(
      "Visits to each part of the state space during training, all seeds together; brighter is more often, on a logarithmic scale that the maps of a task share; percent: cells visited at all.",
    ),
    tasks.map(panel),
  );
}

function costs(app) {
  const rows = app.data.contenders
    .map((contender) => {
      const groups = app.data.groups.filter((group) => group.label === contender.label && !app.state.hiddenTasks.has(group.task));
      const control = (task) => app.data.groups.find((group) => group.task === task && group.label === "none");
      const ratio = (key) => {
        const parts = groups
          .filter((group) => known(group[key]) && control(group.task) && known(control(group.task)[key]))
          .map((group) => Math.log(group[key] / control(group.task)[key]));
        return parts.length ? Math.exp(parts.reduce((a, b) => a + b, 0) / parts.length) : null;
      };
      const mean = (key) => {
        const parts = groups.map((group) => group[key]).filter(known);
        return parts.length ? parts.reduce((a, b) => a + b, 0) / parts.length : null;
      };
      return {
        contender,
        cpu: mean("cpu_seconds"),
        memory: mean("peak_memory_mb"),
        cpuRatio: ratio("cpu_seconds"),
        memoryRatio: ratio("peak_memory_mb"),
      };
    })
    .filter((row) => known(row.cpu) || known(row.memory))
    .sort((a, b) => (a.cpuRatio ?? a.cpu) - (b.cpuRatio ?? b.cpu));
  if (!rows.length) return null;
  const bar = (row, value, most) =>
    h(
      "td",
      { class: "plot" },
      known(value) ? h("div", { class: "bar " + look(row.contender) }, h("i", { style: { width: (100 * value) / most + "%" } })) : null,
    );
  const most = (key) => Math.max(...rows.map((row) => row[key] || 0)) || 1,
    times = (value) => (known(value) ? value.toFixed(2) + " ×" : "-");
  return section(
    "costs",
    "Cost",
    h(
      "table",
      { class: "ranking cost" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ...[
            ["bonus"],
            ["CPU seconds a run", "plot"],
            ["s", "num"],
            ["of control", "num"],
            ["peak memory", "plot wide-only"],
            ["MB", "num"],
            ["of control", "num wide-only"],
          ].map(([text, kind]) => h("th", { scope: "col", class: kind || null }, text)),
        ),
      ),
      h(
        "tbody",
        {},
        ...rows.map((row) =>
          h(
            "tr",
            { "data-label": row.contender.label, class: row.contender.control ? "control" : null },
            h("th", { scope: "row" }, name(app, row.contender.label)),
            bar(row, row.cpu, most("cpu")),
            h("td", { class: "num" }, number(row.cpu)),
            h("td", { class: "num" }, times(row.cpuRatio)),
            fill(bar(row, row.memory, most("memory")), { class: "plot wide-only" }, []),
            h("td", { class: "num" }, known(row.memory) ? whole(row.memory) : "-"),
            h("td", { class: "num wide-only" }, times(row.memoryRatio)),
          ),
        ),
      ),
    ),
    note(
      "Means of the finished runs",
      app.data.tasks.length > 1 ? ", over the tasks shown; against the control: geometric mean over the tasks." : ".",
      " CPU seconds count all threads of a run; other work on the same machine slows them too.",
    ),
  );
}

function runs(app) {
  const build = () => {
    const head = [
      "bonus",
      "seed",
      "status",
      "final return",
      "evaluation",
      "first reward",
      "area",
      "episodes",
      "CPU s",
      "memory MB",
      "resumed",
      "again",
    ];
    const bodies = visibleTasks(app).map((task) =>
      h(
        "tbody",
        {},
        h("tr", {}, h("th", { class: "group", colspan: head.length, scope: "colgroup" }, task.title)),
        ...groupsOf(app, task.task).flatMap((group) =>
          group.runs.map((run) =>
            h(
              "tr",
              {},
              h("td", {}, group.label),
              h("td", { class: "num" }, run.seed),
              h(
                "td",
                { class: run.status },
                STATUS_WORDS[run.status] + (run.status !== "finished" && known(run.step) ? ` at step ${whole(run.step)}` : ""),
              ),
              h("td", { class: "num" }, score(run.final_return)),
              h("td", { class: "num" }, score(run.evaluation_return)),
              h(
                "td",
                { class: "num" },
                known(run.first_reward_step) ? whole(run.first_reward_step) : run.status === "finished" ? "never" : "-",
              ),
              h("td", { class: "num" }, score(run.area)),
              h("td", { class: "num" }, whole(run.episodes)),
              h("td", { class: "num" }, number(run.cpu_seconds)),
              h("td", { class: "num" }, whole(run.peak_memory_mb)),
              h(
                "td",
                { class: "num" },
                known(run.resumed) ? (run.resumed && run.exact_resume === false ? `${run.resumed}, not exactly` : run.resumed) : "-",
              ),
              h("td", {}, copyButton(run.command, `${group.label}, seed ${run.seed}`)),
            ),
          ),
        ),
      ),
    );
    return [
      h(
        "div",
        { class: "wide", tabindex: 0, role: "region", "aria-label": "All runs" },
        h(
          "table",
          { class: "figures" },
          h("thead", {}, h("tr", {}, ...head.map((text, i) => h("th", { scope: "col", class: i === 0 || i === 2 ? null : "num" }, text)))),
          ...bodies,
        ),
      ),
      note(
        "Evaluation: the policy without its exploration noise, on fresh episodes. Resumed: how often the run was taken up again after a stop. The same figures stand in scores.csv.",
      ),
    ];
  };
  return section(
    "runs",
    "Runs",
    fold("runs", `Every run, with the command that makes it again (${app.data.counts.runs.toLocaleString("en")})`, build),
  );
}

function settings({ data }) {
  const json = (value) => h("pre", { tabindex: 0 }, JSON.stringify(value, null, 2));
  return section(
    "settings",
    "Settings and versions",
    data.command && h("p", {}, "Run the study again, or go on with it:"),
    data.command && h("div", { class: "command" }, h("code", {}, data.command), copyButton(data.command, "the study")),
    data.versions.length > 1 && h("p", { class: "gap" }, "The runs were made with different versions or on different machines."),
    fold("settings", "All settings of the study", () => json(data.settings)),
    ...data.versions.map((group, i) =>
      fold("versions " + i, `Versions and machine of ${group.runs.toLocaleString("en")} runs`, () => json(group.versions)),
    ),
  );
}
