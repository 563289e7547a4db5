// The token that is looked at: its write, what became of it, what its query reads.
export const tokenScript = String.raw`
const STRIPS = ['before', 'value', 'after', 'now', 'output'];
const LISTED = 6;

function showToken() {
  const t = lookedAt();
  $('write').hidden = t < 0;
  $('unwritten').hidden = t >= 0;
  $('token').textContent = t < 0 ? 'The token' : nameOf(t);
  $('token-step').textContent = t < 0 ? '' : 'step ' + (t + 1) + ' of ' + memory.steps;
  if (t < 0) return;
  const { V } = memory;
  const [key, value] = [memory.key[t], memory.value[t]];
  const before = stateAt(memory, t);
  const after = Float64Array.from(before);
  advance(after, memory, t);
  const shown = {
    before: read(before, key, V),
    value,
    after: read(after, key, V),
    now: read(matrix, key, V),
    output: memory.output[t],
  };
  const limit = Math.max(...['before', 'value', 'after', 'now'].map((name) => largest(shown[name])));
  for (const name of STRIPS) heat($('strip-' + name), 1, V, shown[name], name === 'output' ? largest(shown[name]) : limit, 520);
  showFacts(t, cosine(shown.now, value));
  showFate(t);
  list('reads', topOf(t + 1, (j) => memory.weights[t][j], 0, LISTED), (x) => (x > 0 ? '+' : '') + number(x));
  const start = memory.fromStart[t];
  $('from-start').textContent = start > 0 ? 'What it reads from before the first of these tokens is ' + number(start, 2) + ' times as long as all that it reads.' : '';
  list('overwrote', topOf(t, (j) => Math.max(0, tookOf(memory, t, j)), 0, LISTED), percent);
  list('overwritten', topOf(step, (s) => Math.max(0, tookOf(memory, s, t)), t + 1, LISTED), percent);
}

function showFacts(t, knownNow) {
  const facts = [
    ['known before', number(memory.knownBefore[t], 2)],
    ['known after', number(memory.knownAfter[t], 2)],
    ['known now', number(knownNow, 2)],
    ['size', number(memory.written[t], 2)],
  ];
  const rates = ratesOf(memory);
  if (rates.length > 1) for (const [name, values] of rates) facts.push(['rate of ' + name, number(values[t], 2)]);
  else if (memory.strength) facts.push(['strength', number(memory.strength[t], 2)]);
  if (memory.forgets) facts.push(['given up', percent(memory.forgets[t])]);
  $('write-facts').replaceChildren(...facts.map(([name, value]) => {
    const pair = element('div');
    pair.append(element('dt', {}, name), element('dd', {}, value));
    return pair;
  }));
}

function showFate(t) {
  const { kept, taken, faded } = fateOf(memory, t, step);
  const shares = { left: kept, overwritten: taken, faded };
  const sum = Object.values(shares).reduce((all, x) => all + Math.max(0, x || 0), 0) || 1;
  $('fate').replaceChildren(...Object.entries(shares).filter(([, x]) => x > 0.005 * sum).map(([name, x]) => {
    return element('span', { class: name, style: 'flex-grow:' + (x / sum).toFixed(4) });
  }));
  $('fate-words').textContent = Number.isNaN(kept)
    ? 'It wrote nothing that its key reads.'
    : 'Of what it wrote its key still reads ' + percent(kept) + '; ' + percent(taken) + ' was overwritten, ' + percent(faded) + ' has faded.';
}

/** Rows of a table, the largest first. */
function list(id, found, tell) {
  const most = largest(found.map(({ value }) => value)) || 1;
  $(id + '-none').hidden = found.length > 0;
  $(id).replaceChildren(...found.map(({ t, value }) => {
    const line = element('tr');
    const name = element('th', { scope: 'row' });
    const button = element('button', { type: 'button', class: 'goes', title: 'look at it' }, nameOf(t));
    button.addEventListener('click', () => lookAt(tokenOf(t)));
    name.append(button);
    const bar = element('td');
    const kind = id === 'reads' ? (value < 0 ? ' minus' : '') : ' taken';
    bar.append(element('span', { class: 'bar' + kind, style: 'width:' + Math.max(1, (100 * Math.abs(value)) / most).toFixed(1) + '%' }));
    line.append(name, element('td', {}, String(t + 1)), element('td', {}, tell(value)), bar);
    return line;
  }));
}

function listenToStrips() {
  for (const name of STRIPS) {
    readable($('strip-' + name), $('write-value'), (_, j, x) => $('label-' + name).textContent + ', component ' + (j + 1) + ': ' + number(x, 4));
  }
}
`;
