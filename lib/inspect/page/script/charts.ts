// Lines over the steps.
export const chartsScript = String.raw`
const DASHES = ['', '7 4', '2 3', '10 3 2 3'];
const WIDTH = 400;
const HEIGHT = 130;
const LEFT = 44;
const BOTTOM = 18;

let cursors = [];

/** Where a moment counts steps that are over, the start is 0. */
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

/** Of a matrix that rewrites itself, the strengths of all its parts; they are learning rates that it sets itself. */
function ratesOf(m) {
  if (m.rule !== 'selfReferential' || m.matrix === 'S') return [];
  return page.memories
    .filter((one) => one.layer === m.layer && one.head === m.head && one.rule === m.rule && one.strength)
    .map((one) => [one.matrix, one.strength]);
}

function drawCharts() {
  cursors = [];
  const after = (values) => values.map((value, t) => [t + 1, value]);
  const rates = ratesOf(memory);
  const figures = [
    chart('Known before and after the write', [
      { name: 'before', points: after(memory.knownBefore) },
      { name: 'after', points: after(memory.knownAfter) },
    ], [-1, 1]),
    chart('Size of the write', [{ name: 'size', points: after(memory.written) }]),
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
`;
