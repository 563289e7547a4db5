// Mamba-3 with several inputs and outputs against two loops over its equations, and against one input and output.
import { expect } from 'chai';
import * as fw from '../../lib';
import { byToken, describeLoops, heads, readRows, zeroRows } from '../support/twoLoops';
import { sigmoid, wide, write } from '../support/ruleLoops';
import { expectClose, TOLERANCE } from '../support/tolerance';
import { expectError } from '../support/errors';

const [B, T, H, M, K, V, R] = [2, 7, 2, 3, 6, 4, 2];
const SCALE = 0.7;
type Inputs = Parameters<typeof fw.mamba3Scan>[0];

/** x [K] whose first pairs are turned. */
function turn(x: number[], angles: number[]): number[] {
  const y = [...x];
  angles.forEach((a, i) => {
    y[2 * i] = x[2 * i] * Math.cos(a) - x[2 * i + 1] * Math.sin(a);
    y[2 * i + 1] = x[2 * i] * Math.sin(a) + x[2 * i + 1] * Math.cos(a);
  });
  return y;
}

describeLoops({
  title: 'mamba3Scan, three inputs and outputs',
  draw: (d) => ({
    x: d.uniform([B, T, H, M, V], -1, 1),
    dt: d.uniform([B, T, H], 0.1, 1),
    gate: d.uniform([B, T, H], -1, 0),
    trap: d.uniform([B, T, H], -2, 2),
    angles: d.uniform([B, T, H, R], -2, 2),
    b: d.uniform([B, T, 1, M, K], -1, 1),
    c: d.uniform([B, T, 1, M, K], -1, 1),
    bBias: d.uniform([H, M, K], -1, 1),
    cBias: d.uniform([H, M, K], -1, 1),
    d: d.uniform([H], -1, 1),
  }),
  numbers(inputs) {
    const [xs, bs, cs] = [inputs.x, inputs.b, inputs.c].map((x) => heads<number[][]>(x));
    const [dts, gates, traps] = [inputs.dt, inputs.gate, inputs.trap].map((x) => heads<number>(x));
    const angles = heads<number[]>(inputs.angles);
    const [bBias, cBias] = [inputs.bBias, inputs.cBias] as number[][][][];
    const skips = inputs.d as number[];
    const finalState: number[] = [];
    const outputs = xs.map((tokens, n) => {
      const [sequence, h] = [Math.floor(n / H), n % H];
      const S = zeroRows(K, V);
      const total = new Array<number>(R).fill(0);
      let before: { keys: number[][]; values: number[][] } | null = null;
      const found = tokens.map((values, t) => {
        const dt = dts[n][t];
        angles[n][t].forEach((a, i) => (total[i] += Math.PI * Math.tanh(a) * dt));
        const [keys, queries] = [
          [bs, bBias],
          [cs, cBias],
        ].map(([all, bias]) =>
          (all as number[][][][])[sequence][t].map((row, m) =>
            turn(
              row.map((x, i) => x + (bias as number[][][])[h][m][i]),
              total,
            ),
          ),
        );
        const [share, decay] = [sigmoid(traps[n][t]), Math.exp(gates[n][t])];
        S.forEach((row) => row.forEach((x, j) => (row[j] = decay * x)));
        const add = (by: number, k: number[][], v: number[][]): void =>
          k.forEach((key, m) =>
            write(
              S,
              key.map((y) => by * y),
              v[m],
            ),
          );
        if (before) add((1 - share) * dt * decay, before.keys, before.values);
        add(share * dt, keys, values);
        before = { keys, values };
        return queries.flatMap((query, m) => readRows(S, query).map((y, j) => SCALE * y + skips[h] * values[m][j]));
      });
      finalState.push(...S.flat());
      return found;
    });
    return { output: byToken(outputs, B, H), finalState };
  },
  tensors({ x, dt, gate, trap, angles, b, c, bBias, cBias, d }) {
    // As attention of every read to every write, by complex numbers where keys turn.
    const total = angles.tanh().mul(dt.unsqueeze(-1)).mul(Math.PI).cumsum(1).unsqueeze(3);
    const turned = (t: fw.Tensor, bias: fw.Tensor): fw.Tensor => {
      const own = t.add(bias);
      const pairs = own.slice(4, 0, 2 * R).reshape(B, T, H, M, R, 2);
      const [re, im] = [pairs.select(5, 0), pairs.select(5, 1)];
      const [cos, sin] = [total.cos(), total.sin()];
      const both = fw.stack([re.mul(cos).sub(im.mul(sin)), re.mul(sin).add(im.mul(cos))], -1);
      return fw.cat([both.reshape(B, T, H, M, 2 * R), own.slice(4, 2 * R)], -1);
    };
    const [k, q] = [turned(b, bBias), turned(c, cBias)];
    const share = fw.tensor([1], { device: 'js', dtype: 'float64' }).div(trap.neg().exp().add(1));
    const own = share.mul(dt);
    const later = dt.sub(own);
    const sums = gate.cumsum(1);
    const here = { device: 'js', dtype: 'float64' } as const;
    const seen = fw.tril(fw.ones([T, T], here));
    const strictly = seen.sub(fw.eye(T, here));
    const next = fw.cat([later.slice(1, 1), fw.zeros([B, 1, H], here)], 1);
    const strength = own
      .unsqueeze(1)
      .mul(wide(seen, 1))
      .add(next.unsqueeze(1).mul(wide(strictly, 1)));
    const weights = sums.unsqueeze(2).sub(sums.unsqueeze(1)).mul(wide(seen, 1)).exp().mul(strength);
    const scores = fw.einsum('bthmk,bshnk->btmshn', q, k);
    const read = fw.einsum('btmshn,btsh,bshnv->bthmv', scores, weights, x).mul(SCALE);
    const lasting = sums
      .slice(1, T - 1)
      .sub(sums)
      .exp()
      .mul(own.add(next));
    return {
      output: read.add(x.mul(d.reshape(H, 1, 1))),
      finalState: fw.einsum('bshnk,bsh,bshnv->bhkv', k, lasting, x),
    };
  },
  rule(inputs) {
    const { output, finalState } = fw.mamba3Scan(inputs as unknown as Inputs, { scale: SCALE, outputFinalState: true });
    return { output, finalState };
  },
});

describe('mamba3Scan of several inputs and outputs', () => {
  const js = { device: 'js', dtype: 'float64' } as const;
  const uniform = (low: number, high: number, ...shape: number[]): fw.Tensor => fw.rand(shape, { ...js, low, high });
  const steps = {
    dt: uniform(0.1, 1, 1, T, H),
    gate: uniform(-1, 0, 1, T, H),
    trap: uniform(-1, 1, 1, T, H),
    angles: uniform(-1, 1, 1, T, H, R),
    d: uniform(-1, 1, H),
  };

  it('with one of them is the scan of one', () =>
    fw.noGrad(() => {
      const x = uniform(-1, 1, 1, T, H, V);
      const [b, c] = [0, 1].map(() => uniform(-1, 1, 1, T, 2, K));
      const one = fw.mamba3Scan({ ...steps, x, b, c });
      const inputs = { ...steps, x: x.unsqueeze(3), b: b.unsqueeze(3), c: c.unsqueeze(3) };
      const many = fw.mamba3Scan(inputs);
      expectClose('output', many.output.dataSync(), one.output.dataSync(), 1e-13);
    }));

  it('refuses keys of another number', () => {
    const [x, b] = [uniform(-1, 1, 1, T, H, M, V), uniform(-1, 1, 1, T, 1, M, K)];
    const run = (more: object) => () => fw.mamba3Scan({ ...steps, x, b, c: b, ...more });
    expectError('SHAPE', /c must be \[1, 7, 1, 3, 6\]/, run({ c: b.slice(3, 1) }));
    expectError('SHAPE', /b must be \[1, 7, G, 3, K\]/, run({ b: uniform(0, 1, 1, T, 1, K) }));
    expectError('SHAPE', /bBias must be \[2, 3, 6\]/, run({ bBias: uniform(0, 1, H, K) }));
    const none = [x, b].map((t) => t.slice(3, 0, 0));
    expectError('SHAPE', /x must be \[..., at least 1, 4\]/, run({ x: none[0], b: none[1], c: none[1] }));
    expectError('SHAPE', /initialKey must be \[1, 2, 3, 6\]/, run({ initialKey: uniform(0, 1, 1, H, K) }));
  });
});

describe('mamba3Scan over a long text', () => {
  const LONG = 4000;
  const js = { device: 'js', dtype: 'float64' } as const;
  const drawn = (): Record<string, fw.Tensor> => ({
    x: fw.randn([1, LONG, 1, V]),
    dt: fw.full([1, LONG, 1], 0.5),
    gate: fw.full([1, LONG, 1], -0.05),
    trap: fw.zeros([1, LONG, 1]),
    angles: fw.randn([1, LONG, 1, R]).mul(0.5).add(1),
    b: fw.randn([1, LONG, 1, K]),
    c: fw.randn([1, LONG, 1, K]),
  });

  for (const device of ['cpu', 'js'] as const) {
    it(`on ${device} keeps the digits of angles that have made a thousand turns, and their gradients`, () => {
      fw.manualSeed(0);
      const inputs = drawn();
      const [found, wanted] = [{ device, dtype: 'float32' } as const, js].map((where) => {
        const entries = Object.entries(inputs).map(
          ([name, t]) => [name, t.to(where.device).to(where.dtype).detach()] as const,
        );
        const own = Object.fromEntries(entries);
        own.angles.requiresGrad = true;
        const { output } = fw.mamba3Scan(own as unknown as Inputs);
        output.square().sum().backward();
        return [output, own.angles.grad!].map((t) => t.dataSync());
      });
      expectClose('output', found[0], wanted[0], TOLERANCE.float32.forward);
      expectClose('angles', found[1], wanted[1], TOLERANCE.float32.gradient);
    });
  }

  for (const device of ['cpu', 'js'] as const) {
    it(`on ${device} turns as far token by token as over the sequence, to the last bit of the state that is handed on`, () =>
      fw.noGrad(() => {
        fw.manualSeed(1);
        const short = Object.entries(drawn()).map(([name, t]) => [name, t.slice(1, 0, 300).to(device)] as const);
        const inputs = Object.fromEntries(short) as unknown as Inputs;
        const whole = fw.mamba3Scan(inputs, { outputFinalState: true });
        const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device });
        const states = {
          state: z(1, 1, K, V),
          key: z(1, 1, K),
          value: z(1, 1, V),
          angle: z(1, 1, R, 2),
        };
        for (let t = 0; t < 300; t++) {
          const token = Object.fromEntries(short.map(([name, x]) => [name, x.select(1, t)]));
          fw.scope(() => void fw.mamba3Scan.step(token as unknown as Inputs, { state: states }));
        }
        expect(states.angle.tolist()).to.eql(whole.finalAngle.tolist());
      }));

    it(`on ${device} keeps the digits of a short step before a long one, which no prefix depends on`, () =>
      fw.noGrad(() => {
        fw.manualSeed(2);
        const [n, where] = [40, { device, dtype: 'float32' } as const];
        const step = Array.from({ length: n }, (_, t) => (t % 2 ? 1000 : 0.01));
        const exact = {
          ...Object.fromEntries(Object.entries(drawn()).map(([name, t]) => [name, t.slice(1, 0, n)])),
          dt: fw.tensor(step, { shape: [1, n, 1] }),
          gate: fw.full([1, n, 1], -20),
          // The turns of long steps are the inputs' own: none, so that their rounding does not count.
          angles: fw.zeros([1, n, 1, R]),
        } as unknown as Inputs;
        const at = (place: { device: fw.Device; dtype: 'float32' | 'float64' }, until = n): number[] => {
          const own = Object.entries(exact).map(([name, t]) => [
            name,
            (t as fw.Tensor).to(place.device).to(place.dtype).slice(1, 0, until),
          ]);
          return Array.from(fw.mamba3Scan(Object.fromEntries(own) as unknown as Inputs).output.dataSync());
        };
        const [found, wanted] = [at(where), at(js)];
        for (let t = 0; t < n; t += 2) {
          const row = [t * V, (t + 1) * V] as const;
          expectClose(`token ${t}`, found.slice(...row), wanted.slice(...row), TOLERANCE.float32.forward);
        }
        expect(at(where, 13)).to.eql(found.slice(0, 13 * V));
      }));
  }
});
