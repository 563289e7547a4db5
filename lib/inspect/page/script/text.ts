// The text of a page, and below it the lane of its writes: how large each was, what is left of it, and arcs between them.
export const textScript = String.raw`
let spans = [];

function nameOf(t) {
  const n = memory.writesPerToken;
  const token = visible(page.tokens[tokenOf(t)]);
  return n > 1 ? token + ' (' + ((t % n) + 1) + '/' + n + ')' : token;
}

const visible = (token) => token.replace(/ /g, '\u2423').replace(/\n/g, '\u23ce').replace(/\t/g, '\u21e5');
const tokenOf = (t) => Math.floor(t / memory.writesPerToken);

/** The token that is looked at: one that was chosen, or the last one. */
const lookedAt = () => (chosen === null ? step - 1 : chosen);

function drawText() {
  spans = page.tokens.map((token, i) => {
    const span = element('span', {}, token === '\n' ? '\u23ce\n' : token);
    span.addEventListener('click', () => lookAt(i));
    return span;
  });
  $('text').replaceChildren(...spans);
}

/** By token: a number for each of its writes, added up. */
function byToken(numberOf) {
  const sums = new Float64Array(page.tokens.length);
  for (let t = 0; t < memory.steps; t++) sums[tokenOf(t)] += numberOf(t);
  return sums;
}

function showText() {
  const at = lookedAt();
  const now = tokenOf(at);
  const row = at >= 0 ? memory.weights[at] : [];
  const left = byToken((t) => (t < step ? Math.max(0, Math.min(1, fateOf(memory, t, step).kept)) || 0 : 0) / memory.writesPerToken);
  const reads = byToken((t) => (t < row.length ? row[t] : 0));
  const took = byToken((s) => (s < step ? tookOf(memory, s, at) : 0));
  const limit = largest(reads) || 1;
  spans.forEach((span, i) => {
    const share = i <= now ? reads[i] / limit : took[i];
    const seen = Math.abs(share) >= 0.05 && i !== now;
    const mark = i > now ? 'took' : share < 0 ? 'minus' : 'plus';
    span.className = [seen && mark, i === now && 'now', i > tokenOf(step - 1) && 'later'].filter(Boolean).join(' ');
    span.style.setProperty('--left', (0.62 * left[i]).toFixed(3));
    span.style.setProperty('--s', Math.min(1, 0.25 + 0.75 * Math.abs(share)).toFixed(2));
    const more = i < now ? ', read with weight ' + number(reads[i]) : i > now && took[i] ? ', took ' + percent(took[i]) + ' of the chosen one' : '';
    span.title = 'token ' + (i + 1) + ': ' + percent(left[i]) + ' left' + more;
  });
  const shown = spans[Math.max(0, now)];
  const box = $('text');
  if (shown && (shown.offsetTop < box.scrollTop || shown.offsetTop + shown.offsetHeight > box.scrollTop + box.clientHeight)) {
    box.scrollTop = shown.offsetTop - box.clientHeight / 2;
  }
}

const LANE = { arcs: 76, writes: 30, gap: 6, fates: 52 };
const ARCS = 32;

function drawLane() {
  const canvas = $('lane');
  const wide = canvas.clientWidth;
  const high = LANE.arcs + LANE.writes + LANE.gap + LANE.fates;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(wide * ratio);
  canvas.height = Math.round(high * ratio);
  canvas.style.height = high + 'px';
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  const [text, soft, rule, kept, taken, faded] = ['--text', '--soft', '--rule', '--kept', '--taken', '--faded'].map(colour);
  const width = wide / memory.steps;
  const bar = (j, y, height) => context.fillRect(j * width, y, Math.max(0.75, width - (width > 3 ? 1 : 0)), height);
  const size = memory.written.reduce((most, x) => Math.max(most, x || 0), 0) || 1;
  const base = LANE.arcs + LANE.writes;
  const top = base + LANE.gap;
  const bottom = top + LANE.fates;
  const at = lookedAt();
  for (let j = 0; j < memory.steps; j++) {
    const height = (LANE.writes * (memory.written[j] || 0)) / size;
    context.globalAlpha = j < step ? 1 : 0.3;
    context.fillStyle = j === at ? text : soft;
    bar(j, base - height, height);
    if (j >= step) continue;
    const fate = fateOf(memory, j, step);
    if (Number.isNaN(fate.kept)) continue;
    const share = Math.max(0, Math.min(1, fate.kept));
    const lost = Math.max(0, Math.min(1 - share, fate.taken));
    context.fillStyle = 'rgb(' + faded + ')';
    bar(j, top, LANE.fates);
    context.fillStyle = 'rgb(' + taken + ')';
    bar(j, bottom - (share + lost) * LANE.fates, lost * LANE.fates);
    context.fillStyle = 'rgb(' + kept + ')';
    bar(j, bottom - share * LANE.fates, share * LANE.fates);
  }
  context.globalAlpha = 1;
  context.fillStyle = rule;
  context.fillRect(0, base + 1, wide, 1);
  if (at < 0) return;
  context.strokeStyle = text;
  context.lineWidth = 2;
  context.strokeRect(Math.max(1, at * width - 1), base - LANE.writes - 1, Math.max(3, width + 1), LANE.writes + LANE.gap + LANE.fates);
  const arc = (j, share, paint, dashes) => {
    const [from, to] = [(at + 0.5) * width, (j + 0.5) * width];
    const height = 8 + (LANE.arcs - 12) * Math.sqrt(Math.abs(from - to) / wide);
    context.beginPath();
    context.setLineDash(dashes);
    context.globalAlpha = 0.2 + 0.75 * share;
    context.strokeStyle = 'rgb(' + paint + ')';
    context.lineWidth = 0.75 + 3.25 * share;
    context.moveTo(from, LANE.arcs - 2);
    context.bezierCurveTo(from, LANE.arcs - 1.33 * height, to, LANE.arcs - 1.33 * height, to, LANE.arcs - 2);
    context.stroke();
  };
  const sources = topOf(at, (j) => memory.weights[at][j], 0, ARCS);
  const most = largest(sources.map(({ value }) => value)) || 1;
  for (const { t, value } of sources.reverse()) {
    if (Math.abs(value) < 0.05 * most) continue;
    arc(t, Math.abs(value) / most, colour(value < 0 ? '--minus' : '--plus'), value < 0 ? [4, 3] : []);
  }
  for (const { t, value } of topOf(step, (s) => Math.max(0, tookOf(memory, s, at)), at + 1, ARCS).reverse()) {
    if (value >= 0.01) arc(t, Math.min(1, value), taken, []);
  }
  context.globalAlpha = 1;
}

/** Those of the steps from..to - 1 with the largest numbers, in magnitude. */
function topOf(to, numberOf, from, most) {
  const found = [];
  for (let t = from; t < to; t++) {
    const value = numberOf(t);
    if (value) found.push({ t, value });
  }
  return found.sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, most);
}

const stepUnder = (event) => {
  const box = $('lane').getBoundingClientRect();
  return Math.max(0, Math.min(memory.steps - 1, Math.floor(((event.clientX - box.left) / box.width) * memory.steps)));
};

function tellLane(t) {
  if (t >= step) return ($('lane-value').textContent = 'step ' + (t + 1) + ' (' + nameOf(t) + ') is still to come');
  const { kept, taken, faded } = fateOf(memory, t, step);
  $('lane-value').textContent =
    'step ' + (t + 1) + ' (' + nameOf(t) + '): wrote ' + number(memory.written[t]) +
    (Number.isNaN(kept) ? ', nothing that its key reads' : '; ' + percent(kept) + ' left, ' + percent(taken) + ' overwritten, ' + percent(faded) + ' faded');
}

/** Left and right, from the text and from the lane. */
function walk(event) {
  const last = tokenOf(step - 1);
  const to = { ArrowLeft: tokenOf(lookedAt()) - 1, ArrowRight: tokenOf(lookedAt()) + 1, Home: 0, End: last, Escape: last }[event.key];
  if (to === undefined || step === 0) return;
  event.preventDefault();
  lookAt(Math.max(0, Math.min(last, to)));
  tellLane(lookedAt());
}

function listenToText() {
  for (const id of ['text', 'lane']) $(id).addEventListener('keydown', (event) => memory && walk(event));
  $('lane').addEventListener('pointermove', (event) => memory && tellLane(stepUnder(event)));
  $('lane').addEventListener('click', (event) => memory && lookAt(tokenOf(stepUnder(event))));
}
`;
