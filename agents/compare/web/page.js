/* What the reader has chosen, drawing the page from it, and on a live page asking for news. */

const BEST = 6,
  EVERY = 3000,
  AFTER = 20000;
const PARTS = [findings, ranking, profile, curves, firsts, table, maps, costs, runs, settings];
const TITLES = {
  findings: "Findings",
  ranking: "Ranking",
  profile: "Profile",
  curves: "Curves",
  firsts: "First reward",
  table: "Table",
  maps: "Coverage",
  costs: "Cost",
  runs: "Runs",
  settings: "Settings",
};
const SLOTS = new Map(); // colours stay with a contender while the page is open, whatever its rank becomes

function bestOf(data) {
  const labels = data.contenders.map((contender) => contender.label),
    controls = data.contenders.filter((contender) => contender.control).map((contender) => contender.label);
  return [...labels.filter((label) => !controls.includes(label)).slice(0, BEST), ...controls];
}

function take(data) {
  const counts = {
    true: [...SLOTS.values()].filter((entry) => entry.control).length,
    false: [...SLOTS.values()].filter((entry) => !entry.control).length,
  };
  for (const contender of data.contenders) {
    if (!SLOTS.has(contender.label)) SLOTS.set(contender.label, { control: contender.control, slot: counts[contender.control]++ });
    contender.slot = SLOTS.get(contender.label).slot;
  }
  return data;
}

async function copy(command) {
  const toast = document.getElementById("toast");
  let done = false;
  try {
    await navigator.clipboard.writeText(command);
    done = true;
  } catch {
    const area = h("textarea", { class: "hidden", readonly: true }, command);
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  toast.replaceChildren(h("b", {}, done ? "Copied" : "Copy this:"), h("code", {}, command));
  toast.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (toast.hidden = true), done ? 4000 : 20000);
}

function start() {
  const data = take(JSON.parse(document.getElementById("data").textContent));
  const app = {
    data,
    live: data.live || null,
    charts: [],
    state: {
      shown: new Set(data.contenders.length > BEST + 2 ? bestOf(data) : data.contenders.map((contender) => contender.label)),
      hiddenTasks: new Set(),
      what: "episode_return",
      axis: "steps",
      xscale: "linear",
      yscale: "linear",
      bands: true,
      seeds: false,
      ranking: "all",
      sort: "rank",
      reverse: false,
    },
  };
  const main = document.getElementById("main"),
    top = document.getElementById("head"),
    bar = document.getElementById("bar");
  document.body.append(h("div", { id: "toast", role: "status", hidden: true }));
  document
    .getElementById("foot")
    .append("Made by ", h("b", {}, "vime"), ". This page needs no network: keep it, send it, open it anywhere.");
  app.render = () => {
    const active = document.activeElement && document.activeElement.dataset.key,
      open = new Set([...document.querySelectorAll("details[open]")].map((node) => node.dataset.key));
    const scrolled = new Map([...document.querySelectorAll(".wide")].map((node) => [node.getAttribute("aria-label"), node.scrollLeft]));
    app.charts = [];
    light(null);
    top.replaceChildren(...head(app).flat().filter(Boolean));
    const parts = PARTS.map((part) => part(app)).filter(Boolean);
    bar.replaceChildren(
      h("nav", { "aria-label": "Parts of the page" }, ...parts.map((part) => h("a", { href: "#" + part.id }, TITLES[part.id]))),
      controls(app),
    );
    main.replaceChildren(...parts);
    for (const node of document.querySelectorAll("details")) if (app.drawn) node.open = open.has(node.dataset.key);
    app.drawn = true;
    for (const node of document.querySelectorAll(".wide")) node.scrollLeft = scrolled.get(node.getAttribute("aria-label")) || 0;
    for (const draw of app.charts) draw();
    if (active) {
      const again = document.querySelector(`[data-key="${CSS.escape(active)}"]`);
      if (again) again.focus({ preventScroll: true });
    }
  };
  app.render();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(app.resized);
    app.resized = setTimeout(() => app.charts.forEach((draw) => draw()), 120);
  });
  addEventListener("keydown", (event) => event.key === "Escape" && light(null));
  if (app.live) follow(app);
}

/* Asks the server that the page came from for news, more slowly once the study has ended, for it may grow. What the reader has chosen, opened or
   points at stays as it is. */
function follow(app) {
  let tag = null,
    failures = 0,
    news = null;
  const take_in = () => {
    const before = app.data.contenders.map((contender) => contender.label),
      all = before.every((label) => app.state.shown.has(label));
    app.data = take(news);
    app.live = news.live;
    for (const contender of news.contenders) if (all && !before.includes(contender.label)) app.state.shown.add(contender.label);
    news = null;
    app.render();
  };
  const ask = async () => {
    try {
      const answer = await fetch("data.json", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 200) {
        news = await answer.json();
        tag = answer.headers.get("ETag");
      } else if (answer.status !== 304) throw new Error(String(answer.status));
      failures = 0;
    } catch {
      failures++;
      if (failures === 2) {
        app.live = { state: "gone", text: "the server does not answer; this is the last it said" };
        app.render();
      }
    }
    if (news && !document.querySelector(".host:hover")) take_in();
    setTimeout(ask, app.live.state === "ended" ? AFTER : failures > 1 ? 3 * EVERY : EVERY);
  };
  setTimeout(ask, EVERY);
}

start();
