// The layer of LaCT against two loops over its equations that were written apart: on numbers, and on tensors by the tape.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectClose } from '../support/tolerance';

const where = { device: 'js', dtype: 'float64' } as const;
const [T, HIDDEN, H, M, CHUNK] = [11, 6, 2, 4, 3];
const D = HIDDEN / H;

type Layer = fw.models.LactLayer;

const make = (momentum: boolean): Layer =>
  fw.withSeed(3, () => {
    const options = { chunkSize: CHUNK, innerSize: M, muon: false, momentum, baseRate: 4, ...where };
    return new fw.models.LactLayer(HIDDEN, H, options);
  });

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const silu = (x: number): number => x * sigmoid(x);
const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);
const times = (rows: number[][], x: number[]): number[] => rows.map((row) => dot(row, x));
const unit = (x: number[]): number[] => x.map((each) => each / Math.sqrt(dot(x, x) + 1e-6));

/** Of a text [T, hidden], token by token. */
function onNumbers(layer: Layer, x: number[][]): number[] {
  const rows = ({ weight }: { weight: fw.Tensor }): number[][] => weight.tolist() as number[][];
  const through = (proj: fw.nn.Linear): number[][] => x.map((row) => times(rows(proj), row));
  const convolved = (proj: fw.nn.Linear, conv: fw.nn.ShortConvolution): number[][] => {
    const taps = conv.weight.tolist() as number[][][];
    const all = through(proj);
    return all.map((row, t) =>
      row.map((_, i) =>
        silu(taps[i][0].reduce((sum, w, j) => sum + w * (all[t - taps[i][0].length + 1 + j]?.[i] ?? 0), 0)),
      ),
    );
  };
  const [q, k, v] = [
    convolved(layer.q_proj, layer.q_conv1d),
    convolved(layer.k_proj, layer.k_conv1d),
    convolved(layer.v_proj, layer.v_conv1d),
  ];
  const [rates, gates] = [through(layer.rate_proj), through(layer.g_proj)];
  const kept = layer.momentum_proj && through(layer.momentum_proj);
  const scale = layer.o_norm.weight.tolist() as number[];
  const heads = Array.from({ length: H }, (_, h) => {
    const own = (row: number[]): number[] => row.slice(h * D, (h + 1) * D);
    const first = [layer.w0, layer.w1, layer.w2].map((w) => (w.tolist() as number[][][])[h]);
    const none = (): number[][][] => first.map((w) => w.map((row) => row.map(() => 0)));
    let W = first;
    let [G, S] = [none(), none()];
    let memory = 0;
    return x.map((_, t) => {
      const network = (key: number[]): { g: number[]; u: number[]; z: number[] } => {
        const [g, u] = [times(W[0], key), times(W[2], key)];
        return { g, u, z: g.map((y, m) => silu(y) * u[m]) };
      };
      const y = times(W[1], network(unit(own(q[t]))).z);
      const [key, value] = [unit(own(k[t])), own(v[t])];
      const { g, u, z } = network(key);
      const back = g.map((_, m) => value.reduce((sum, each, i) => sum + W[1][i][m] * each, 0));
      const rate = [0, 1, 2].map((w) => (4 / CHUNK) * sigmoid(rates[t][w * H + h]));
      const slope = g.map((each) => sigmoid(each) * (1 + each * (1 - sigmoid(each))));
      G[0].forEach((row, m) => row.forEach((_, i) => (row[i] += rate[0] * back[m] * u[m] * slope[m] * key[i])));
      G[1].forEach((row, i) => row.forEach((_, m) => (row[m] += rate[1] * value[i] * z[m])));
      G[2].forEach((row, m) => row.forEach((_, i) => (row[i] += rate[2] * back[m] * silu(g[m]) * key[i])));
      memory += kept ? sigmoid(kept[t][h]) / CHUNK : 0;
      if ((t + 1) % CHUNK === 0) {
        S = G.map((w, n) => w.map((row, r) => row.map((each, c) => each + memory * S[n][r][c])));
        W = W.map((w, n) =>
          w.map((row, r) => {
            const moved = row.map((each, c) => each + S[n][r][c]);
            const length = Math.hypot(...first[n][r]) / (Math.hypot(...moved) + 1e-5);
            return moved.map((each) => each * length);
          }),
        );
        [G, memory] = [none(), 0];
      }
      const norm = Math.sqrt(dot(y, y) / D + 1e-6);
      return y.map((each, i) => (each / norm) * scale[i] * silu(own(gates[t])[i]));
    });
  });
  return x.flatMap((_, t) =>
    times(
      rows(layer.o_proj),
      heads.flatMap((head) => head[t]),
    ),
  );
}

/** The same on tensors [1, T, hidden], chunk by chunk, what a chunk teaches by the tape. */
function onTensors(layer: Layer, x: fw.Tensor): fw.Tensor {
  const split = (y: fw.Tensor): fw.Tensor => y.reshape(1, T, H, D);
  const convolved = (proj: fw.nn.Linear, conv: fw.nn.ShortConvolution): fw.Tensor => {
    const W = conv.weight.shape[2];
    const padded = fw.cat([fw.zeros([1, W - 1, HIDDEN], where), proj.forward(x)], 1);
    const taps = Array.from({ length: W }, (_, j) =>
      padded.slice(1, j, j + T).mul(conv.weight.select(2, j).squeeze(1)),
    );
    return split(taps.reduce((a, b) => a.add(b)).silu());
  };
  const unitOf = (y: fw.Tensor): fw.Tensor => y.div(y.square().sum(-1, true).add(1e-6).sqrt());
  const q = unitOf(convolved(layer.q_proj, layer.q_conv1d));
  const k = unitOf(convolved(layer.k_proj, layer.k_conv1d));
  const v = convolved(layer.v_proj, layer.v_conv1d);
  const rates = layer.rate_proj
    .forward(x)
    .sigmoid()
    .mul(4 / CHUNK)
    .reshape(1, T, 3, H);
  const kept = layer.momentum_proj?.forward(x).sigmoid();
  const first = [layer.w0, layer.w1, layer.w2].map((w) => w.detach());
  let W = first;
  let S: fw.Tensor[] | null = null;
  const read = ([a, b, c]: fw.Tensor[], y: fw.Tensor): fw.Tensor => {
    const [gate, up] = [a, c].map((w) => fw.einsum('hmk,bthk->bthm', w, y));
    return fw.einsum('hvm,bthm->bthv', b, gate.silu().mul(up));
  };
  const outputs: fw.Tensor[] = [];
  for (let from = 0; from < T; from += CHUNK) {
    const to = Math.min(T, from + CHUNK);
    outputs.push(read(W, q.slice(1, from, to)));
    if (to - from < CHUNK) break;
    const taught = [0, 1, 2].map((i) =>
      fw.enableGrad(() => {
        const own = W.map((w) => fw.tensor(w.dataSync(), { shape: w.shape, ...where, requiresGrad: true }));
        const rate = rates.slice(1, from, to).select(2, i).unsqueeze(-1);
        const gain = read(own, k.slice(1, from, to))
          .mul(v.slice(1, from, to))
          .mul(rate)
          .sum();
        return fw.gradients(gain, own[i])[0];
      }),
    );
    const last: fw.Tensor[] | null = S;
    const mean = kept?.slice(1, from, to).mean(1).reshape(H, 1, 1);
    S = taught.map((g, i): fw.Tensor => (last && mean ? g.add(last[i].mul(mean)) : g));
    W = W.map((w, i) => {
      const moved = w.add(S![i]);
      const [now, then] = [moved, first[i]].map((y) => y.square().sum(-1, true).sqrt());
      return moved.div(now.add(1e-5)).mul(then);
    });
  }
  const y = fw.cat(outputs, 1);
  const normed = y.div(y.square().mean(-1, true).add(1e-6).sqrt()).mul(layer.o_norm.weight);
  return layer.o_proj.forward(normed.mul(split(layer.g_proj.forward(x)).silu()).reshape(1, T, HIDDEN));
}

describe('LactLayer', () => {
  for (const momentum of [true, false]) {
    it(`equals its equations, ${momentum ? 'with' : 'without'} momentum`, () =>
      fw.withChecks(false, () =>
        fw.noGrad(() =>
          fw.scope(() => {
            const layer = make(momentum);
            const x = fw.withSeed(5, () => fw.randn([1, T, HIDDEN], where));
            const found = layer.forward(x).output.dataSync();
            expectClose('numbers', found, onNumbers(layer, x.squeeze(0).tolist() as number[][]), 1e-11);
            expectClose('tensors', found, onTensors(layer, x).dataSync(), 1e-11);
          }),
        ),
      ));
  }

  it('refuses sizes that are none', () => {
    expect(() => new fw.models.LactLayer(6, 2, { chunkSize: 0, ...where })).to.throw(/LactLayer: chunkSize must be/);
    expect(() => new fw.models.LactLayer(6, 2, { innerSize: 0, ...where })).to.throw(/LactLayer: innerSize must be/);
    expect(() => new fw.models.LactLayer(6, 2, { muons: true } as object)).to.throw(/unknown option muons/);
  });
});
