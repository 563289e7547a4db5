// What is shown of which memory, when; and the controls.
export const mainScript = String.raw`
let page = { tokens: [], places: [], memories: [] };
let memory = null;
let step = 0; // Steps that are over: the moment.
let chosen = null; // A step whose token is looked at; the last one where none was chosen.
let matrix = null; // At the moment; null where another memory has just been chosen.
let before; // Before the last step.

function show() {
  const slider = $('step');
  slider.value = step;
  const what = step === 0 ? 'the start: nothing read yet' : 'after step ' + step + ' of ' + memory.steps + ', token ' + nameOf(step - 1);
  slider.setAttribute('aria-valuetext', what);
  $('moment').textContent = what[0].toUpperCase() + what.slice(1);
  showMatrix();
  for (const move of cursors) move();
  showLook();
  for (const canvas of document.querySelectorAll('canvas')) if (document.activeElement === canvas && canvas.tell) canvas.tell();
}

/** What depends on the token that is looked at. */
function showLook() {
  showText();
  drawLane();
  showToken();
  frameRows();
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
  if (chosen !== null && chosen >= step - 1) chosen = null;
  show();
}

/** Looks at a token; one that is still to come is gone to. */
function lookAt(token) {
  const last = (token + 1) * memory.writesPerToken - 1;
  chosen = last < step - 1 ? last : null;
  if (last >= step) return go(last + 1);
  showLook();
}

function choose(next) {
  const atEnd = !memory || step === memory.steps;
  const same = memory && next.steps === memory.steps;
  memory = next;
  matrix = null;
  if (!same) chosen = null;
  $('step').max = memory.steps;
  $('moved').hidden = $('moved').disabled = memory.initial.every((x) => x === 0);
  if ($('moved').disabled && $('shown').value === 'moved') $('shown').value = 'matrix';
  $('rule').textContent = memory.rule;
  drawCharts();
  drawMaps();
  go(atEnd ? memory.steps : Math.min(step, memory.steps));
}

/**
 * The memory that the three lists say, of places { layer, matrix, head }; a list has those that there are in what stands before it.
 * What is shown is up to the caller.
 */
function placeInLists(places, changed) {
  const [layer, name, head] = ['layer', 'name', 'head'].map($);
  const fill = (list, values) => {
    const was = list.value;
    list.replaceChildren(...[...new Set(values)].map((value) => element('option', { value }, value)));
    if ([...list.options].some((option) => option.value === was)) list.value = was;
    list.parentElement.hidden = list.options.length < 2 && list !== layer;
  };
  if (changed === undefined) fill(layer, places.map((m) => String(m.layer)));
  const inLayer = places.filter((m) => String(m.layer) === layer.value);
  if (changed !== 'name' && changed !== 'head') fill(name, inLayer.map((m) => m.matrix));
  const named = inLayer.filter((m) => m.matrix === name.value);
  if (changed !== 'head') fill(head, named.map((m) => String(m.head)));
  return named.find((m) => String(m.head) === head.value);
}

let playing = null;
function play() {
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
  playing = setInterval(() => (step < memory.steps ? go(step + 1) : stop()), 120);
}

function listen() {
  listenToText();
  listenToStrips();
  listenToViews();
  $('step').addEventListener('input', () => go(Number($('step').value)));
  $('back').addEventListener('click', () => go(step - 1));
  $('on').addEventListener('click', () => go(step + 1));
  $('play').addEventListener('click', play);
  const redraw = () => {
    if (!memory) return;
    drawCharts();
    drawMaps();
    show();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  let narrow = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth !== narrow) redraw();
    narrow = innerWidth;
  });
}
`;

/** Begins the page of one inspection, whose numbers stand in it. */
export const wholeScript = String.raw`
page = JSON.parse($('inspection').textContent);
const opened = new Map();
function fromLists(changed) {
  const place = placeInLists(page.memories, changed);
  if (!opened.has(place)) opened.set(place, open(place));
  choose(opened.get(place));
  showHeads((wanted, go) => {
    const found = page.memories.find((m) => m.layer === wanted.layer && m.matrix === wanted.matrix && m.head === wanted.head);
    if (!found || !go) return Boolean(found);
    setLists(page.memories, wanted);
    fromLists('head');
  });
}
for (const id of ['layer', 'name', 'head']) $(id).addEventListener('change', () => fromLists(id));
listen();
drawText();
fromLists();
`;
