// The layer of Mamba-3 with several inputs and outputs: against two loops over its equations, and against one input and output.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { sigmoid, wide, write } from '../support/ruleLoops';
import { describeLoops, dot, readRows, zeroRows } from '../support/twoLoops';
import { expectClose } from '../support/tolerance';

const { Mamba3Mixer } = fw.models;
const [B, T, D, H, G, M, K, V, R] = [2, 6, 5, 4, 2, 3, 6, 3, 2];
const [EPS, LEAST] = [1e-3, 0.4];
const EXACT = { device: 'js', dtype: 'float64' } as const;

const shape = (more: Partial<fw.models.Mamba3Shape> = {}): fw.models.Mamba3Shape => ({
  hiddenSize: D,
  numHeads: H,
  headDim: V,
  stateSize: K,
  numGroups: G,
  numAngles: R,
  mimoRank: M,
  leastRate: LEAST,
  normEps: EPS,
  outputNorm: false,
  bias: false,
  newTimeSteps: { low: 0.1, high: 1, floor: 0 },
  ...more,
});

/** Rows of `in_proj` in their order. */
const ROWS = [H * V, H * V, M * G * K, M * G * K, H, H, H, R];

const softplus = (x: number): number => Math.log1p(Math.exp(x));
const normed = (x: number[]): number[] => x.map((y) => y / Math.sqrt(dot(x, x) / x.length + EPS));

/** x [K] of which coordinates i and i + K / 2 are turned. */
function turn(x: number[], angles: number[]): number[] {
  const y = [...x];
  angles.forEach((a, i) => {
    const j = i + K / 2;
    y[i] = x[i] * Math.cos(a) - x[j] * Math.sin(a);
    y[j] = x[i] * Math.sin(a) + x[j] * Math.cos(a);
  });
  return y;
}

for (const outputNorm of [false, true]) {
  describeLoops({
    title: `Mamba3Mixer, three inputs and outputs${outputNorm ? ', norm' : ''}`,
    draw: (d) => ({
      x: d.uniform([B, T, D], -1, 1),
      in_proj: d.uniform([ROWS.reduce((a, n) => a + n), D], -1, 1),
      dt_bias: d.uniform([H], -1, 1),
      B_norm: d.uniform([K], 0.5, 1.5),
      C_norm: d.uniform([K], 0.5, 1.5),
      B_bias: d.uniform([H, M, K], -1, 1),
      C_bias: d.uniform([H, M, K], -1, 1),
      mimo_x: d.uniform([H, M, V], -1, 1),
      mimo_z: d.uniform([H, M, V], -1, 1),
      mimo_o: d.uniform([H, M, V], -1, 1),
      D: d.uniform([H], -1, 1),
      ...(outputNorm && { norm: d.uniform([H * V], 0.5, 1.5) }),
      out_proj: d.uniform([D, H * V], -1, 1),
    }),
    numbers(inputs) {
      const of = <X>(name: string): X => inputs[name] as X;
      const biases = [of<number[][][]>('B_bias'), of<number[][][]>('C_bias')];
      const weights = [of<number[]>('B_norm'), of<number[]>('C_norm')];
      const [ups, gates, downs] = ['mimo_x', 'mimo_z', 'mimo_o'].map((name) => of<number[][][]>(name));
      const output = of<number[][][]>('x').flatMap((tokens) => {
        const states = Array.from({ length: H }, () => ({
          S: zeroRows(K, V),
          angles: new Array<number>(R).fill(0),
          before: [] as [key: number[], value: number[]][],
        }));
        return tokens.flatMap((token) => {
          const projected = of<number[][]>('in_proj').map((row) => dot(row, token));
          const take = (n: number): number[] => projected.splice(0, n);
          const [z, values, b, c, steps, rates, traps, turns] = ROWS.map(take);
          const inside = states.flatMap((state, h) => {
            const dt = softplus(steps[h] + of<number[]>('dt_bias')[h]);
            const decay = Math.exp(-Math.max(softplus(rates[h]), LEAST) * dt);
            const share = sigmoid(traps[h]);
            state.angles = state.angles.map((a, i) => a + Math.PI * Math.tanh(turns[i]) * dt);
            const ofHead = (all: number[]): number[] => all.slice(h * V, (h + 1) * V);
            const written = (all: number[], which: number, m: number): number[] => {
              const from = (m * G + Math.floor((h * G) / H)) * K;
              const row = normed(all.slice(from, from + K));
              return turn(
                row.map((y, i) => y * weights[which][i] + biases[which][h][m][i]),
                state.angles,
              );
            };
            const now = ups[h].map((up, m): [number[], number[]] => [
              written(b, 0, m),
              ofHead(values).map((y, j) => y * up[j]),
            ]);
            const add = (by: number, pairs: typeof now): void =>
              pairs.forEach(([key, value]) =>
                write(
                  state.S,
                  key.map((y) => by * y),
                  value,
                ),
              );
            state.S = state.S.map((row) => row.map((y) => decay * y));
            add((1 - share) * dt * decay, state.before);
            add(share * dt, now);
            state.before = now;
            const sum = new Array<number>(V).fill(0);
            now.forEach(([, value], m) => {
              const read = readRows(state.S, written(c, 1, m));
              const y = read.map((r, j) => r + of<number[]>('D')[h] * value[j]);
              const long = outputNorm ? normed(y).map((r, j) => r * ofHead(of<number[]>('norm'))[j]) : y;
              ofHead(z).forEach((gate, j) => {
                const g = gate * gates[h][m][j];
                sum[j] += long[j] * g * sigmoid(g) * downs[h][m][j];
              });
            });
            return sum;
          });
          return of<number[][]>('out_proj').map((row) => dot(row, inside));
        });
      });
      return { output };
    },
    tensors(inputs) {
      // As attention of every read to every write.
      const parts = fw.split(fw.einsum('btd,rd->btr', inputs.x, inputs.in_proj), ROWS, -1);
      const [z, values] = parts.slice(0, 2).map((t) => t.reshape(B, T, 1, H, V));
      const long = (t: fw.Tensor): fw.Tensor => t.div(t.square().mean(-1, true).add(EPS).sqrt());
      const positive = (t: fw.Tensor): fw.Tensor => t.exp().add(1).log();
      const dt = positive(parts[4].add(inputs.dt_bias));
      const sums = positive(parts[5]).clamp(LEAST).mul(dt).neg().cumsum(1);
      const angles = wide(dt).mul(parts[7].tanh().unsqueeze(2)).mul(Math.PI).cumsum(1).unsqueeze(2);
      const [cos, sin] = [angles.cos(), angles.sin()];
      const written = (t: fw.Tensor, weight: fw.Tensor, bias: fw.Tensor): fw.Tensor => {
        const own = long(t.reshape(B, T, M, G, 1, K))
          .mul(weight)
          .expand(B, T, M, G, H / G, K);
        const all = own.reshape(B, T, M, H, K).add(bias.transpose(0, 1));
        const [re, still, im, rest] = fw.split(all, [R, K / 2 - R, R, K / 2 - R], -1);
        return fw.cat([re.mul(cos).sub(im.mul(sin)), still, re.mul(sin).add(im.mul(cos)), rest], -1);
      };
      const k = written(parts[2], inputs.B_norm, inputs.B_bias);
      const q = written(parts[3], inputs.C_norm, inputs.C_bias);
      const [ups, gates, downs] = [inputs.mimo_x, inputs.mimo_z, inputs.mimo_o].map((t) => t.transpose(0, 1));
      const v = values.mul(ups);
      const own = parts[6].neg().exp().add(1).pow(-1).mul(dt);
      const next = fw.cat([dt.sub(own).slice(1, 1), fw.zeros([B, 1, H], EXACT)], 1);
      const seen = fw.tril(fw.ones([T, T], EXACT));
      const strictly = seen.sub(fw.eye(T, EXACT));
      const strength = own
        .unsqueeze(1)
        .mul(wide(seen))
        .add(next.unsqueeze(1).mul(wide(strictly)));
      const weights = sums.unsqueeze(2).sub(sums.unsqueeze(1)).mul(wide(seen)).exp().mul(strength);
      const read = fw.einsum('btmshn,btsh,bsnhv->btmhv', fw.einsum('btmhk,bsnhk->btmshn', q, k), weights, v);
      const y = read.add(v.mul(wide(inputs.D)));
      const gate = z.mul(gates);
      const gated = (outputNorm ? long(y).mul(inputs.norm.reshape(H, V)) : y).mul(gate.div(gate.neg().exp().add(1)));
      const inside = gated
        .mul(downs)
        .sum(2)
        .reshape(B, T, H * V);
      return { output: fw.einsum('bti,di->btd', inside, inputs.out_proj) };
    },
    rule({ x, in_proj, out_proj, B_norm, C_norm, norm, ...own }) {
      const layer = new Mamba3Mixer(shape({ outputNorm }), { device: x.device, dtype: x.dtype as 'float32' });
      Object.assign(layer, own);
      layer.in_proj.weight = in_proj;
      layer.out_proj.weight = out_proj;
      layer.B_norm.weight = B_norm;
      layer.C_norm.weight = C_norm;
      if (layer.norm) layer.norm.weight = norm;
      return { output: layer.forward(x).output };
    },
  });
}

describe('Mamba3Mixer', () => {
  it('of one input and output that are weighted is one of the values, with other pairs of keys that turn', () =>
    fw.noGrad(() =>
      fw.withSeed(8, () => {
        const one = new Mamba3Mixer(shape({ mimoRank: null, outputNorm: true }), EXACT);
        const many = new Mamba3Mixer(shape({ mimoRank: 1, outputNorm: true }), EXACT);
        for (const t of one.parameters()) t.copy_(fw.randn([...t.shape], EXACT));
        // Coordinates 2 i and 2 i + 1 of a key are i and i + K / 2 of the other layer's.
        const apart = (t: fw.Tensor): fw.Tensor =>
          t
            .reshape(-1, K / 2, 2)
            .transpose(1, 2)
            .reshape(t.shape);
        const columns = (t: fw.Tensor): fw.Tensor => apart(t.transpose(0, 1).contiguous()).transpose(0, 1);
        const [start, end] = [2 * H * V, 2 * H * V + 2 * G * K];
        const { weight } = one.in_proj;
        many.in_proj.weight = fw.cat([
          weight.slice(0, 0, start),
          columns(weight.slice(0, start, end)),
          weight.slice(0, end),
        ]);
        many.out_proj = one.out_proj;
        many.norm = one.norm;
        many.D = one.D;
        many.dt_bias = one.dt_bias;
        many.B_bias = apart(one.B_bias);
        many.C_bias = apart(one.C_bias);
        many.B_norm.weight = apart(one.B_norm.weight);
        many.C_norm.weight = apart(one.C_norm.weight);
        const x = fw.randn([B, T, D], EXACT);
        expectClose('output', many.forward(x).output.dataSync(), one.forward(x).output.dataSync(), 1e-12);
      }),
    ));

  it('of several inputs goes on token by token from the state of a part, and packed', () =>
    fw.noGrad(() =>
      fw.withSeed(9, () => {
        const layer = new Mamba3Mixer(shape(), EXACT);
        for (const t of layer.parameters()) t.copy_(fw.randn([...t.shape], EXACT));
        const x = fw.randn([B, T, D], EXACT);
        const whole = layer.forward(x, { outputState: true });
        for (const cut of [0, 3]) {
          const begin = layer.forward(x.slice(1, 0, cut), { outputState: true });
          const state = cut === 0 ? layer.initialState(B) : begin.state!;
          const tokens = Array.from({ length: T - cut }, (_, t) => layer.step(x.select(1, cut + t), state));
          const output = fw.cat([begin.output, fw.stack(tokens, 1)], 1);
          expectClose(`cut at ${cut}`, output.dataSync(), whole.output.dataSync(), 1e-12);
          for (const name of ['memory', 'key', 'value', 'angle'] as const) {
            expect(state[name].shape, name).to.eql(whole.state![name].shape);
            expectClose(name, state[name].dataSync(), whole.state![name].dataSync(), 1e-12);
          }
        }
        expect(whole.state!.key.shape).to.eql([B, H, M, K]);
        const packed = layer.forward(x.reshape(1, B * T, D), { cuSeqlens: [0, T, T, B * T] }).output;
        expectClose('packed', packed.dataSync(), whole.output.dataSync(), 1e-12);
      }),
    ));

  it('of several inputs refuses keys of an odd size, and the state of one input', () => {
    const make = (more: Partial<fw.models.Mamba3Shape>) => new Mamba3Mixer(shape(more), EXACT);
    expectError('INVALID_ARGUMENT', /stateSize must be even with mimoRank, got 5/, () => make({ stateSize: 5 }));
    expect(make({ stateSize: 5, mimoRank: null }).B_bias.shape).to.eql([H, 1, 5]);
    const state = make({ mimoRank: null }).initialState(B);
    expectError('SHAPE', /state must be \[2, 4, 3, 6\]/, () => make({}).forward(fw.zeros([B, T, D], EXACT), { state }));
  });
});
