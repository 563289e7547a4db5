// Newer rules of which there are no vectors, each against two loops over its equations.
import * as fw from '../../lib';
import {
  byToken,
  describeLoops,
  dot,
  heads,
  type Nested,
  readRows,
  type TwoLoops,
  zeroRows,
} from '../support/twoLoops';
import type { Draw, HostInputs } from '../support/ruleInputs';
import type { Target } from '../support/golden';

const { B, T, H, K, V } = { B: 2, T: 9, H: 2, K: 3, V: 4 };
type Named = Record<string, fw.Tensor>;

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const keyed = (d: Draw): HostInputs => ({
  q: d.uniform([B, T, H, K], -1, 1),
  k: d.uniform([B, T, H, K], -1, 1),
  v: d.uniform([B, T, H, V], -1, 1),
});
const perHead = (d: Draw, low: number, high: number): HostInputs[string] => d.uniform([B, T, H], low, high);

type Vectors = Record<string, number[]>;
type Numbers = Record<string, number>;

/** A loop over the heads of all sequences: `token` changes the state's rows and returns what is read. */
function overHeads(
  inputs: Nested,
  token: (S: number[][], vectors: Vectors, numbers: Numbers) => number[],
): Record<string, number[]> {
  const lists = Object.entries(inputs).map(([name, x]) => [name, heads<number | number[]>(x)] as const);
  const finals: number[] = [];
  const outputs = Array.from({ length: B * H }, (_, n) => {
    const S = zeroRows(K, V);
    const found = Array.from({ length: T }, (_, t) => {
      const x = Object.fromEntries(lists.map(([name, list]) => [name, list[n][t]]));
      return token(S, x as Vectors, x as Numbers);
    });
    finals.push(...S.flat());
    return found.map((o) => o.map((x) => x * K ** -0.5));
  });
  return { output: byToken(outputs, B, H), finalState: finals };
}

/** S += w x^T on rows. */
function write(S: number[][], w: readonly number[], x: readonly number[]): void {
  S.forEach((row, i) => row.forEach((_, j) => (row[j] += w[i] * x[j])));
}

/** A loop on tensors [B, H, ...]: `token` gives the transposed state [B, H, V, K] after it. */
function overTokens(inputs: Named, token: (W: fw.Tensor, x: Named) => fw.Tensor): Named {
  let W = fw.zeros([B, H, V, K], { device: 'js', dtype: 'float64' });
  const outputs: fw.Tensor[] = [];
  for (let t = 0; t < T; t++) {
    const x = Object.fromEntries(Object.entries(inputs).map(([name, all]) => [name, all.select(1, t)]));
    W = token(W, x);
    outputs.push(fw.einsum('bhvk,bhk->bhv', W, x.q).mul(K ** -0.5));
  }
  return { output: fw.stack(outputs, 1), finalState: W.transpose(2, 3) };
}

const outer = (x: fw.Tensor, k: fw.Tensor): fw.Tensor => fw.einsum('bhv,bhk->bhvk', x, k);
const answers = (W: fw.Tensor, k: fw.Tensor): fw.Tensor => fw.einsum('bhvk,bhk->bhv', W, k);
const wide = (x: fw.Tensor, dims = 1): fw.Tensor => (dims === 0 ? x : wide(x.unsqueeze(-1), dims - 1));

type Call = (q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object) => Named;
type Step = (q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object) => fw.Tensor;

/** How a rule over q, k and v is called: all results, and a token with the one state that most have. */
function called(rule: unknown, more: object = {}): Pick<TwoLoops, 'rule' | 'step' | 'empty'> {
  const step = (rule as { step: Step }).step;
  return {
    rule: ({ q, k, v, ...gates }) => (rule as Call)(q, k, v, { ...gates, ...more, outputFinalState: true }),
    step: ({ q, k, v, ...gates }, { finalState: state }) => step(q, k, v, { ...gates, ...more, state }),
    empty: (where: Target) => ({ finalState: fw.zeros([B, H, K, V], where) }),
  };
}

/** The same where states have names. */
function calledWith(
  rule: unknown,
  states: Record<string, (where: Target) => fw.Tensor>,
  more: object = {},
): Pick<TwoLoops, 'rule' | 'step' | 'empty'> {
  const step = (rule as { step: Step }).step;
  const finalOf = (name: string): string => `final${name[0].toUpperCase()}${name.slice(1)}`;
  return {
    ...called(rule, more),
    step({ q, k, v, ...gates }, results) {
      const state = Object.fromEntries(Object.keys(states).map((name) => [name, results[finalOf(name)]]));
      return step(q, k, v, { ...gates, ...more, state });
    },
    empty: (where) =>
      Object.fromEntries(Object.entries(states).map(([name, make]) => [finalOf(name), make(where)] as const)),
  };
}

describeLoops({
  title: 'efla',
  // Some keys next to nothing, some flows that end where they lead to.
  draw: (d) => {
    const inputs: HostInputs = { ...keyed(d), beta: perHead(d, 0, 3) };
    inputs.k.data.forEach((x, i) => (inputs.k.data[i] = Math.fround(x * [1, 1e-3, 0, 5][Math.floor(i / K) % 4])));
    return inputs;
  },
  numbers: (inputs) =>
    overHeads(inputs, (S, { q, k, v }, { beta }) => {
      const n = dot(k, k);
      const a = n === 0 ? beta : -Math.expm1(-beta * n) / n;
      const known = readRows(S, k);
      write(
        S,
        k,
        v.map((x, j) => a * (x - known[j])),
      );
      return readRows(S, q);
    }),
  tensors: (inputs) =>
    overTokens(inputs, (W, { k, v, beta }) => {
      // exp(-beta k k^T) as a matrix, by its series of scaled and squared steps, and the integral of it over the flow.
      const A = outer(k, k)
        .mul(wide(beta, 2))
        .mul(2 ** -10);
      const one = fw.eye(K, { device: 'js', dtype: 'float64' });
      let [power, mean] = [one.expand(B, H, K, K), one.expand(B, H, K, K)];
      let term = power;
      for (let n = 1; n < 9; n++) {
        term = term.matmul(A).mul(-1 / n);
        power = power.add(term);
        mean = mean.add(term.mul(1 / (n + 1)));
      }
      for (let n = 0; n < 10; n++) {
        mean = mean.add(mean.matmul(power)).mul(0.5);
        power = power.matmul(power);
      }
      return W.matmul(power).add(outer(v, fw.einsum('bhij,bhj->bhi', mean, k)).mul(wide(beta, 2)));
    }),
  ...called(fw.efla),
});

describeLoops({
  title: 'qDeltaRule',
  draw: (d) => ({
    ...keyed(d),
    queryShare: perHead(d, 0, 1),
    beta: perHead(d, 0, 1),
    gate: perHead(d, -1, 0),
  }),
  numbers: (inputs) =>
    overHeads(inputs, (S, { q, k, v }, { queryShare, beta, gate }) => {
      S.forEach((row) => row.forEach((x, j) => (row[j] = Math.exp(gate) * x)));
      const known = readRows(
        S,
        k.map((x, i) => x + queryShare * q[i]),
      );
      write(
        S,
        k,
        v.map((x, j) => beta * (x - known[j])),
      );
      return readRows(S, q);
    }),
  tensors: (inputs) =>
    overTokens(inputs, (W, { q, k, v, queryShare, beta, gate }) => {
      const decayed = W.mul(wide(gate.exp(), 2));
      const erased = outer(answers(decayed, k).add(answers(decayed, q).mul(wide(queryShare))), k);
      return decayed.add(outer(v, k).sub(erased).mul(wide(beta, 2)));
    }),
  ...called(fw.qDeltaRule),
});

describeLoops({
  title: 'kaczmarzAttention',
  draw: (d) => ({ ...keyed(d), eta: perHead(d, 0, 1), gate: perHead(d, -1, 0) }),
  numbers: (inputs) =>
    overHeads(inputs, (S, { q, k, v }, { eta, gate }) => {
      S.forEach((row) => row.forEach((x, j) => (row[j] = Math.exp(gate) * x)));
      const known = readRows(S, k);
      write(
        S,
        k,
        v.map((x, j) => (eta / (dot(k, k) + 0.01)) * (x - known[j])),
      );
      return readRows(S, q);
    }),
  tensors: (inputs) =>
    overTokens(inputs, (W, { k, v, eta, gate }) => {
      const direction = k.div(fw.einsum('bhk,bhk->bh', k, k).add(0.01).unsqueeze(-1));
      const one = fw.eye(K, { device: 'js', dtype: 'float64' });
      const left = one.sub(outer(direction, k).transpose(2, 3).mul(wide(eta, 2)));
      const after = W.mul(wide(gate.exp(), 2)).matmul(left.transpose(2, 3));
      return after.add(outer(v.mul(wide(eta)), direction));
    }),
  ...called(fw.kaczmarzAttention, { eps: 0.01 }),
});

describeLoops({
  title: 'rodimus',
  draw: (d) => ({
    ...keyed(d),
    gateLogit: d.uniform([B, T, H, K], -40, 4),
    temperatureLogit: d.uniform([B, T, H, K], -2, 2),
  }),
  numbers: (inputs) =>
    overHeads(inputs, (S, { q, k, v, gateLogit, temperatureLogit }) => {
      const soft = gateLogit.map((g) => Math.log1p(Math.exp(g)));
      const tau = temperatureLogit.map(sigmoid);
      S.forEach((row, i) => row.forEach((x, j) => (row[j] = Math.exp(-soft[i] * tau[i]) * x)));
      write(
        S,
        k.map((x, i) => (x / Math.sqrt(dot(k, k))) * soft[i] ** tau[i]),
        v,
      );
      return readRows(S, q);
    }),
  tensors: ({ q, k, v, gateLogit, temperatureLogit }) => {
    // What each query finds of each write, all at once.
    const tau = fw.tensor([1], { device: 'js', dtype: 'float64' }).div(temperatureLogit.neg().exp().add(1));
    const soft = gateLogit.exp().log1p();
    const total = soft.mul(tau).cumsum(1);
    const keys = k.div(k.square().sum(-1, true).sqrt()).mul(soft.pow(tau));
    const left = total.unsqueeze(1).sub(total.unsqueeze(2)).exp();
    const seen = fw.tril(fw.ones([T, T], { device: 'js', dtype: 'float64' })).reshape(1, T, T, 1, 1);
    const met = q.unsqueeze(2).mul(left.mul(seen)).mul(keys.unsqueeze(1)).sum(-1);
    const lasting = total
      .sub(total.slice(1, T - 1))
      .exp()
      .mul(keys);
    return {
      output: fw.einsum('btsh,bshv->bthv', met, v).mul(K ** -0.5),
      finalState: fw.einsum('bshk,bshv->bhkv', lasting, v),
    };
  },
  ...called(fw.rodimus),
});

describeLoops({
  title: 'momentumDeltaRule',
  draw: (d) => {
    const gates = (low: number, high: number): HostInputs[string] => d.uniform([B, T, 2 * H, 1], low, high);
    const drawn = { gate: gates(-1, 0), momentumGate: gates(-2, 0), beta: gates(0, 1), eta: gates(0, 2) };
    const scalars = Object.entries(drawn).map(([name, x]) => [name, { ...x, shape: [B, T, 2 * H] }] as const);
    return {
      ...keyed(d),
      v: d.uniform([B, T, 2 * H, V], -1, 1),
      p: d.uniform([B, T, H, K], -0.5, 0.5),
      ...Object.fromEntries(scalars),
    };
  },
  numbers: ({ q, k, p, v, gate, momentumGate, beta, eta }) => {
    const twice = (x: unknown): number[][][] => heads<number[]>(x).flatMap((list) => [list, list]);
    const [qs, ks, ps] = [q, k, p].map(twice);
    const [as, ms, bs, es] = [gate, momentumGate, beta, eta].map((x) => heads<number>(x));
    const [finalState, finalMomentum]: number[][] = [[], []];
    const outputs = heads<number[]>(v).map((list, n) => {
      const [S, M] = [zeroRows(K, V), zeroRows(K, V)];
      const found = list.map((value, t) => {
        const known = readRows(S, ps[n][t]);
        for (let i = 0; i < K; i++)
          for (let j = 0; j < V; j++) {
            M[i][j] = Math.exp(ms[n][t]) * M[i][j] - es[n][t] * ks[n][t][i] * (value[j] - known[j]);
            S[i][j] = Math.exp(as[n][t]) * S[i][j] - bs[n][t] * M[i][j];
          }
        return readRows(S, qs[n][t]).map((x) => x * 0.5);
      });
      finalState.push(...S.flat());
      finalMomentum.push(...M.flat());
      return found;
    });
    return { output: byToken(outputs, B, 2 * H), finalState, finalMomentum };
  },
  tensors: ({ q, k, p, v, gate, momentumGate, beta, eta }) => {
    // Every past error is a write of its own, which has reached the memory along all paths through the momentum.
    const at = (x: fw.Tensor, t: number): fw.Tensor => x.select(1, t);
    const twice = (x: fw.Tensor): fw.Tensor => x.repeatInterleave(2, 1);
    const writes: fw.Tensor[] = [];
    const [inMomentum, inState]: fw.Tensor[][] = [[], []];
    const sumOf = (weights: fw.Tensor[]): fw.Tensor =>
      weights.map((w, s) => writes[s].mul(wide(w, 2))).reduce((a, b) => a.add(b));
    const outputs: fw.Tensor[] = [];
    for (let t = 0; t < T; t++) {
      const known = t === 0 ? at(v, t).mul(0) : fw.einsum('bhkv,bhk->bhv', sumOf(inState), twice(at(p, t)));
      writes.push(outer(at(v, t).sub(known), twice(at(k, t))).transpose(2, 3));
      for (let s = 0; s < t; s++) inMomentum[s] = inMomentum[s].mul(at(momentumGate, t).exp());
      inMomentum.push(at(eta, t).neg());
      for (let s = 0; s <= t; s++) {
        const added = inMomentum[s].mul(at(beta, t)).neg();
        inState[s] = s === t ? added : inState[s].mul(at(gate, t).exp()).add(added);
      }
      outputs.push(fw.einsum('bhkv,bhk->bhv', sumOf(inState), twice(at(q, t))).mul(0.5));
    }
    return { output: fw.stack(outputs, 1), finalState: sumOf(inState), finalMomentum: sumOf(inMomentum) };
  },
  ...calledWith(
    fw.momentumDeltaRule,
    {
      state: (where) => fw.zeros([B, 2 * H, K, V], where),
      momentum: (where) => fw.zeros([B, 2 * H, K, V], where),
    },
    { scale: 0.5 },
  ),
});

describeLoops({
  title: 'lightNet',
  draw: (d) => ({ ...keyed(d), k: d.uniform([B, T, H, K], -20, 20) }),
  numbers: (inputs) => {
    const logSums: number[] = [];
    let z: number[] = [];
    let tokens = 0;
    const found = overHeads(inputs, (S, { q, k, v }) => {
      if (tokens++ % T === 0) z = new Array<number>(K).fill(-Infinity);
      const next = z.map((x, i) => Math.max(x, k[i]) + Math.log1p(Math.exp(-Math.abs(x - k[i]))));
      S.forEach((row, i) => row.forEach((x, j) => (row[j] = Math.exp(z[i] - next[i]) * x)));
      write(
        S,
        next.map((x, i) => Math.exp(k[i] - x)),
        v,
      );
      z = next;
      if (tokens % T === 0) logSums.push(...z);
      return readRows(S, q);
    });
    return { ...found, finalLogSum: logSums };
  },
  tensors: ({ q, k, v }) => {
    // A softmax over the tokens so far, of every channel, for every query.
    const seen = fw.tril(fw.ones([T, T], { device: 'js', dtype: 'float64' })).reshape(1, T, T, 1, 1);
    const logs = k.unsqueeze(1).add(seen.log());
    const shares = logs.softmax(2);
    const read = fw.einsum('bthk,btshk,bshv->bthv', q, shares, v);
    return {
      output: read.mul(K ** -0.5),
      finalState: fw.einsum('bshk,bshv->bhkv', shares.select(1, T - 1), v),
      finalLogSum: k.logsumexp(1),
    };
  },
  ...calledWith(fw.lightNet, {
    state: (where) => fw.zeros([B, H, K, V], where),
    logSum: (where) => fw.full([B, H, K], -Infinity, where),
  }),
});

const M = 3;

describeLoops({
  title: 'mixtureOfMemories',
  draw: (d) => ({
    ...keyed(d),
    v: d.uniform([B, T, M, H, V], -1, 1),
    beta: d.uniform([B, T, M, H], 0, 1),
    gate: perHead(d, -1, 0),
    router: d.uniform([B, T, M], -1, 1),
    sharedK: d.uniform([B, T, H, K], -1, 1),
    sharedV: d.uniform([B, T, H, V], -1, 1),
    sharedBeta: perHead(d, 0, 1),
    sharedGate: perHead(d, -1, 0),
  }),
  numbers(inputs) {
    type Rows = number[][][];
    const { q, k, sharedK, sharedV } = inputs as Record<string, Rows[]>;
    const { gate, router, sharedBeta, sharedGate } = inputs as Record<string, Rows>;
    const [v, beta] = [inputs.v as Rows[][], inputs.beta as Rows[]];
    const [output, finalState, finalSharedState]: number[][] = [[], [], []];
    for (let b = 0; b < B; b++) {
      const bank = Array.from({ length: M + 1 }, () => Array.from({ length: H }, () => zeroRows(K, V)));
      for (let t = 0; t < T; t++) {
        const ranked = router[b][t].map((x, m): [number, number] => [Math.exp(x), m]);
        const best = ranked.sort(([x], [y]) => y - x).slice(0, 2);
        const total = best[0][0] + best[1][0];
        for (let h = 0; h < H; h++) {
          const o = new Array<number>(V).fill(0);
          const visit = (S: number[][], share: number, key: number[], value: number[], rates: number[]): void => {
            const [strength, log] = rates;
            S.forEach((row) => row.forEach((x, j) => (row[j] = Math.exp(log) * x)));
            const known = readRows(S, key);
            const error = value.map((x, j) => strength * (x - known[j]));
            write(S, key, error);
            readRows(S, q[b][t][h]).forEach((x, j) => (o[j] += share * x * K ** -0.5));
          };
          for (const [weight, m] of best)
            visit(bank[m][h], weight / total, k[b][t][h], v[b][t][m][h], [beta[b][t][m][h], gate[b][t][h]]);
          visit(bank[M][h], 1, sharedK[b][t][h], sharedV[b][t][h], [sharedBeta[b][t][h], sharedGate[b][t][h]]);
          output.push(...o);
        }
      }
      finalState.push(...bank.slice(0, M).flat(3));
      finalSharedState.push(...bank[M].flat(2));
    }
    return { output, finalState, finalSharedState };
  },
  tensors: ({ q, k, v, beta, gate, router, sharedK, sharedV, sharedBeta, sharedGate }) => {
    // All memories are written, and what was not chosen is taken back.
    const least = router.topk(2).values.slice(2, 1);
    const chosen = router.detach().ge(least.detach()).to('float64');
    const shares = router.exp().mul(chosen);
    const weights = shares.div(shares.sum(-1, true));
    const one = fw.ones([B, T, 1], { device: 'js', dtype: 'float64' });
    const all = (x: fw.Tensor, shared: fw.Tensor): fw.Tensor =>
      fw.cat([x.ndim > shared.ndim ? x : x.unsqueeze(2).expand(B, T, M, ...x.shape.slice(2)), shared.unsqueeze(2)], 2);
    const tokens = {
      k: all(k, sharedK),
      v: all(v, sharedV),
      beta: all(beta, sharedBeta),
      gate: all(gate, sharedGate),
      mask: fw.cat([chosen, one], 2),
      share: fw.cat([weights, one], 2),
    };
    let S = fw.zeros([B, M + 1, H, K, V], { device: 'js', dtype: 'float64' });
    const outputs: fw.Tensor[] = [];
    for (let t = 0; t < T; t++) {
      const x = Object.fromEntries(
        Object.entries(tokens).map(([name, all]) => [name, all.select(1, t)]),
      ) as typeof tokens;
      const decayed = S.mul(wide(x.gate.exp(), 2));
      const error = x.v.sub(fw.einsum('bmhkv,bmhk->bmhv', decayed, x.k)).mul(wide(x.beta));
      const after = decayed.add(fw.einsum('bmhk,bmhv->bmhkv', x.k, error));
      S = S.add(after.sub(S).mul(wide(x.mask, 3)));
      outputs.push(fw.einsum('bmhkv,bhk,bm->bhv', S, q.select(1, t), x.share).mul(K ** -0.5));
    }
    return { output: fw.stack(outputs, 1), finalState: S.slice(1, 0, M), finalSharedState: S.select(1, M) };
  },
  ...calledWith(fw.mixtureOfMemories, {
    state: (where) => fw.zeros([B, M, H, K, V], where),
    sharedState: (where) => fw.zeros([B, H, K, V], where),
  }),
});

const CHUNK = 4;
const WIDTH = 5;
const STEPS = [
  [4.0848, -6.8946, 2.927],
  [3.9505, -6.3029, 2.6377],
  [3.7418, -5.5913, 2.3037],
  [2.8769, -3.1427, 1.2046],
  [2.8366, -3.0525, 1.2012],
];

const times = (a: number[][], b: number[][]): number[][] => a.map((row) => readRows(b, row));
const turned = (a: number[][]): number[][] => a[0].map((_, j) => a.map((row) => row[j]));
const combine = (a: number[][], b: number[][], f: (x: number, y: number) => number): number[][] =>
  a.map((row, i) => row.map((x, j) => f(x, b[i][j])));

/** Newton-Schulz as polynomials of X^T X, on the right. */
function nearlyOrthogonal(G: number[][]): number[][] {
  const norm = Math.sqrt(G.flat().reduce((sum, x) => sum + x * x, 0)) + 1e-7;
  return STEPS.reduce(
    (X, [a, b, c]) => {
      const gram = times(turned(X), X);
      const square = times(gram, gram);
      const factor = combine(gram, square, (x, y) => b * x + c * y);
      return combine(X, times(X, factor), (x, y) => a * x + y);
    },
    G.map((row) => row.map((x) => x / norm)),
  );
}

const silu = (x: number): number => x * sigmoid(x);

for (const muon of [true, false]) {
  describeLoops({
    title: `lact, ${muon ? 'with Muon' : 'plain'}`,
    draw: (d) => ({
      ...keyed(d),
      // Muon turns what is small beside the rest of a gradient into as much: what is nearly singular would be rounding.
      rate0: perHead(d, 0.3, 0.5),
      rate1: perHead(d, 0.3, 0.5),
      rate2: perHead(d, 0.3, 0.5),
      ...(muon && { momentum: perHead(d, 0, 1) }),
      w0: d.uniform([H, WIDTH, K], -1, 1),
      w1: d.uniform([H, V, WIDTH], -1, 1),
      w2: d.uniform([H, WIDTH, K], -1, 1),
    }),
    numbers(inputs) {
      const [qs, ks, vs] = [inputs.q, inputs.k, inputs.v].map((x) => heads<number[]>(x));
      const rates = [inputs.rate0, inputs.rate1, inputs.rate2].map((x) => heads<number>(x));
      const kept = muon ? heads<number>(inputs.momentum) : null;
      const first = [inputs.w0, inputs.w1, inputs.w2] as number[][][][];
      const finalShift: number[] = [];
      const outputs = qs.map((tokens, n) => {
        const start = first.map((w) => w[n % H]);
        let W = start;
        let M = start.map((w) => zeroRows(w.length, w[0].length));
        let G = M;
        const parts = (x: number[]): { g: number[]; u: number[]; h: number[] } => {
          const [g, u] = [W[0], W[2]].map((w) => w.map((row) => dot(row, x)));
          return { g, u, h: g.map((y, i) => silu(y) * u[i]) };
        };
        const found = tokens.map((q, t) => {
          const output = W[1].map((row) => dot(row, parts(q).h));
          const { g, u, h } = parts(ks[n][t]);
          const [k, v] = [ks[n][t], vs[n][t]];
          const back = readRows(W[1], v);
          const slope = g.map((y) => sigmoid(y) + y * sigmoid(y) * (1 - sigmoid(y)));
          const own = [
            g.map((_, i) => k.map((x) => rates[0][n][t] * back[i] * u[i] * slope[i] * x)),
            v.map((x) => h.map((y) => rates[1][n][t] * x * y)),
            g.map((y, i) => k.map((x) => rates[2][n][t] * back[i] * silu(y) * x)),
          ];
          G = G.map((sum, i) => combine(sum, own[i], (x, y) => x + y));
          if ((t + 1) % CHUNK > 0) return output;
          const mean = kept ? kept[n].slice(t + 1 - CHUNK, t + 1).reduce((a, b) => a + b) / CHUNK : 0;
          M = G.map((sum, i) => combine(sum, M[i], (x, y) => x + mean * y));
          W = W.map((w, i) => {
            const moved = combine(w, muon ? nearlyOrthogonal(M[i]) : M[i], (x, y) => x + y);
            return moved.map((row, r) => {
              const length = Math.hypot(...start[i][r]) / (Math.hypot(...row) + 1e-5);
              return row.map((x) => x * length);
            });
          });
          G = start.map((w) => zeroRows(w.length, w[0].length));
          return output;
        });
        const gained = W.map((w, i) => combine(w, start[i], (x, y) => x - y));
        for (let m = 0; m < WIDTH; m++) finalShift.push(...gained[0][m], ...turned(gained[1])[m], ...gained[2][m]);
        return found;
      });
      return { output: byToken(outputs, B, H), finalShift };
    },
    tensors({ q, k, v, rate0, rate1, rate2, momentum, w0, w1, w2 }) {
      // The gradient of what is taught by the tape, which the gradients of this gradient pass through.
      const first = [w0, w1, w2].map((w) => w.unsqueeze(0).expand(B, ...w.shape));
      let W = first;
      let M: fw.Tensor[] | null = null;
      const outputs: fw.Tensor[] = [];
      const read = ([a, b, c]: fw.Tensor[], x: fw.Tensor): fw.Tensor => {
        const [gate, up] = [a, c].map((w) => fw.einsum('bhmk,bthk->bthm', w, x));
        return fw.einsum('bhvm,bthm->bthv', b, gate.mul(gate.sigmoid()).mul(up));
      };
      for (let from = 0; from < T; from += CHUNK) {
        const to = Math.min(T, from + CHUNK);
        const [qs, ks, vs] = [q, k, v].map((x) => x.slice(1, from, to));
        outputs.push(read(W, qs));
        if (to - from < CHUNK) break;
        const taught = [rate0, rate1, rate2].map((rate, i) =>
          fw.enableGrad(() => {
            const own = W.map((w) =>
              w.requiresGrad
                ? w
                : fw.tensor(w.dataSync(), { shape: w.shape, device: 'js', dtype: 'float64', requiresGrad: true }),
            );
            const gain = read(own, ks)
              .mul(vs)
              .mul(rate.slice(1, from, to).unsqueeze(-1))
              .sum();
            return fw.gradients(gain, own[i], { createGraph: true, retainGraph: true })[0];
          }),
        );
        const mean = momentum?.slice(1, from, to).mean(1).reshape(B, H, 1, 1);
        M = taught.map((g, i) => (M && mean ? g.add(M[i].mul(mean)) : g));
        W = W.map((w, i) => {
          let D = M![i];
          if (muon) {
            D = D.div(D.square().sum([-2, -1], true).sqrt().add(1e-7));
            for (const [a, b, c] of STEPS) {
              const cubed = D.matmul(D.transpose(2, 3)).matmul(D);
              D = D.mul(a)
                .add(cubed.mul(b))
                .add(D.matmul(D.transpose(2, 3)).matmul(cubed).mul(c));
            }
          }
          const moved = w.add(D);
          const [now, then] = [moved, first[i]].map((x) => x.square().sum(-1, true).sqrt());
          return moved.div(now.add(1e-5)).mul(then);
        });
      }
      const [a, b, c] = W.map((w, i) => w.sub(first[i]));
      return { output: fw.cat(outputs, 1), finalShift: fw.cat([a, b.transpose(2, 3), c], 3) };
    },
    ...calledWith(
      fw.lact,
      {
        shift: (where) => fw.zeros([B, H, WIDTH, 2 * K + V], where),
        pending: (where) => fw.zeros([B, H, WIDTH, 2 * K + V], where),
        tally: (where) => fw.zeros([B, H, 2], where),
        ...(muon && { direction: (where: Target) => fw.zeros([B, H, WIDTH, 2 * K + V], where) }),
      },
      { chunkSize: CHUNK, muon },
    ),
    rule: ({ q, k, v, ...rest }) => {
      const options = { ...rest, chunkSize: CHUNK, muon, outputFinalState: true };
      const { output, finalShift } = (fw.lact as unknown as Call)(q, k, v, options);
      return { output, finalShift };
    },
  });
}
