// The script of an inspection's page: it unpacks the numbers, follows the matrix to the chosen step and draws.
export const inspectionScript = String.raw`
'use strict';
const page = JSON.parse(document.getElementById('inspection').textContent);
const $ = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';

function bytesOf(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
}

/** Rows of one width, or of widths by row. */
function unpack(packed, width) {
  const scales = new Float32Array(bytesOf(packed.scales));
  const entries = new Int16Array(bytesOf(packed.entries));
  const rows = [];
  let at = 0;
  for (let r = 0; r < scales.length; r++) {
    const n = typeof width === 'function' ? width(r) : width;
    rows.push(Float64Array.from(entries.subarray(at, at + n), (x) => (x * scales[r]) / 32767));
    at += n;
  }
  return rows;
}

function open(m) {
  const { K, V } = m;
  return {
    ...m,
    key: unpack(m.key, K),
    value: unpack(m.value, V),
    output: unpack(m.output, V),
    columns: unpack(m.columns, K),
    rows: unpack(m.rows, V),
    decay: m.decay && unpack(m.decay, m.decay.width),
    valueDecay: m.valueDecay && unpack(m.valueDecay, m.valueDecay.width),
    initial: m.initial ? unpack(m.initial, K * V)[0] : new Float64Array(K * V),
    weights: unpack(m.weights, (t) => t + 1),
  };
}

const opened = new Map();
let memory;
let step = 0; // Steps that are over.
let matrix = null; // After them; null where another memory has just been chosen.
let before; // Before the last of them.
let queryLimit = 1;

/** One step on. */
function advance(S, m, t) {
  const { K, V } = m;
  const decay = m.decay && m.decay[t];
  const valueDecay = m.valueDecay && m.valueDecay[t];
  for (let i = 0; i < K; i++) {
    const d = decay ? decay[decay.length === 1 ? 0 : i] : 1;
    for (let j = 0; j < V; j++) S[i * V + j] *= d * (valueDecay ? valueDecay[j] : 1);
  }
  for (let n = t * m.changes; n < (t + 1) * m.changes; n++) {
    const [column, row] = [m.columns[n], m.rows[n]];
    for (let i = 0; i < K; i++) for (let j = 0; j < V; j++) S[i * V + j] += column[i] * row[j];
  }
}

function stateAt(m, steps) {
  const S = Float64Array.from(m.initial);
  for (let t = 0; t < steps; t++) advance(S, m, t);
  return S;
}

function read(S, x, V) {
  const y = new Float64Array(V);
  for (let i = 0; i < x.length; i++) for (let j = 0; j < V; j++) y[j] += x[i] * S[i * V + j];
  return y;
}

const tokenOf = (t) => Math.floor(t / memory.writesPerToken);
function nameOf(t) {
  const n = memory.writesPerToken;
  const token = page.tokens[tokenOf(t)].replace(/ /g, '\u2423').replace(/\n/g, '\u23ce').replace(/\t/g, '\u21e5');
  return n > 1 ? token + ' (' + ((t % n) + 1) + '/' + n + ')' : token;
}

function number(x, digits = 3) {
  if (x === null || Number.isNaN(x)) return '\u2013';
  if (x === 0) return '0';
  const size = Math.abs(x);
  const text = size < 1e-3 || size >= 1e5 ? x.toExponential(digits - 1) : String(Number(x.toPrecision(digits)));
  return text.replace('-', '\u2212');
}

function element(tag, attributes = {}, text = '') {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const largest = (values) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Cells by sign: above zero filled, below zero in the other colour with a bar through them where there is room. */
function heat(canvas, rows, columns, data, limit, room) {
  const cell = Math.max(1, Math.floor(Math.min(28, room / columns)));
  const high = canvas.dataset.high ? Number(canvas.dataset.high) : cell;
  canvas.width = columns * cell;
  canvas.height = rows * high;
  const context = canvas.getContext('2d');
  const [plus, minus, card] = [colour('--plus'), colour('--minus'), colour('--card')];
  context.fillStyle = card;
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const x = data[i * columns + j];
      const strength = Math.min(1, Math.abs(x) / (limit || 1));
      if (!(strength >= 0.01)) continue;
      context.fillStyle = 'rgb(' + (x < 0 ? minus : plus) + ' / ' + strength.toFixed(3) + ')';
      context.fillRect(j * cell, i * high, cell, high);
      if (x < 0 && cell >= 4 && strength > 0.08) {
        context.fillStyle = card;
        const thick = Math.max(1, Math.round(Math.min(cell, high) / 8));
        context.fillRect(j * cell + Math.floor(cell * 0.2), i * high + Math.floor((high - thick) / 2), Math.ceil(cell * 0.6), thick);
      }
    }
  }
  canvas.cells = { rows, columns, data };
}

/** The value under the pointer or, with the arrow keys, of the chosen cell goes to an output. */
function readable(canvas, output, describe) {
  let place = { i: 0, j: 0 };
  const tell = () => {
    const { rows, columns, data } = canvas.cells;
    place = { i: Math.max(0, Math.min(rows - 1, place.i)), j: Math.max(0, Math.min(columns - 1, place.j)) };
    output.textContent = describe(place.i, place.j, data[place.i * columns + place.j]);
  };
  canvas.addEventListener('pointermove', (event) => {
    const box = canvas.getBoundingClientRect();
    const { rows, columns } = canvas.cells;
    place = {
      i: Math.floor(((event.clientY - box.top) / box.height) * rows),
      j: Math.floor(((event.clientX - box.left) / box.width) * columns),
    };
    tell();
  });
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  canvas.addEventListener('keydown', (event) => {
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    place = { i: place.i + move[0], j: place.j + move[1] };
    tell();
  });
  canvas.addEventListener('focus', tell);
  canvas.tell = tell;
}

function showText() {
  const row = step > 0 ? memory.weights[step - 1] : [];
  const frame = $('row').style;
  frame.display = step > 0 ? 'block' : 'none';
  frame.top = (100 * (step - 1)) / memory.steps + '%';
  frame.height = 100 / memory.steps + '%';
  const weights = new Float64Array(page.tokens.length);
  row.forEach((x, j) => (weights[tokenOf(j)] += x));
  const limit = largest(weights) || 1;
  spans.forEach((span, i) => {
    const share = weights[i] / limit;
    const seen = Math.abs(share) >= 0.05;
    span.className = [
      seen && (share < 0 ? 'minus' : 'plus'),
      step > 0 && tokenOf(step - 1) === i && 'now',
      i > tokenOf(step - 1) && 'later',
    ].filter(Boolean).join(' ');
    span.style.setProperty('--s', (0.6 * Math.abs(share)).toFixed(2));
    span.title = 'token ' + (i + 1) + (step > 0 && i <= tokenOf(step - 1) ? ', weight ' + number(weights[i]) : '');
  });
  const now = spans[Math.max(0, tokenOf(step - 1))];
  const box = $('text');
  if (now && (now.offsetTop < box.scrollTop || now.offsetTop + now.offsetHeight > box.scrollTop + box.clientHeight)) {
    box.scrollTop = now.offsetTop - box.clientHeight / 2;
  }
}

function shownMatrix() {
  const shown = $('shown').value;
  if (shown === 'change') return matrix.map((x, at) => x - before[at]);
  if (shown === 'moved') return matrix.map((x, at) => x - memory.initial[at]);
  return matrix;
}

function showMatrix() {
  const { K, V } = memory;
  const canvas = $('matrix');
  const data = shownMatrix();
  const limit = $('shown').value === 'change' ? largest(data) : memory.limits[$('shown').value];
  const room = Math.min(520, canvas.parentElement.clientWidth);
  heat(canvas, K, V, data, limit, room);
  canvas.setAttribute('aria-label', 'Matrix of ' + K + ' key components by ' + V + ' value components, entries to ' + number(largest(data)) + ' in magnitude. Arrow keys read entries.');
  $('limit').textContent = number(limit);
  $('norm').textContent = number(memory.norm[step]);
  const ranked = memory.rank.reduce((near, one) => (Math.abs(one[0] - step) < Math.abs(near[0] - step) ? one : near));
  $('rank').textContent = number(ranked[1]) + ' of ' + Math.min(K, V);
  $('size').textContent = K + ' \u00d7 ' + V;
}

const STRIPS = ['before', 'value', 'after', 'output'];
function showWrite() {
  const { V } = memory;
  $('write').hidden = step === 0;
  $('unwritten').hidden = step > 0;
  if (step === 0) return;
  const t = step - 1;
  const key = memory.key[t];
  const shown = {
    before: read(before, key, V),
    value: memory.value[t],
    after: read(matrix, key, V),
    output: memory.output[t],
  };
  const limit = Math.max(largest(shown.before), largest(shown.value), largest(shown.after));
  for (const name of STRIPS) heat($('strip-' + name), 1, V, shown[name], name === 'output' ? largest(shown[name]) : limit, 520);
  const facts = [
    ['known before', number(memory.knownBefore[t], 2)],
    ['known after', number(memory.knownAfter[t], 2)],
  ];
  const rates = ratesOf(memory);
  if (rates.length > 1) for (const [name, values] of rates) facts.push(['rate of ' + name, number(values[t])]);
  else if (memory.strength) facts.push(['strength', number(memory.strength[t])]);
  if (memory.forgets) facts.push(['given up', number(100 * memory.forgets[t]) + ' %']);
  $('write-facts').replaceChildren(...facts.map(([name, value]) => {
    const pair = element('div');
    pair.append(element('dt', {}, name), element('dd', {}, value));
    return pair;
  }));
}

/** Of a matrix that rewrites itself, the strengths of all its parts; they are learning rates that it sets itself. */
function ratesOf(m) {
  if (m.rule !== 'selfReferential' || m.matrix === 'S') return [];
  return page.memories
    .filter((one) => one.layer === m.layer && one.head === m.head && one.rule === m.rule && one.strength)
    .map((one) => [one.matrix, one.strength]);
}

const DASHES = ['', '7 4', '2 3', '10 3 2 3'];
const WIDTH = 400;
const HEIGHT = 130;
const LEFT = 44;
const BOTTOM = 18;

/** Lines over the steps; where a moment counts steps that are over, the start is 0. */
function chart(title, lines, range) {
  const all = lines.flatMap((line) => line.points.map((p) => p[1]).filter((y) => y !== null));
  const low = range ? range[0] : Math.min(0, ...all);
  const high = range ? range[1] : Math.max(...all, low + 1e-9);
  const x = (at) => LEFT + (at / memory.steps) * (WIDTH - LEFT - 4);
  const y = (value) => 6 + ((high - value) / (high - low)) * (HEIGHT - BOTTOM - 6);
  const figure = element('figure');
  figure.append(element('h3', {}, title));
  const svg = drawn('svg', { viewBox: '0 0 ' + WIDTH + ' ' + HEIGHT, preserveAspectRatio: 'none', role: 'img', 'aria-label': title + ' over the steps, from ' + number(Math.min(...all)) + ' to ' + number(Math.max(...all)) });
  for (const value of low < 0 ? [low, 0, high] : [low, (low + high) / 2, high]) {
    svg.append(drawn('line', { x1: LEFT, x2: WIDTH - 4, y1: y(value), y2: y(value), stroke: 'currentColor', 'stroke-opacity': value === 0 ? 0.45 : 0.15, 'vector-effect': 'non-scaling-stroke' }));
    const label = drawn('text', { x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end', 'font-size': 11, fill: 'currentColor', opacity: 0.75 });
    label.textContent = number(value, 2);
    svg.append(label);
  }
  lines.forEach(({ points }, i) => {
    let path = '';
    let gap = true;
    for (const [at, value] of points) {
      if (value === null) { gap = true; continue; }
      path += (gap ? 'M' : 'L') + x(at).toFixed(1) + ' ' + y(value).toFixed(1);
      gap = false;
    }
    svg.append(drawn('path', { d: path, fill: 'none', stroke: i % 2 ? 'rgb(' + colour('--plus') + ')' : 'rgb(' + colour('--minus') + ')', 'stroke-width': 1.75, 'stroke-dasharray': DASHES[i % 4], 'vector-effect': 'non-scaling-stroke', 'stroke-linejoin': 'round' }));
  });
  const cursor = drawn('line', { class: 'cursor', y1: 0, y2: HEIGHT - BOTTOM + 4, stroke: 'currentColor', 'stroke-width': 1.5, 'vector-effect': 'non-scaling-stroke' });
  svg.append(cursor);
  svg.addEventListener('click', (event) => {
    const box = svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - 4);
    go(Math.round(share * memory.steps));
  });
  const key = element('p', { class: 'key' });
  figure.append(svg, key);
  cursors.push(() => {
    cursor.setAttribute('x1', x(step));
    cursor.setAttribute('x2', x(step));
    key.replaceChildren(...lines.flatMap(({ name, points }, i) => {
      const line = drawn('svg', { viewBox: '0 0 24 8', 'aria-hidden': 'true' });
      line.append(drawn('line', { x1: 0, x2: 24, y1: 4, y2: 4, stroke: i % 2 ? 'rgb(' + colour('--plus') + ')' : 'rgb(' + colour('--minus') + ')', 'stroke-width': 2, 'stroke-dasharray': DASHES[i % 4] }));
      const near = points.reduce((best, p) => (Math.abs(p[0] - step) < Math.abs(best[0] - step) ? p : best));
      const known = step === 0 && points[0][0] > 0 ? null : near[1];
      return [line, name + ' ' + number(known) + (i < lines.length - 1 ? ' \u00a0 ' : '')];
    }));
  });
  return figure;
}

let cursors = [];
function drawCharts() {
  cursors = [];
  const after = (values) => values.map((value, t) => [t + 1, value]);
  const rates = ratesOf(memory);
  const figures = [
    chart('Known before and after the write', [
      { name: 'before', points: after(memory.knownBefore) },
      { name: 'after', points: after(memory.knownAfter) },
    ], [-1, 1]),
  ];
  if (rates.length > 1) {
    figures.push(chart('Learning rates that the matrix sets itself', rates.map(([name, values]) => ({ name, points: after(values) })), [0, 1]));
  } else if (memory.strength) {
    figures.push(chart('Strength of the write', [{ name: 'strength', points: after(memory.strength) }], [0, Math.max(1, ...memory.strength)]));
  }
  if (memory.forgets) figures.push(chart('Share of the matrix given up', [{ name: 'given up', points: after(memory.forgets) }], [0, 1]));
  figures.push(chart('Norm of the matrix', [{ name: 'norm', points: memory.norm.map((value, t) => [t, value]) }]));
  figures.push(chart('Effective rank', [{ name: 'rank', points: memory.rank }], [0, Math.min(memory.K, memory.V)]));
  $('series').replaceChildren(...figures);
}

function drawReads() {
  const n = memory.steps;
  const data = new Float64Array(n * n);
  memory.weights.forEach((row, t) => data.set(row, t * n));
  const sizes = Array.from(data, Math.abs).filter((x) => x > 0).sort((a, b) => a - b);
  queryLimit = sizes[Math.ceil(0.99 * sizes.length) - 1] || 1;
  const canvas = $('reads');
  const room = Math.min(800, canvas.closest('section').clientWidth - 48);
  heat(canvas, n, n, data, queryLimit, room);
  canvas.setAttribute('aria-label', 'Weights of ' + n + ' writes, a column each, in what ' + n + ' queries read, a row each. Arrow keys read entries.');
  $('reads-limit').textContent = number(queryLimit);
}

const SOURCES = 8;
function showSources() {
  const body = $('sources');
  $('sources-of').textContent = step > 0 ? 'What the query of ' + nameOf(step - 1) + ' (step ' + step + ') reads' : 'No query has read yet';
  $('sources-table').hidden = step === 0;
  if (step === 0) return ($('from-start').textContent = '');
  const row = memory.weights[step - 1];
  const order = Array.from(row.keys()).filter((j) => row[j] !== 0).sort((a, b) => Math.abs(row[b]) - Math.abs(row[a])).slice(0, SOURCES);
  const most = largest(row) || 1;
  body.replaceChildren(...order.map((j) => {
    const line = element('tr');
    const name = element('th', { scope: 'row' });
    name.append(element('code', {}, nameOf(j)));
    const bar = element('td');
    bar.append(element('span', { class: 'bar' + (row[j] < 0 ? ' minus' : ''), style: 'width:' + Math.max(1, 100 * Math.abs(row[j]) / most).toFixed(1) + '%' }));
    line.append(name, element('td', {}, String(j + 1)), element('td', {}, (row[j] > 0 ? '+' : '') + number(row[j])), bar);
    return line;
  }));
  const start = memory.fromStart[step - 1];
  $('from-start').textContent = start > 0 ? 'What it reads from the matrix as it was at the start is ' + number(start) + ' times as long as all that it reads.' : '';
}

function show() {
  const slider = $('step');
  slider.value = step;
  const what = step === 0 ? 'the start: nothing read yet' : 'after step ' + step + ' of ' + memory.steps + ', token ' + nameOf(step - 1);
  slider.setAttribute('aria-valuetext', what);
  $('moment').textContent = what[0].toUpperCase() + what.slice(1);
  showText();
  showMatrix();
  showWrite();
  showSources();
  for (const move of cursors) move();
  for (const canvas of document.querySelectorAll('canvas')) if (document.activeElement === canvas && canvas.tell) canvas.tell();
}

function go(to) {
  const next = Math.max(0, Math.min(memory.steps, to));
  if (matrix !== null && next === step + 1) {
    before = matrix;
    matrix = Float64Array.from(matrix);
    advance(matrix, memory, step);
  } else {
    before = stateAt(memory, Math.max(0, next - 1));
    matrix = Float64Array.from(before);
    if (next > 0) advance(matrix, memory, next - 1);
  }
  step = next;
  show();
}

function limitsOf(m) {
  let [all, moved] = [largest(m.initial), 0];
  const S = Float64Array.from(m.initial);
  for (let t = 0; t < m.steps; t++) {
    advance(S, m, t);
    for (let at = 0; at < S.length; at++) {
      all = Math.max(all, Math.abs(S[at]));
      moved = Math.max(moved, Math.abs(S[at] - m.initial[at]));
    }
  }
  return { matrix: all, moved };
}

function choose(m) {
  if (!opened.has(m)) {
    const made = open(m);
    made.limits = limitsOf(made);
    opened.set(m, made);
  }
  const at = memory ? step : m.steps;
  memory = opened.get(m);
  matrix = null;
  const slider = $('step');
  slider.max = memory.steps;
  $('moved').hidden = $('moved').disabled = memory.initial.every((x) => x === 0);
  if ($('moved').disabled && $('shown').value === 'moved') $('shown').value = 'matrix';
  $('rule').textContent = memory.rule;
  drawCharts();
  drawReads();
  go(Math.min(at, memory.steps));
}

/** The memory that the three lists say; lists of those that there are in what stands before. */
function chooseFromLists(changed) {
  const [layer, name, head] = ['layer', 'name', 'head'].map($);
  const fill = (list, values) => {
    const was = list.value;
    list.replaceChildren(...[...new Set(values)].map((value) => element('option', { value }, value)));
    if ([...list.options].some((option) => option.value === was)) list.value = was;
    list.parentElement.hidden = list.options.length < 2 && list !== layer;
  };
  if (changed === undefined) fill(layer, page.memories.map((m) => String(m.layer)));
  const inLayer = page.memories.filter((m) => String(m.layer) === layer.value);
  if (changed !== 'name' && changed !== 'head') fill(name, inLayer.map((m) => m.matrix));
  const named = inLayer.filter((m) => m.matrix === name.value);
  if (changed !== 'head') fill(head, named.map((m) => String(m.head)));
  choose(named.find((m) => String(m.head) === head.value));
}

const spans = page.tokens.map((token, i) => {
  const span = element('span', {}, token === '\n' ? '\u23ce\n' : token);
  span.addEventListener('click', () => go((i + 1) * memory.writesPerToken));
  return span;
});
$('text').append(...spans);
readable($('matrix'), $('matrix-value'), (i, j, x) => 'key component ' + (i + 1) + ', value component ' + (j + 1) + ': ' + number(x, 4));
for (const name of STRIPS) {
  readable($('strip-' + name), $('write-value'), (_, j, x) => $('label-' + name).textContent + ', component ' + (j + 1) + ': ' + number(x, 4));
}
readable($('reads'), $('reads-value'), (t, j, x) =>
  j > t ? 'the query of step ' + (t + 1) + ' (' + nameOf(t) + ') is before the write of step ' + (j + 1)
    : 'step ' + (t + 1) + ' (' + nameOf(t) + ') reads the write of step ' + (j + 1) + ' (' + nameOf(j) + ') with weight ' + number(x, 4));
$('reads').addEventListener('click', (event) => {
  const box = $('reads').getBoundingClientRect();
  go(Math.floor(((event.clientY - box.top) / box.height) * memory.steps) + 1);
});
for (const id of ['layer', 'name', 'head']) $(id).addEventListener('change', () => chooseFromLists(id));
$('step').addEventListener('input', () => go(Number($('step').value)));
$('back').addEventListener('click', () => go(step - 1));
$('on').addEventListener('click', () => go(step + 1));
$('shown').addEventListener('change', showMatrix);
let playing = null;
$('play').addEventListener('click', () => {
  const stop = () => {
    clearInterval(playing);
    playing = null;
    $('play').textContent = '\u25b6';
    $('play').setAttribute('aria-label', 'Play');
  };
  if (playing !== null) return stop();
  if (step === memory.steps) go(0);
  $('play').textContent = '\u23f8';
  $('play').setAttribute('aria-label', 'Pause');
  playing = setInterval(() => (step < memory.steps ? go(step + 1) : stop()), 150);
});
const redraw = () => {
  drawCharts();
  drawReads();
  show();
};
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
let narrow = innerWidth;
addEventListener('resize', () => {
  if (innerWidth !== narrow) redraw();
  narrow = innerWidth;
});
chooseFromLists();
`;
