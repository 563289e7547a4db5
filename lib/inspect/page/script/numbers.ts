// The numbers of a page: unpacked, and the matrix followed to any step.
export const numbersScript = String.raw`
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
  const opened = {
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
    kept: unpack(m.kept, (j) => m.steps - j),
    taken: m.taken && unpack(m.taken, (j) => m.steps - j),
  };
  opened.limits = limitsOf(opened);
  return opened;
}

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

/** What the key x is answered. */
function read(S, x, V) {
  const y = new Float64Array(V);
  for (let i = 0; i < x.length; i++) for (let j = 0; j < V; j++) y[j] += x[i] * S[i * V + j];
  return y;
}

const largest = (values) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

function cosine(a, b) {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa * bb > 0 ? ab / Math.sqrt(aa * bb) : null;
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

/** Of what write j left, when so many steps are over: the shares that are there, that later writes took, and that have faded. */
function fateOf(m, j, steps) {
  const n = steps - 1 - j;
  const kept = m.kept[j][n];
  let taken = 0;
  if (m.taken) for (let i = 1; i <= n; i++) taken += m.taken[j][i];
  return { kept, taken, faded: 1 - kept - taken };
}

/** What step s took of write j. */
const tookOf = (m, s, j) => (m.taken && s > j ? m.taken[j][s - j] : 0);
`;
