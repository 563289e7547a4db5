// LaCT against two loops over its equations: gradients by hand on numbers, and by the tape on tensors.
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { B, type Call, H, K, T, V, calledWith, keyed, perHead, sigmoid } from '../support/ruleLoops';
import { byToken, describeLoops, dot, heads, readRows, zeroRows } from '../support/twoLoops';

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
