// Newer rules with several states, and without vectors, each against two loops over its equations.
import * as fw from '../../lib';
import type { HostInputs } from '../support/ruleInputs';
import { B, H, K, T, V, calledWith, keyed, outer, overHeads, perHead, wide, write } from '../support/ruleLoops';
import { byToken, describeLoops, heads, readRows, zeroRows } from '../support/twoLoops';

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
