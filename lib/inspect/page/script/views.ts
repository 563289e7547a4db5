// The matrix at the moment, its singular values, and the two maps of steps against steps.
export const viewsScript = String.raw`
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
  heat(canvas, K, V, data, limit, Math.min(520, canvas.parentElement.clientWidth));
  canvas.setAttribute('aria-label', 'Matrix of ' + K + ' key components by ' + V + ' value components, entries to ' + number(largest(data)) + ' in magnitude. Arrow keys read entries.');
  $('limit').textContent = number(limit);
  $('norm').textContent = number(memory.norm[step]);
  const [, rank, singular] = memory.rank.reduce((near, one) => (Math.abs(one[0] - step) < Math.abs(near[0] - step) ? one : near));
  $('rank').textContent = number(rank) + ' of ' + Math.min(K, V);
  $('size').textContent = K + ' \u00d7 ' + V;
  showSpectrum(singular);
}

function showSpectrum(values) {
  const svg = $('spectrum');
  const most = Math.max(...values, 1e-12);
  const width = 100 / values.length;
  svg.replaceChildren(...values.map((x, i) => drawn('rect', { x: i * width, width: 0.8 * width, y: 40 - (40 * x) / most, height: (40 * x) / most, fill: 'currentColor' })));
  svg.setAttribute('aria-label', values.length + ' singular values, from ' + number(values[0]) + ' to ' + number(values.at(-1)));
  $('spectrum-ends').textContent = number(values[0]) + ' to ' + number(values.at(-1));
}

/** All but the hundredth that is largest have a colour of their own. */
function limitOf(data) {
  const sizes = Array.from(data, Math.abs).filter((x) => x > 0).sort((a, b) => a - b);
  return sizes[Math.ceil(0.99 * sizes.length) - 1] || 1;
}

function drawMap(id, data, what) {
  const n = memory.steps;
  const canvas = $(id);
  const limit = limitOf(data);
  heat(canvas, n, n, data, limit, Math.min(640, canvas.closest('.half').clientWidth));
  canvas.setAttribute('aria-label', what + ' Arrow keys read entries.');
  $(id + '-limit').textContent = id === 'reads-map' ? number(limit) : percent(limit);
}

function drawMaps() {
  const n = memory.steps;
  const reads = new Float64Array(n * n);
  memory.weights.forEach((row, t) => reads.set(row, t * n));
  drawMap('reads-map', reads, 'Weights of ' + n + ' writes, a column each, in what ' + n + ' queries read, a row each.');
  $('erases').hidden = !memory.taken;
  $('erases-not').hidden = Boolean(memory.taken);
  if (!memory.taken) return;
  const taken = new Float64Array(n * n);
  memory.taken.forEach((row, j) => row.forEach((x, i) => (taken[(j + i) * n + j] = x)));
  drawMap('taken-map', taken, 'What ' + n + ' writes, a row each, took of ' + n + ' earlier ones, a column each.');
}

/** Frames the row of the token that is looked at. */
function frameRows() {
  const at = lookedAt();
  for (const row of document.querySelectorAll('.map .row')) {
    row.style.display = at >= 0 ? 'block' : 'none';
    row.style.top = (100 * at) / memory.steps + '%';
    row.style.height = 100 / memory.steps + '%';
  }
}

function listenToViews() {
  readable($('matrix'), $('matrix-value'), (i, j, x) => 'key component ' + (i + 1) + ', value component ' + (j + 1) + ': ' + number(x, 4));
  readable($('reads-map'), $('reads-value'), (t, j, x) =>
    j > t ? 'the query of step ' + (t + 1) + ' (' + nameOf(t) + ') is before the write of step ' + (j + 1)
      : 'step ' + (t + 1) + ' (' + nameOf(t) + ') reads the write of step ' + (j + 1) + ' (' + nameOf(j) + ') with weight ' + number(x, 4));
  readable($('taken-map'), $('taken-value'), (s, j, x) =>
    j >= s ? 'step ' + (s + 1) + ' (' + nameOf(s) + ') is not after step ' + (j + 1)
      : 'step ' + (s + 1) + ' (' + nameOf(s) + ') took ' + percent(x) + ' of what step ' + (j + 1) + ' (' + nameOf(j) + ') wrote');
  for (const id of ['reads-map', 'taken-map']) {
    $(id).addEventListener('click', (event) => {
      const box = $(id).getBoundingClientRect();
      lookAt(tokenOf(Math.floor(((event.clientY - box.top) / box.height) * memory.steps)));
    });
  }
  $('shown').addEventListener('change', showMatrix);
}
`;
