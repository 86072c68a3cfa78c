"use strict";
/* Elements, numbers, scales, and one chart of lines with bands. Text goes into the page as text, never as HTML. */

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

function number(value, digits = 3) {
  if (!known(value)) return "-";
  const size = Math.abs(value);
  if (size >= 1e6) return +(value / 1e6).toPrecision(digits) + "M";
  if (size >= 1e4) return +(value / 1e3).toPrecision(digits) + "k";
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(+value.toPrecision(digits));
}
const score = (value) =>
  !known(value)
    ? "-"
    : Math.abs(value) < 10
      ? value.toFixed(2).replace(/^-(0\.00)$/, "$1")
      : value.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percent = (value) =>
  !known(value) ? "-" : value > 0 && value < 0.01 ? "<1 %" : value < 1 && value > 0.99 ? ">99 %" : Math.round(100 * value) + " %";
const whole = (value) => (known(value) ? Math.round(value).toLocaleString("en") : "-");

/* A scale takes values to pixels: linear, log (positive values), or symlog (log on both sides of a linear middle). */
function scaleOf(kind, low, high, from, to) {
  const tiny = Math.max(Math.abs(low), Math.abs(high)) / 200 || 1;
  const warp = kind === "log" ? Math.log10 : kind === "symlog" ? (v) => Math.sign(v) * Math.log10(1 + Math.abs(v) / tiny) : (v) => v;
  const back = kind === "log" ? (v) => 10 ** v : kind === "symlog" ? (v) => Math.sign(v) * tiny * (10 ** Math.abs(v) - 1) : (v) => v;
  const a = warp(low),
    b = warp(high),
    span = b - a || 1;
  return {
    low,
    high,
    from,
    to,
    at: (v) => from + ((warp(v) - a) / span) * (to - from),
    value: (pixel) => back(a + ((pixel - from) / (to - from)) * span),
    ticks: (room) => (kind === "linear" ? linearTicks(low, high, room) : logTicks(kind, low, high, tiny, room)),
  };
}
function linearTicks(low, high, room) {
  const rough = (high - low) / Math.max(1, room) || 1,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((m) => m * power >= rough * 0.999) * power,
    ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(+(i * step).toPrecision(12));
  return ticks;
}
function logTicks(kind, low, high, tiny, room) {
  const ticks = kind === "symlog" && low <= 0 && high >= 0 ? [0] : [];
  const least = kind === "symlog" ? tiny * 2 : low,
    most = Math.max(Math.abs(low), Math.abs(high));
  const decades = Math.log10(most / least),
    steps = decades * 3 <= room ? [1, 2, 5] : decades <= room ? [1] : null;
  const skip = steps ? 1 : Math.ceil(decades / room);
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power += skip) {
    for (const m of steps || [1]) {
      const tick = +(m * 10 ** power).toPrecision(12);
      if (tick < least * 0.999) continue;
      if (tick >= low && tick <= high) ticks.push(tick);
      if (kind === "symlog" && -tick >= low && -tick <= high) ticks.push(-tick);
    }
  }
  return ticks.sort((a, b) => a - b);
}

/* A thinned curve as points; `stretch` takes its steps to what the axis shows. */
function points(curve, stretch = 1) {
  const n = curve.middle.length,
    step = n > 1 ? (curve.to - curve.from) / (n - 1) : 0;
  return { x: curve.middle.map((_, i) => (curve.from + i * step) * stretch), y: curve.middle, low: curve.low, high: curve.high };
}
function heightAt(line, x) {
  const n = line.x.length;
  if (!n || x < line.x[0] - 1e-9 || x > line.x[n - 1] + 1e-9) return null;
  let i = 1;
  while (i < n - 1 && line.x[i] < x) i++;
  if (n === 1) return { y: line.y[0], low: line.low && line.low[0], high: line.high && line.high[0] };
  const part = Math.min(1, Math.max(0, (x - line.x[i - 1]) / (line.x[i] - line.x[i - 1] || 1)));
  const mix = (values) => values && values[i - 1] + part * (values[i] - values[i - 1]);
  return { y: mix(line.y), low: mix(line.low), high: mix(line.high) };
}
function path(xs, ys, x, y, join = "M") {
  let text = "";
  for (let i = 0; i < xs.length; i++) text += (i ? "L" : join) + x.at(xs[i]).toFixed(1) + " " + y.at(ys[i]).toFixed(1);
  return xs.length === 1 && join === "M" ? text + "m-4 0h8" : text; // one point alone would draw nothing
}

/* The look of a contender: hue and dashes by its place, the same everywhere. */
const look = (contender) =>
  contender.control ? `hue-control dash${contender.slot % 4}` : `hue${contender.slot % 8} dash${Math.floor(contender.slot / 8) % 4}`;
const sample = (contender) =>
  s("svg", { class: "sample " + look(contender), viewBox: "0 0 26 10", "aria-hidden": "true" }, s("path", { class: "line", d: "M1 5H25" }));

let charts = 0;

/* Draws lines with bands into `host`. `spec`: title, series (contender, x, y, low, high, seeds, shown), kinds and words
   of both axes, height, bands, seeds, and `range` of the y axis where it is given. Pointer and arrow keys read values. */
function lineChart(host, spec) {
  host.replaceChildren();
  const shown = spec.series.filter((line) => line.shown && line.x.length);
  if (!shown.length) {
    const there = spec.series.some((line) => line.x.length);
    const why = there ? "Nothing to show: all that has such a curve is switched off." : "No run has such a curve yet.";
    host.append(h("p", { class: "empty" }, spec.empty || why));
    return;
  }
  const width = Math.max(260, host.clientWidth),
    height = spec.height,
    narrow = width < 480;
  const names = Math.max(...shown.map((line) => line.contender.label.length));
  const room = { left: 50, right: spec.direct === false ? 14 : Math.min(narrow ? 92 : 150, 16 + names * 7.3), top: 10, bottom: 40 };
  const xs = shown.flatMap((line) => [line.x[0], line.x[line.x.length - 1]]).filter((v) => spec.xKind !== "log" || v > 0);
  const extent = [spec.xKind === "log" ? Math.min(...xs) : Math.min(0, ...xs), Math.max(spec.xMost || -Infinity, ...xs)];
  const ys = shown.flatMap((line) => [...line.y, ...(spec.bands && line.low ? [...line.low, ...line.high] : [])]);
  let [low, high] = spec.range || [Math.min(...ys), Math.max(...ys)];
  if (!spec.range) {
    if (low >= 0 && low < 0.4 * high) low = 0;
    if (Math.max(Math.abs(low), Math.abs(high)) < 1e-12) high = 1;
    const pad = 0.04 * (high - low || Math.abs(high) || 1);
    [low, high] = [low === 0 && spec.floor !== false ? 0 : low - pad, high + pad];
  }
  let yKind = spec.yKind;
  if (yKind === "log") {
    const positive = ys.filter((v) => v > 0);
    if (ys.some((v) => v <= 0) || !positive.length) yKind = "symlog";
    else [low, high] = [Math.min(...positive) * 0.9, Math.max(...positive) * 1.1];
  }
  const x = scaleOf(spec.xKind, extent[0], extent[1], room.left, width - room.right);
  const y = scaleOf(yKind, low, high, height - room.bottom, room.top);
  const id = "clip" + charts++,
    end = width - room.right,
    foot = height - room.bottom;
  const svg = s("svg", {
    class: "chart",
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    tabindex: 0,
    "aria-label": `${spec.title}. ${shown.length} lines. Left and right keys read values, up and down choose a line.`,
  });
  svg.append(s("clipPath", { id }, s("rect", { x: room.left, y: room.top - 6, width: end - room.left + 5, height: foot - room.top + 8 })));
  for (const tick of y.ticks((foot - room.top) / 46)) {
    svg.append(
      s("line", { class: "grid", x1: room.left, x2: end, y1: y.at(tick), y2: y.at(tick) }),
      s("text", { class: "tick", x: room.left - 7, y: y.at(tick) + 4, "text-anchor": "end" }, spec.yFormat(tick)),
    );
  }
  let last = -99;
  for (const tick of x.ticks((end - room.left) / 64)) {
    const place = x.at(tick);
    svg.append(s("line", { class: "grid faint", x1: place, x2: place, y1: room.top, y2: foot }));
    if (place - last < 34) continue;
    last = place;
    svg.append(s("text", { class: "tick", x: place, y: foot + 17, "text-anchor": "middle" }, spec.xFormat(tick)));
  }
  svg.append(s("text", { class: "axis", x: (room.left + end) / 2, y: height - 5, "text-anchor": "middle" }, spec.xTitle));
  const area = s("g", { "clip-path": `url(#${id})` }),
    labels = s("g");
  for (const line of [...spec.series].reverse()) {
    if (!line.x.length) continue;
    const contender = line.contender,
      group = s("g", { class: `series ${look(contender)}${line.shown ? "" : " off"}`, "data-label": contender.label });
    const start = spec.xKind === "log" ? line.x.findIndex((v) => v >= extent[0] * 0.999) : 0;
    const cut = (values) => values && values.slice(Math.max(0, start));
    const lx = cut(line.x),
      ly = cut(line.y),
      ll = cut(line.low),
      lh = cut(line.high);
    if (ll)
      group.append(
        s("path", {
          class: spec.bands ? "band" : "band quiet",
          d: path(lx, lh, x, y) + path([...lx].reverse(), [...ll].reverse(), x, y, "L") + "Z",
        }),
      );
    for (const seed of line.seeds || [])
      group.append(s("path", { class: spec.seeds ? "seed" : "seed quiet", d: path(...((p) => [p.x, p.y])(seed), x, y) }));
    group.append(s("path", { class: "line", d: path(lx, ly, x, y) }));
    area.append(group);
  }
  svg.append(area);
  if (spec.direct !== false) directLabels(labels, shown, x, y, room.top, foot, end, narrow);
  const hair = s("line", { class: "hair", y1: room.top, y2: foot, visibility: "hidden" }),
    dots = s("g", { class: "dots" });
  svg.append(labels, hair, dots);
  const tip = h("div", { class: "tip", hidden: true }),
    said = h("p", { class: "said", "aria-live": "polite" });
  host.append(svg, tip, said);
  readValues(svg, { host, spec, shown, x, y, room, end, foot, hair, dots, tip, said });
}

function directLabels(group, shown, x, y, top, foot, end, narrow) {
  const gap = narrow ? 12 : 13,
    most = Math.max(1, Math.floor((foot - top) / gap) + 1);
  const clamp = (v) => Math.min(foot, Math.max(top, v));
  const ends = shown
    .slice(0, most)
    .map((line) => ({ line, x: x.at(line.x[line.x.length - 1]), y: clamp(y.at(line.y[line.y.length - 1])) }))
    .sort((a, b) => a.y - b.y);
  ends.forEach((mark, i) => (mark.place = Math.max(mark.y, i ? ends[i - 1].place + gap : top)));
  for (let i = ends.length - 1, limit = foot; i >= 0; i--, limit -= gap) ends[i].place = Math.min(ends[i].place, limit);
  for (const { line, x: from, y: height, place } of ends) {
    const label = line.contender.label,
      most = narrow ? 12 : 20,
      text = label.length > most ? label.slice(0, most - 1) + "…" : label;
    group.append(
      s(
        "g",
        { class: `series label ${look(line.contender)}`, "data-label": label },
        s("path", { class: "leader", d: `M${from.toFixed(1)} ${height.toFixed(1)}L${end + 4} ${place.toFixed(1)}h4` }),
        s("text", { x: end + 11, y: place + 4 }, text),
      ),
    );
  }
}

/* Pointer, touch and arrow keys: a hair line, a dot on every line, a list of values, and the nearest line lit. */
function readValues(svg, chart) {
  const { host, spec, shown, x, y, room, end, foot, hair, dots, tip, said } = chart;
  const last = Math.max(...shown.map((line) => line.x[line.x.length - 1])); // lines may end before the axis does
  let at = null,
    chosen = 0;
  const hide = () => {
    hair.setAttribute("visibility", "hidden");
    dots.replaceChildren();
    tip.hidden = true;
    at = null;
    light(null);
  };
  const show = (value, pointer) => {
    at = Math.min(last, Math.max(x.low, value));
    const values = shown
      .map((line) => ({ line, found: heightAt(line, at) }))
      .filter((item) => item.found)
      .sort((a, b) => b.found.y - a.found.y);
    if (!values.length) return hide();
    if (pointer !== undefined)
      chosen = values.reduce(
        (best, item, i) => (Math.abs(y.at(item.found.y) - pointer) < Math.abs(y.at(values[best].found.y) - pointer) ? i : best),
        0,
      );
    chosen = Math.min(values.length - 1, Math.max(0, chosen));
    const place = x.at(at),
      near = values[chosen],
      first = Math.max(0, Math.min(chosen - 4, values.length - 9));
    hair.setAttribute("x1", place);
    hair.setAttribute("x2", place);
    hair.setAttribute("visibility", "visible");
    dots.replaceChildren(
      ...values.map((item) =>
        s("circle", {
          class: "series " + look(item.line.contender),
          "data-label": item.line.contender.label,
          cx: place,
          cy: Math.min(foot, Math.max(room.top, y.at(item.found.y))),
          r: item === near ? 4.5 : 2.5,
        }),
      ),
    );
    const text = (found) =>
      spec.yFormat(found.y) + (known(found.low) ? ` (${spec.yFormat(found.low)} to ${spec.yFormat(found.high)})` : "");
    tip.replaceChildren(
      h("b", {}, `${spec.xFormat(at, true)} ${spec.xUnit}`),
      h(
        "table",
        {},
        ...values
          .slice(first, first + 9)
          .map((item) =>
            h(
              "tr",
              { class: item === near ? "near" : null },
              h("td", {}, sample(item.line.contender)),
              h("td", {}, item.line.contender.label),
              h("td", { class: "num" }, text(item.found)),
            ),
          ),
      ),
      ...(values.length > 9 ? [h("i", {}, `${values.length} lines in all`)] : []),
    );
    tip.hidden = false;
    const wide = host.clientWidth,
      left = place + 16 + tip.offsetWidth < wide ? place + 16 : place - 16 - tip.offsetWidth;
    tip.style.left = Math.max(0, Math.min(wide - tip.offsetWidth, left)) + "px";
    tip.style.top = room.top + "px";
    light(near.line.contender.label);
    if (pointer === undefined)
      said.textContent = `${near.line.contender.label}: ${text(near.found)} at ${spec.xFormat(at, true)} ${spec.xUnit}`;
  };
  const move = (event) => {
    const box = svg.getBoundingClientRect(),
      px = event.clientX - box.left;
    if (px < room.left - 10) return hide();
    show(x.value(Math.min(end, Math.max(room.left, px))), event.clientY - box.top);
  };
  svg.addEventListener("pointermove", move);
  svg.addEventListener("pointerdown", move);
  svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = (end - room.left) / 40,
      from = at === null ? x.at(last) : x.at(at);
    if (event.key === "ArrowLeft") show(x.value(Math.max(room.left, from - (at === null ? 0 : step))));
    else if (event.key === "ArrowRight") show(x.value(Math.min(end, from + step)));
    else if (event.key === "ArrowUp") {
      chosen--;
      show(x.value(from));
    } else if (event.key === "ArrowDown") {
      chosen++;
      show(x.value(from));
    } else if (event.key === "Escape") return hide();
    else return;
    event.preventDefault();
  });
}

/* Lights one contender wherever it is drawn, or none. */
function light(label) {
  document.documentElement.classList.toggle("focusing", label !== null);
  for (const node of document.querySelectorAll("[data-label]"))
    node.classList.toggle("lit", label !== null && node.dataset.label === label);
}
