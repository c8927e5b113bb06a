// Pictures to move by hand, for the book and for notebooks: plain JavaScript, no server, no library.
//
// kit.py puts this file and the data that a lesson made into the page. The arithmetic comes first;
// tests/test_explore.py compares its numbers, in a browser, with those of the package.
"use strict";
window.explore = (() => {

  // ---- Arithmetic -------------------------------------------------------------------------------

  // How many windows fit along an axis; 0 or less: none.
  function outSize(size, kernel, stride, padding, dilation) {
    const extent = dilation * (kernel - 1) + 1;  // from the window's first pixel to its last
    return 1 + Math.floor((size + 2 * padding - extent) / stride);
  }

  // One result of a convolution and what it is made of: x[c][h][w], w[o][c within the group][kh][kw].
  // Returns {channels, cells, parts, value}; a cell is [row, column] in the image, its border included.
  function convolveAt(x, w, o, oh, ow, {stride, padding, dilation, groups}) {
    const seen = x.length / groups;  // channels per group
    const first = Math.floor(o / (w.length / groups)) * seen;
    const channels = Array.from({length: seen}, (_, c) => first + c);
    const cells = [];
    const parts = channels.map(() => 0);  // one sum for each channel
    for (let kh = 0; kh < w[o][0].length; kh++) {
      for (let kw = 0; kw < w[o][0][0].length; kw++) {
        const h = oh * stride + kh * dilation - padding;
        const v = ow * stride + kw * dilation - padding;
        cells.push([h, v]);
        channels.forEach((channel, c) => {
          parts[c] += (x[channel][h]?.[v] ?? 0) * w[o][c][kh][kw];  // the border is 0
        });
      }
    }
    return {channels, cells, parts, value: parts.reduce((a, b) => a + b, 0)};
  }

  // Local response normalisation of channels a[i], alpha as the paper has it (not divided by size).
  function lrn(a, {size, alpha, beta, k}) {
    return a.map((value, i) => {
      const low = Math.max(0, i - Math.floor(size / 2));
      const high = Math.min(a.length - 1, i + size - 1 - Math.floor(size / 2));
      let sum = 0;
      for (let j = low; j <= high; j++) sum += a[j] * a[j];
      const scale = k + alpha * sum;
      return {low, high, sum, scale, b: value * scale ** -beta};
    });
  }

  // The lengths of `count` steps by both rules where every gradient is 1 and the rate, 1 at first,
  // is divided by `factor` from step `drop` on.
  function momentumSteps({momentum, factor, drop}, count) {
    const steps = {paper: [], torch: []};
    let paper = 0;
    let torch = 0;
    for (let i = 0; i < count; i++) {
      const rate = i < drop ? 1 : 1 / factor;
      paper = momentum * paper + rate;  // the rate is inside the velocity
      torch = momentum * torch + 1;     // and here outside
      steps.paper.push(paper);
      steps.torch.push(rate * torch);
    }
    return steps;
  }

  // ---- Drawing ----------------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";

  function add(parent, name, attributes = {}, text = "") {
    const svg = name !== "p" && name !== "div";
    const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== "") element.textContent = text;
    parent.append(element);
    return element;
  }

  // An empty drawing in place of the last one. What it shows is told by the text below the sliders.
  function canvas(parent, width, height, label) {
    const svg = add(parent, "svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label});
    svg.style.maxWidth = `${1.7 * width}px`;
    svg.style.flexGrow = width;  // so that the squares of two grids are about equally large
    return svg;
  }

  function short(value) {
    return Number(value.toPrecision(4)).toLocaleString("en-US", {maximumSignificantDigits: 4});
  }

  // ---- The window of a convolution --------------------------------------------------------------

  function grid(svg, x0, rows, columns, look) {
    const SIDE = 20;
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const [kind, text] = look(i, j);
        add(svg, "rect", {class: kind, x: x0 + SIDE * j + 1, y: 16 + SIDE * i, width: 18, height: 18});
        add(svg, "text", {class: kind, x: x0 + SIDE * j + 10, y: 29 + SIDE * i, "text-anchor": "middle"}, text);
      }
    }
  }

  // Which channels each kernel sees, as lines; those of the chosen kernel are strong.
  function drawGroups(parent, channels, kernels, groups, chosen) {
    const svg = canvas(parent, 150, 84, "which channels each kernel sees");
    add(svg, "text", {x: 0, y: 12}, "channels");
    add(svg, "text", {x: 0, y: 78}, "kernels");
    const place = (i) => 62 + 26 * i;
    for (const strong of [false, true]) {
      for (let o = 0; o < kernels; o++) {
        for (let c = 0; c < channels; c++) {
          const same = Math.floor(o * groups / kernels) === Math.floor(c * groups / channels);
          if (same && (o === chosen) === strong) {
            add(svg, "line", {class: strong ? "now" : "faint", x1: place(c), y1: 16, x2: place(o), y2: 66});
          }
        }
      }
    }
    for (let i = 0; i < channels; i++) add(svg, "text", {x: place(i), y: 12, "text-anchor": "middle"}, i);
    for (let i = 0; i < kernels; i++) {
      add(svg, "text", {class: i === chosen ? "now" : "", x: place(i), y: 78, "text-anchor": "middle"}, i);
    }
  }

  const windowPicture = {
    sliders: [
      {name: "kernel", label: "kernel", min: 1, max: 5, value: 3},
      {name: "stride", label: "stride", min: 1, max: 4, value: 2},
      {name: "padding", label: "padding", min: 0, max: 3, value: 1},
      {name: "dilation", label: "dilation", min: 1, max: 3, value: 1},
      {name: "groups", label: "groups", min: 0, max: 2, value: 0, shown: (i) => 2 ** i},
      {name: "number", label: "window number", min: 0, max: 63, value: 5},
      {name: "o", label: "kernel number", min: 0, max: 3, value: 0},
    ],

    draw(parent, data, state, sliders) {
      const size = data.x[0].length;
      const {kernel, stride, padding, dilation, o} = state;
      const groups = 2 ** state.groups;
      const out = outSize(size, kernel, stride, padding, dilation);
      const windows = Math.max(1, out) ** 2;
      sliders.number.max = windows - 1;
      const number = Math.min(state.number, windows - 1);
      const oh = Math.floor(number / Math.max(1, out));
      const ow = number % Math.max(1, out);
      // the lesson made kernels of 5 x 5 for all four channels; here is what fits the sliders
      const w = data.w.map((one) => one.slice(0, data.x.length / groups)
        .map((rows) => rows.slice(0, kernel).map((row) => row.slice(0, kernel))));
      const fits = out >= 1;
      const at = (i, j) => convolveAt(data.x, w, o, i, j, {stride, padding, dilation, groups});
      const now = fits ? at(oh, ow) : {channels: [], cells: [], parts: []};
      const hit = new Set(now.cells.map(String));
      const shown = now.channels[0] ?? 0;

      const side = size + 2 * padding;
      const image = canvas(parent, 20 * side + 2, 20 * side + 18, "the image with its border, and the window");
      add(image, "text", {x: 1, y: 11}, `channel ${shown} of the image`);
      grid(image, 0, side, side, (i, j) => {
        const inside = data.x[shown][i - padding]?.[j - padding];
        const kind = inside === undefined ? "border" : "cell";
        return [hit.has(String([i - padding, j - padding])) ? `${kind} hit` : kind, inside ?? 0];
      });
      if (fits) {
        const result = canvas(parent, Math.max(86, 20 * out + 2), 20 * out + 18, "the result");
        add(result, "text", {x: 1, y: 11}, `kernel ${o}, result`);
        grid(result, 0, out, out, (i, j) => [i === oh && j === ow ? "cell now" : "cell", at(i, j).value]);
      }
      drawGroups(parent, data.x.length, w.length, groups, o);

      const extent = dilation * (kernel - 1) + 1;
      const sum = `1 + (${size} + 2 * ${padding} - ${extent}) / ${stride}`;
      const size_text = fits ? `${out} x ${out} windows: ${sum}, rounded down, along each axis.`
        : `No window fits: it covers ${extent} pixels, the image with its border has ${side}.`;
      const parts = now.parts.map((part, c) => `${part} from channel ${now.channels[c]}`).join(", ");
      return size_text + (fits ? ` Window ${number}, row ${oh} and column ${ow}: kernel ${o} makes ${now.value} of it`
        + ` (${parts}).` : "")
        + ` ${w.length} kernels have ${w.length * w[0].length * kernel * kernel} weights.`;
    },
  };

  // ---- Local response normalisation -------------------------------------------------------------

  const lrnPicture = {
    sliders: [
      {name: "channel", label: "channel", min: 0, max: 15, value: 5},
      {name: "size", label: "window: size", min: 1, max: 9, value: 5},
      {name: "alpha", label: "alpha", min: -20, max: -4, value: -16, shown: (i) => short(10 ** (i / 4))},
      {name: "beta", label: "beta", min: 0, max: 20, value: 15, shown: (i) => i / 20},
      {name: "k", label: "k", min: 1, max: 8, value: 4, shown: (i) => i / 2},
      {name: "loudness", label: "all values times", min: -8, max: 4, value: 0, shown: (i) => short(10 ** (i / 4))},
    ],

    draw(parent, data, state) {
      const times = 10 ** (state.loudness / 4);
      const settings = {size: state.size, alpha: 10 ** (state.alpha / 4), beta: state.beta / 20, k: state.k / 2};
      const a = data.a.map((value) => value * times);
      const all = lrn(a, settings);
      const now = all[state.channel];
      const top = Math.max(...a, ...all.map((one) => one.b));
      const svg = canvas(parent, 330, 200, "before and after the normalisation, channel by channel");
      const place = (i) => 6 + 20 * i;
      add(svg, "rect", {class: "reach", x: place(now.low) - 1, y: 4, width: 20 * (now.high - now.low + 1), height: 180});
      a.forEach((value, i) => {
        const b = all[i].b;
        const chosen = i === state.channel ? " now" : "";
        add(svg, "rect", {class: "before", x: place(i), y: 180 - 170 * value / top, width: 18, height: 170 * value / top});
        add(svg, "rect", {class: `after${chosen}`, x: place(i) + 4, y: 180 - 170 * b / top, width: 10, height: 170 * b / top});
        add(svg, "text", {class: chosen, x: place(i) + 9, y: 194, "text-anchor": "middle"}, i);
      });
      const value = a[state.channel];
      const kept = now.scale ** -settings.beta;
      return `Channel ${state.channel}, a = ${short(value)}. Its window is channels ${now.low} to ${now.high}, `
        + `the sum of their squares ${short(now.sum)}. Scale: ${short(settings.k)} + ${short(settings.alpha)} * `
        + `${short(now.sum)} = ${short(now.scale)}. b = ${short(value)} / ${short(now.scale)}^${settings.beta} = `
        + `${short(now.b)}: it keeps ${short(100 * kept)} %.`;
    },
  };

  // ---- Momentum's two rules ---------------------------------------------------------------------

  const momentumPicture = {
    sliders: [
      {name: "momentum", label: "momentum", min: 0, max: 19, value: 18, shown: (i) => i / 20},
      {name: "factor", label: "the rate is divided by", min: 1, max: 20, value: 10},
      {name: "drop", label: "at step", min: 5, max: 90, value: 50},
    ],

    draw(parent, data, state) {
      const settings = {...state, momentum: state.momentum / 20};
      const {paper, torch} = momentumSteps(settings, data.count);
      const top = Math.max(...paper, ...torch);
      const svg = canvas(parent, 330, 200, "the length of each step by both rules");
      const point = (length, i) => [24 + 300 * i / (data.count - 1), 180 - 165 * length / top];
      const area = [...paper.map(point), ...torch.map(point).reverse()];
      add(svg, "polygon", {class: "between", points: area.join(" ")});
      const [x] = point(0, settings.drop);
      add(svg, "line", {class: "faint", x1: x, x2: x, y1: 8, y2: 180});
      add(svg, "line", {class: "axis", x1: 24, x2: 324, y1: 180, y2: 180});
      add(svg, "polyline", {class: "paper", points: paper.map(point).join(" ")});
      add(svg, "polyline", {class: "torch", points: torch.map(point).join(" ")});
      for (const step of [0, 25, 50, 75]) {
        add(svg, "text", {x: point(0, step)[0], y: 194, "text-anchor": "middle"}, step);
      }
      add(svg, "text", {x: 0, y: 18}, short(top));
      add(svg, "text", {x: 12, y: 180}, "0");
      add(svg, "text", {class: "paper", x: 222, y: 14}, "2012: rate inside");
      add(svg, "text", {class: "torch", x: 222, y: 28}, "torch: rate outside");
      const end = 1.1 / settings.factor / (1 - settings.momentum);  // within a tenth of the steps to come
      const slow = paper.findIndex((length, i) => i >= settings.drop && length <= end);
      const further = paper.reduce((a, b) => a + b, 0) - torch.reduce((a, b) => a + b, 0);
      const fade = slow < 0 ? "has not come near that at the end"
        : `comes within a tenth of that after ${slow - settings.drop + 1} steps`;
      return `Up to step ${settings.drop} both are the same. Then torch's step is ${short(torch[settings.drop])}, `
        + `the paper's ${short(paper[settings.drop])}; it ${fade}. `
        + `In all the paper's rule goes ${short(further)} plain steps of the old rate further.`;
    },
  };

  // ---- Sliders and text -------------------------------------------------------------------------

  const PICTURES = {window: windowPicture, lrn: lrnPicture, momentum: momentumPicture};

  function addSlider(parent, id, slider, change) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const shown = document.createElement("output");
    label.htmlFor = input.id = shown.htmlFor = `${id}-${slider.name}`;
    label.textContent = slider.label;
    Object.assign(input, {type: "range", min: slider.min, max: slider.max, step: 1, defaultValue: slider.value});
    input.addEventListener("input", change);
    parent.append(label, input, shown);
    return {input, shown};
  }

  // Fill a <figure> that kit.py wrote: drawing, sliders, and the text that says the same as the drawing.
  function start(figure) {
    const picture = PICTURES[figure.dataset.picture];
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const drawing = add(figure, "div", {class: "drawing"});
    const controls = add(figure, "div", {class: "sliders"});
    const text = add(figure, "p", {role: "status"});  // read out by a screen reader when it changes
    figure.querySelector(".still")?.remove();
    figure.append(figure.querySelector("figcaption"));
    const parts = {};
    const inputs = {};

    function draw() {
      const state = {};
      for (const slider of picture.sliders) state[slider.name] = Number(parts[slider.name].input.value);
      drawing.replaceChildren();
      text.textContent = picture.draw(drawing, data, state, inputs);
      for (const slider of picture.sliders) {
        const value = Number(parts[slider.name].input.value);  // a smaller maximum may have moved it
        const words = String(slider.shown ? slider.shown(value) : value);
        parts[slider.name].shown.textContent = words;
        parts[slider.name].input.setAttribute("aria-valuetext", words);
      }
    }

    for (const slider of picture.sliders) {
      parts[slider.name] = addSlider(controls, figure.id, slider, draw);
      inputs[slider.name] = parts[slider.name].input;
    }
    draw();
  }

  return {outSize, convolveAt, lrn, momentumSteps, start};
})();
