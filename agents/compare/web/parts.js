/* The parts of the page. Each takes the application (its data and what the reader has chosen) and returns elements. */

const QUANTITIES = {
  episode_return: ["return", "Task return per episode, bonus left out", "95 % interval"],
  bonus_mean: ["bonus", "What the bonus adds to a step", "middle half of the seeds"],
  bonus_share: ["share", "Share of the bonus in the reward", "middle half of the seeds"],
  coverage: ["coverage", "Share of the cells of the state space visited", "middle half of the seeds"],
};
const STATUS_WORDS = { finished: "finished", running: "running", failed: "failed", unfinished: "unfinished", missing: "not begun" };

const visibleTasks = (app) => app.data.tasks.filter((task) => !app.state.hiddenTasks.has(task.task));
const groupsOf = (app, task) =>
  app.data.contenders
    .map((contender) => app.data.groups.find((group) => group.task === task && group.label === contender.label))
    .filter(Boolean);
const contenderOf = (app, label) => app.data.contenders.find((contender) => contender.label === label);
const section = (id, title, ...parts) =>
  h("section", { id, "aria-labelledby": id + "-title" }, h("h2", { id: id + "-title" }, title), ...parts);
const note = (...text) => h("p", { class: "soft" }, ...text);
const fold = (key, title, build, kind) => {
  const body = h("div", {}),
    node = h("details", { class: kind || null, "data-key": key }, h("summary", {}, title), body);
  node.addEventListener("toggle", () => {
    if (node.open && !body.childNodes.length) body.append(...[build()].flat());
  });
  return node;
};
const name = (app, label) =>
  h(
    "span",
    { class: "name", "data-label": label, onpointerenter: () => light(label), onpointerleave: () => light(null) },
    sample(contenderOf(app, label)),
    label,
  );
const copyButton = (command, what) =>
  h(
    "button",
    {
      class: "copy",
      type: "button",
      title: command,
      "aria-label": "Copy the command for " + what,
      "data-command": command,
      onclick: () => copy(command),
    },
    copyIcon(),
  );
const copyIcon = () =>
  s(
    "svg",
    { viewBox: "0 0 16 16", "aria-hidden": "true" },
    s("rect", { x: 5.5, y: 5.5, width: 9, height: 9, rx: 1.5 }),
    s("path", { d: "M3.5 10.5H3A1.5 1.5 0 0 1 1.5 9V3A1.5 1.5 0 0 1 3 1.5h6A1.5 1.5 0 0 1 10.5 3v.5" }),
  );

function head({ data, live }) {
  const { counts, tasks, contenders } = data,
    seeds = new Set(data.groups.flatMap((group) => group.runs.map((run) => run.seed))).size;
  const many = (count, word, plural) => `${count.toLocaleString("en")} ${count === 1 ? word : plural || word + "s"}`;
  const bonuses = contenders.filter((contender) => !contender.control).length,
    controls = contenders.length - bonuses;
  const parts = [
    many(tasks.length, "task"),
    many(bonuses, "bonus", "bonuses"),
    many(controls, "control"),
    many(seeds, "seed"),
    many(counts.runs, "run"),
  ];
  const steps = [...new Set(tasks.map((task) => task.steps))],
    cpu = data.groups.reduce((sum, group) => sum + (group.cpu_seconds || 0) * group.finished, 0);
  if (steps.length === 1) parts.push(number(steps[0]) + " steps each");
  if (cpu)
    parts.push(
      (cpu > 7200 ? number(cpu / 3600) + " CPU hours" : cpu > 120 ? number(cpu / 60) + " CPU minutes" : number(cpu) + " CPU seconds") +
        " in all",
    );
  const pills = Object.keys(STATUS_WORDS)
    .filter((status) => counts[status])
    .map((status) => h("span", { class: "pill " + status }, `${counts[status].toLocaleString("en")} ${STATUS_WORDS[status]}`));
  const whole = counts.finished === counts.runs;
  return [
    h("p", { class: "brand" }, "vime ", h("span", {}, "study report")),
    h("h1", {}, data.title),
    h("p", { class: "facts" }, parts.join(" · ")),
    h(
      "p",
      { class: "pills" },
      whole ? h("span", { class: "pill finished" }, `all ${many(counts.runs, "run")} finished`) : pills,
      live && h("span", { class: "pill live " + live.state, id: "live", role: "status" }, live.text),
    ),
    whole
      ? null
      : h(
          "div",
          { class: "progress", role: "img", "aria-label": `${counts.finished} of ${counts.runs} runs finished` },
          ...Object.keys(STATUS_WORDS).map((status) =>
            h("span", { class: status, style: { width: (100 * (counts[status] || 0)) / counts.runs + "%" } }),
          ),
        ),
  ];
}

function controls(app) {
  const { data, state } = app,
    chips = data.contenders.map((contender) =>
      h(
        "button",
        {
          class: "chip",
          type: "button",
          "aria-pressed": String(state.shown.has(contender.label)),
          "data-label": contender.label,
          "data-key": "chip " + contender.label,
          title: contender.summary,
          onclick: () => {
            state.shown.has(contender.label) ? state.shown.delete(contender.label) : state.shown.add(contender.label);
            app.render();
          },
          onpointerenter: () => state.shown.has(contender.label) && light(contender.label),
          onpointerleave: () => light(null),
        },
        sample(contender),
        contender.label,
      ),
    );
  const set = (text, labels) =>
    h(
      "button",
      {
        class: "set",
        type: "button",
        "data-key": "set " + text,
        onclick: () => {
          state.shown = new Set(labels);
          app.render();
        },
      },
      text,
    );
  const all = data.contenders.map((contender) => contender.label);
  const tasks =
    data.tasks.length < 2
      ? null
      : h(
          "div",
          { class: "chips tasks", role: "group", "aria-label": "Tasks shown" },
          ...data.tasks.map((task) =>
            h(
              "button",
              {
                class: "chip",
                type: "button",
                "aria-pressed": String(!state.hiddenTasks.has(task.task)),
                "data-key": "task " + task.task,
                onclick: () => {
                  state.hiddenTasks.has(task.task) ? state.hiddenTasks.delete(task.task) : state.hiddenTasks.add(task.task);
                  app.render();
                },
              },
              task.title,
            ),
          ),
        );
  const on = data.tasks.length - state.hiddenTasks.size;
  const words = `Shown: ${state.shown.size} of ${all.length} bonuses and controls` + (tasks ? `, ${on} of ${data.tasks.length} tasks` : "");
  return h(
    "details",
    { class: "controls", "data-key": "controls", open: innerWidth > 760 },
    h("summary", {}, words),
    h(
      "div",
      { class: "drawer" },
      tasks,
      h(
        "div",
        { class: "chips", role: "group", "aria-label": "Bonuses shown, the best first" },
        ...chips,
        all.length > BEST + 1 && set(`best ${BEST}`, bestOf(data)),
        all.length > 2 && [set("all", all), set("none", [])],
      ),
    ),
  );
}

function choice(app, key, legend, options) {
  return h(
    "fieldset",
    { class: "choice" },
    h("legend", {}, legend),
    ...Object.entries(options).map(([value, text]) => {
      const id = `${key}-${value}`;
      return h(
        "span",
        {},
        h("input", {
          type: "radio",
          name: key,
          id,
          "data-key": id,
          checked: app.state[key] === value,
          onchange: () => {
            app.state[key] = value;
            app.render();
          },
        }),
        h("label", { for: id }, text),
      );
    }),
  );
}
function tick(app, key, text) {
  return h(
    "label",
    { class: "tickbox" },
    h("input", {
      type: "checkbox",
      id: key,
      "data-key": key,
      checked: app.state[key],
      onchange: (event) => {
        app.state[key] = event.target.checked;
        app.render();
      },
    }),
    text,
  );
}

function findings(app) {
  const { data } = app,
    [first, ...rest] = data.headline;
  return section(
    "findings",
    "What it says",
    ...data.gaps.map((text) => h("p", { class: "gap" }, text)),
    ...data.failures
      .slice(0, 50)
      .map((failure, i) =>
        fold(
          "failure " + i,
          `${failure.task}, ${failure.label}, seed ${failure.seed}: ${failure.reason}`,
          () => [h("pre", {}, failure.error), note("Its folder in the study: ", h("code", {}, failure.folder))],
          "failure",
        ),
      ),
    data.failures.length > 50 && h("p", { class: "gap" }, `${data.failures.length - 50} more failed; they stand among the runs below.`),
    pending(app),
    h("p", { class: "headline" }, first),
    rest.length > 2
      ? fold("verdicts", `Task by task (${rest.length})`, () => rest.map((text) => h("p", { class: "headline" }, text)))
      : rest.map((text) => h("p", { class: "headline" }, text)),
  );
}

/* The runs that are still to come, and how far those are that have begun. */
function pending({ data }) {
  const left = data.groups.flatMap((group) =>
    group.runs.filter((run) => run.status === "unfinished" || run.status === "missing").map((run) => ({ group, run })),
  );
  if (!left.length) return null;
  const begun = left.filter(({ run }) => run.status === "unfinished");
  const line = ({ group, run }) =>
    h(
      "li",
      {},
      `${group.label} on ${group.task}, seed ${run.seed}: ${run.status === "missing" ? "not begun" : `step ${whole(run.step || 0)} of ${whole(group.steps)}`}`,
    );
  return fold(
    "pending",
    `${left.length.toLocaleString("en")} runs are not finished: ${begun.length} begun, ${left.length - begun.length} not begun`,
    () => h("ul", {}, [...begun, ...left.filter((item) => !begun.includes(item))].map(line)),
  );
}
