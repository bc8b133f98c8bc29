// Draws a report's charts as SVG, and shows values where the pointer or the arrow keys are.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 250, LEFT = 62, RIGHT = 14, TOP = 10, BOTTOM = 26;
  const hidden = new Set();  // runs that are switched off
  const charts = [];
  let view = null;           // steps [from, to] that are shown; null: all
  let cursor = null;         // the step that is looked at

  const color = i => `var(--c${i % 8})`;
  const dash = i => (i >= 8 ? `${2 + 3 * Math.floor(i / 8)} 3` : "none");

  function make(parent, tag, attributes = {}, text) {
    const svg = parent instanceof SVGElement || tag === "svg";
    const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  }

  function show(value) {
    if (value === null || !isFinite(value)) return "no number";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
    if (size >= 1000) return value.toLocaleString("en", {maximumFractionDigits: 0});
    return String(Number(value.toPrecision(5)));
  }

  const count = n => n.toLocaleString("en");

  function bytes(n) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let i = 0;
    for (; n >= 1024 && i + 1 < units.length; ++i) n /= 1024;
    return `${i === 0 ? n : n.toPrecision(3)} ${units[i]}`;
  }

  /// At most about `most` round numbers from `low` to `high`.
  function ticks(low, high, most) {
    const rough = (high - low) / most || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find(m => m * power >= rough * 0.999);
    const all = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i)
      all.push(Number((i * step).toPrecision(12)));
    return all;
  }

  function logTicks(low, high) {
    const all = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; ++power)
      for (const m of [1, 2, 5]) {
        const value = Number((m * 10 ** power).toPrecision(3));
        if (value >= low && value <= high) all.push(value);
      }
    if (all.length > 7) return all.filter(v => Math.abs(Math.log10(v) % 1) < 1e-9);
    return all.length > 1 ? all : ticks(low, high, 5);
  }

  class Chart {
    constructor(spec, parent) {
      this.spec = spec;
      this.log = spec.log;
      this.figure = make(parent, "figure", {class: spec.wide ? "wide" : ""});
      const caption = make(this.figure, "figcaption");
      make(caption, "b", {}, spec.title);
      make(caption, "span", {class: "unit"}, spec.unit);
      if (!spec.stacked) this.addScale(caption);
      this.output = make(this.figure, "output");
      this.svg = make(this.figure, "svg", {tabindex: 0, role: "img",
        "aria-label": `${spec.title}. Arrow keys read values, + and - zoom, 0 shows all.`});
      this.lines = spec.lines.map((line, i) => this.prepare(line, i));
      this.listen();
    }

    addScale(caption) {
      const button = make(caption, "button", {class: "scale", type: "button",
        "aria-pressed": this.log}, "log");
      button.addEventListener("click", () => {
        this.log = !this.log;
        button.setAttribute("aria-pressed", this.log);
        this.draw();
      });
    }

    /// A line's points: steps, where they stand, and what they reach.
    prepare(line, i) {
      const axis = data.axes[line.axis];
      const to = axis.to || axis.from;
      const several = data.runs.length > 1;
      return {
        run: line.run, label: line.label, dots: line.dots, from: axis.from, to,
        x: axis.from.map((from, k) => (from + to[k]) / 2),
        low: line.low || line.mean, high: line.high || line.mean, mean: line.mean,
        number: several ? line.run : i,
      };
    }

    shown() { return this.lines.filter(line => !hidden.has(line.run)); }

    steps() {
      if (view) return view;
      let low = Infinity, high = -Infinity;
      for (const chart of charts)
        for (const line of chart.shown()) {
          low = Math.min(low, line.x[0]);
          high = Math.max(high, line.x[line.x.length - 1]);
        }
      if (!(low <= high)) return [0, 1];
      return low === high ? [low - 0.5, high + 0.5] : [low, high];
    }

    range(lines) {
      const [from, to] = this.steps();
      let low = Infinity, high = -Infinity;
      for (const line of lines)
        line.x.forEach((x, k) => {
          if (x < from || x > to || line.mean[k] === null) return;
          if (this.log && !(line.high[k] > 0)) return;
          high = Math.max(high, line.high[k]);
          low = Math.min(low, this.log && !(line.low[k] > 0) ? line.high[k] : line.low[k]);
        });
      if (!(low <= high)) return [this.log ? 1 : 0, this.log ? 10 : 1];
      if (this.spec.stacked) return [0, this.top(from, to) * 1.05 || 1];
      if (this.log) return low === high ? [low / 2, high * 2] : [low / 1.05, high * 1.05];
      const room = (high - low || Math.abs(high) || 1) * 0.05;
      const zero = low >= 0 && low < 0.25 * high ? 0 : low - room;
      return [zero, high + room];
    }

    /// The highest sum of the stacked lines.
    top(from, to) {
      let most = 0;
      this.lines[0].x.forEach((x, k) => {
        if (x < from || x > to) return;
        most = Math.max(most, this.lines.reduce((sum, line) => sum + (line.mean[k] || 0), 0));
      });
      return most;
    }

    draw() {
      const width = Math.max(this.figure.clientWidth, 280);
      const lines = this.shown();
      const [x0, x1] = this.steps(), [y0, y1] = this.range(lines);
      const scale = this.log ? Math.log : v => v;
      this.px = x => LEFT + (x - x0) / (x1 - x0) * (width - LEFT - RIGHT);
      this.step = px => x0 + (px - LEFT) / (width - LEFT - RIGHT) * (x1 - x0);
      this.py = y => HEIGHT - BOTTOM -
        (scale(y) - scale(y0)) / (scale(y1) - scale(y0)) * (HEIGHT - TOP - BOTTOM);
      this.width = width;
      this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      this.svg.replaceChildren();
      this.drawGrid(width, [x0, x1], [y0, y1]);
      const id = `plot${charts.indexOf(this)}`;
      const clip = make(make(this.svg, "defs"), "clipPath", {id});
      make(clip, "rect", {x: LEFT, y: 0, width: width - LEFT - RIGHT, height: HEIGHT - BOTTOM + 1});
      const plot = make(this.svg, "g", {"clip-path": `url(#${id})`});
      if (this.spec.stacked) this.drawStack(plot);
      else for (const line of lines) this.drawLine(plot, line);
      for (const mark of this.spec.marks || []) this.drawMark(plot, mark);
      this.top_layer = make(this.svg, "g");
      this.showCursor();
    }

    drawGrid(width, [x0, x1], [y0, y1]) {
      for (const y of this.log ? logTicks(y0, y1) : ticks(y0, y1, 5)) {
        make(this.svg, "line", {class: "grid", x1: LEFT, x2: width - RIGHT, y1: this.py(y),
          y2: this.py(y)});
        make(this.svg, "text", {x: LEFT - 8, y: this.py(y) + 4, "text-anchor": "end"}, show(y));
      }
      for (const x of ticks(x0, x1, Math.max(2, Math.floor(width / 110)))) {
        if (x !== Math.round(x)) continue;
        const edge = this.px(x) > width - RIGHT - 16;
        make(this.svg, "text", {x: edge ? width - 2 : this.px(x), y: HEIGHT - 6,
          "text-anchor": edge ? "end" : "middle"}, count(x));
      }
    }

    /// The stretches of a line without a gap, as lists of indices.
    stretches(line) {
      const all = [];
      let open = null;
      line.mean.forEach((mean, k) => {
        if (mean === null || (this.log && !(mean > 0))) { open = null; return; }
        if (!open) all.push(open = []);
        open.push(k);
      });
      return all;
    }

    drawLine(plot, line) {
      const paint = color(line.number);
      const low = k => (this.log && !(line.low[k] > 0) ? line.mean[k] : line.low[k]);
      for (const stretch of this.stretches(line)) {
        const point = (k, y) => `${this.px(line.x[k]).toFixed(1)} ${this.py(y).toFixed(1)}`;
        if (line.low !== line.mean && stretch.length > 1)
          make(plot, "path", {class: "band", fill: paint, d: "M" +
            stretch.map(k => point(k, line.high[k])).join("L") + "L" +
            stretch.slice().reverse().map(k => point(k, low(k))).join("L") + "Z"});
        make(plot, "path", {class: "trace", stroke: paint, "stroke-dasharray": dash(line.number),
          d: "M" + stretch.map(k => point(k, line.mean[k])).join("L")});
        if ((line.dots && line.x.length <= 80) || stretch.length === 1)
          for (const k of stretch)
            make(plot, "circle", {cx: this.px(line.x[k]), cy: this.py(line.mean[k]), r: 2.6,
              fill: paint});
      }
    }

    drawStack(plot) {
      const below = this.lines[0].x.map(() => 0);
      for (const line of this.lines) {
        const above = below.map((y, k) => y + (line.mean[k] || 0));
        const point = (k, y) => `${this.px(line.x[k]).toFixed(1)} ${this.py(y).toFixed(1)}`;
        const order = line.x.map((_, k) => k);
        make(plot, "path", {class: "area", fill: color(line.number), d: "M" +
          order.map(k => point(k, above[k])).join("L") + "L" +
          order.slice().reverse().map(k => point(k, below[k])).join("L") + "Z"});
        above.forEach((y, k) => { below[k] = y; });
      }
    }

    drawMark(plot, mark) {
      if (hidden.has(mark.run)) return;
      const x = this.px(mark.step), y = this.py(mark.value);
      if (!isFinite(y)) return;
      make(plot, "circle", {class: "mark", cx: x, cy: y, r: 5});
      const left = x > this.width - 130;
      make(plot, "text", {x: x + (left ? -9 : 9), y: Math.max(y + 4, 12),
        "text-anchor": left ? "end" : "start"}, mark.text);
    }

    /// The point of a line that is nearest to a step.
    nearest(line, step) {
      let low = 0, high = line.x.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (line.x[middle] < step) low = middle + 1; else high = middle;
      }
      return low > 0 && step - line.x[low - 1] <= line.x[low] - step ? low - 1 : low;
    }

    showCursor() {
      if (!this.top_layer) return;
      this.top_layer.replaceChildren();
      this.output.replaceChildren();
      const lines = this.shown();
      if (cursor === null || lines.length === 0) return this.showLegend(lines);
      const x = this.px(cursor);
      if (x >= LEFT && x <= this.width - RIGHT)
        make(this.top_layer, "line", {class: "cursor", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM});
      const at = this.nearest(lines[0], cursor);
      const [from, to] = [lines[0].from[at], lines[0].to[at]];
      make(this.output, "span", {}, from === to ? `step ${count(from)}` :
        `steps ${count(from)} to ${count(to)}`);
      for (const line of lines) this.showValue(line, this.nearest(line, cursor));
    }

    showValue(line, k) {
      const item = this.swatch(line);
      const spread = line.low !== line.mean && line.low[k] !== line.high[k];
      make(item, "b", {}, show(line.mean[k]));
      const apart = line.from[k] > cursor || line.to[k] < cursor;
      if (spread)
        make(item, "span", {}, ` ${show(line.low[k])} to ${show(line.high[k])}`);
      else if (apart && line.dots)
        make(item, "span", {}, ` at ${count(line.from[k])}`);
      if (!this.spec.stacked && line.mean[k] !== null && isFinite(this.py(line.mean[k])))
        make(this.top_layer, "circle", {cx: this.px(line.x[k]), cy: this.py(line.mean[k]), r: 3.4,
          fill: color(line.number)});
    }

    swatch(line) {
      const item = make(this.output, "span");
      make(item, "i", {class: "swatch", style: `background: ${color(line.number)}`});
      item.append(line.label + " ");
      return item;
    }

    showLegend(lines) {
      if (data.runs.length === 1 && lines.length > 1) for (const line of lines) this.swatch(line);
    }

    listen() {
      let start = null;
      const at = event => {
        const box = this.svg.getBoundingClientRect();
        return this.step((event.clientX - box.left) * this.width / box.width);
      };
      this.svg.addEventListener("pointermove", event => {
        moveTo(at(event));
        if (start === null) return;
        const [a, b] = [this.px(start), this.px(cursor)].sort((p, q) => p - q);
        make(this.top_layer, "rect", {class: "picked", x: a, y: TOP, width: b - a,
          height: HEIGHT - TOP - BOTTOM});
      });
      this.svg.addEventListener("pointerdown", event => {
        if (event.pointerType === "mouse" && event.button === 0) start = at(event);
      });
      this.svg.addEventListener("pointerup", event => {
        const end = at(event);
        if (start !== null && Math.abs(this.px(end) - this.px(start)) > 8)
          zoom(Math.min(start, end), Math.max(start, end));
        start = null;
      });
      this.svg.addEventListener("pointerleave", () => { start = null; moveTo(null); });
      this.svg.addEventListener("dblclick", () => zoom(null));
      this.svg.addEventListener("keydown", event => this.key(event));
    }

    key(event) {
      const line = this.shown()[0];
      if (!line) return;
      const last = line.x.length - 1;
      const far = event.shiftKey ? 10 : 1;
      const now = cursor === null ? null : this.nearest(line, cursor);
      const go = k => moveTo(line.x[Math.min(Math.max(k, 0), last)]);
      const [from, to] = this.steps(), middle = cursor === null ? (from + to) / 2 : cursor;
      const around = size => zoom(middle - size / 2, middle + size / 2);
      const keys = {
        ArrowRight: () => go(now === null ? 0 : now + far),
        ArrowLeft: () => go(now === null ? last : now - far),
        Home: () => go(0), End: () => go(last), Escape: () => moveTo(null),
        "+": () => around((to - from) / 2), "-": () => around((to - from) * 2), 0: () => zoom(null),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    }
  }

  function moveTo(step) {
    cursor = step;
    for (const chart of charts) chart.showCursor();
  }

  function drawAll() { for (const chart of charts) chart.draw(); }

  function zoom(from, to) {
    view = null;
    const all = charts.length ? charts[0].steps() : [0, 1];
    if (from !== null) view = [Math.max(from, all[0]), Math.min(to, all[1])];
    if (view && (view[1] - view[0] < 1 || (view[0] === all[0] && view[1] === all[1]))) view = null;
    drawAll();
  }

  /// Buttons that switch runs off and on, where there are several.
  function addLegend() {
    const legend = document.getElementById("legend");
    if (!legend || data.runs.length < 2) return;
    data.runs.forEach((run, i) => {
      const button = make(legend, "button", {type: "button", "aria-pressed": true});
      make(button, "i", {class: "swatch", style: `background: ${color(i)}`});
      button.append(run.id);
      button.addEventListener("click", () => {
        if (!hidden.delete(i)) hidden.add(i);
        button.setAttribute("aria-pressed", !hidden.has(i));
        drawAll();
      });
    });
  }

  /// The arena: a rectangle a buffer, from its first step to its last, from its offset on.
  function drawArena() {
    const place = document.getElementById("arena");
    if (!place || !data.plan || !data.plan.buffers.length) return;
    const plan = data.plan, width = Math.max(place.clientWidth, 280), height = 300;
    const svg = make(place, "svg", {viewBox: `0 0 ${width} ${height + 24}`, role: "img",
      "aria-label": "Buffers of the arena by time and place"});
    const px = step => LEFT + step / plan.steps * (width - LEFT - RIGHT);
    const py = offset => height - offset / plan.arena_bytes * (height - TOP);
    for (const b of plan.buffers) {
      const box = make(svg, "rect", {class: "buffer", x: px(b.first), y: py(b.offset + b.bytes),
        width: Math.max(px(b.last + 1) - px(b.first), 0.5),
        height: Math.max(py(b.offset) - py(b.offset + b.bytes), 0.5),
        fill: b.saved ? color(0) : color(7)});
      make(box, "title", {}, `${b.op}, ${b.where}: ${bytes(b.bytes)}`);
    }
    const x = px(plan.peak_step + 0.5);
    make(svg, "line", {class: "cursor", x1: x, x2: x, y1: TOP, y2: height});
    make(svg, "text", {x: LEFT - 8, y: TOP + 8, "text-anchor": "end"}, bytes(plan.arena_bytes));
    make(svg, "text", {x: LEFT - 8, y: height, "text-anchor": "end"}, "0");
    make(svg, "text", {x: LEFT, y: height + 18}, "forward");
    make(svg, "text", {x: width - RIGHT, y: height + 18, "text-anchor": "end"}, "backward");
  }

  const place = document.getElementById("charts");
  for (const spec of data.charts) charts.push(new Chart(spec, place));
  addLegend();
  drawAll();
  drawArena();
  /// report.html#step=500 shows the values of that step.
  function readAddress() {
    const step = /^#step=(\d+)$/.exec(location.hash);
    if (step) moveTo(Number(step[1]));
  }
  addEventListener("hashchange", readAddress);
  readAddress();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) drawAll();
    width = innerWidth;
  });
  document.body.dataset.ready = "yes";
})();
