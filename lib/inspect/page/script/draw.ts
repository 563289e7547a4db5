// What the pictures of a page are drawn with.
export const drawScript = String.raw`
const $ = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';

function number(x, digits = 3) {
  if (x === null || Number.isNaN(x)) return '\u2013';
  if (x === 0) return '0';
  const size = Math.abs(x);
  const text = size < 1e-3 || size >= 1e5 ? x.toExponential(digits - 1) : String(Number(x.toPrecision(digits)));
  return text.replace('-', '\u2212');
}

/** Less than half a thousandth is what 16 bits have left of nothing. */
function percent(x) {
  if (x === null || Number.isNaN(x)) return '\u2013';
  if (Math.abs(x) < 5e-4) return '0 %';
  return (100 * x).toFixed(Math.abs(x) < 0.0995 ? 1 : 0).replace('-', '\u2212') + ' %';
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

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Cells by sign: above zero filled, below zero in the other colour with a bar through them where there is room. */
function heat(canvas, rows, columns, data, limit, room) {
  const cell = Math.max(1, Math.floor(Math.min(28, room / columns)));
  const high = canvas.dataset.high ? Number(canvas.dataset.high) : cell;
  canvas.width = columns * cell;
  canvas.height = rows * high;
  const context = canvas.getContext('2d');
  const [plus, minus, card] = [colour(canvas.dataset.colour || '--plus'), colour('--minus'), colour('--card')];
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
    if (!canvas.cells) return;
    const { rows, columns, data } = canvas.cells;
    place = { i: Math.max(0, Math.min(rows - 1, place.i)), j: Math.max(0, Math.min(columns - 1, place.j)) };
    output.textContent = describe(place.i, place.j, data[place.i * columns + place.j]);
  };
  canvas.addEventListener('pointermove', (event) => {
    if (!canvas.cells) return;
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
`;
