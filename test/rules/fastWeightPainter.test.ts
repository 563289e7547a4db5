// The painter: whole pictures against strokes one by one and a loop over the equations, and what it does not take.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const VARIANTS: [string, fw.PainterStrokes][] = [
  ['delta', { softmaxKeys: true, valueTanh: true, outputTanh: true }],
  ['delta, a rate for each row', { softmaxKeys: true, vectorRate: true }],
  ['sum', { updateRule: 'sum', softmaxKeys: true, outputTanh: true }],
  ['oja', { updateRule: 'oja', softmaxKeys: true, valueTanh: true }],
  ['oja, raw keys', { updateRule: 'oja', valueTanh: true, vectorRate: true }],
];

const softmax = (x: number[]): number[] => {
  const e = x.map((a) => Math.exp(a - Math.max(...x)));
  return e.map((a) => a / e.reduce((sum, b) => sum + b));
};

/** One stroke on the canvas [rows][columns]. */
function strokeOn(
  canvas: number[][],
  { k, v, b }: Record<string, number[]>,
  { updateRule = 'delta', softmaxKeys, valueTanh }: fw.PainterStrokes,
  first: boolean,
): void {
  let key = softmaxKeys ? softmax(k) : k;
  const value = valueTanh ? v.map(Math.tanh) : v;
  const rate = value.map((_, i) => (updateRule === 'sum' ? 1 : 1 / (1 + Math.exp(-b[b.length === 1 ? 0 : i]))));
  const read = canvas.map((row) => row.reduce((sum, w, j) => sum + w * key[j], 0));
  if (updateRule === 'oja') {
    key = key.map((x, j) => x - canvas.reduce((sum, row, i) => sum + row[j] * value[i], 0));
    if (softmaxKeys) key = softmax(key);
  }
  const write = value.map((x, i) => {
    if (updateRule !== 'delta') return x * rate[i];
    return (first ? 1 : rate[i]) * (x - read[i]);
  });
  canvas.forEach((row, i) => row.forEach((_, j) => (row[j] += write[i] * key[j])));
}

for (const where of targets()) {
  describe(`fastWeightPainter on ${where.device}, ${where.dtype}`, () => {
    const { forward } = toleranceOf(where.dtype);
    for (const [name, options] of VARIANTS) {
      it(`${name}: as its equations, stroke by stroke, and from a canvas`, () => {
        fw.scope(() => {
          const [B, T, C, V, W] = [2, 5, 3, 4, 7];
          const draw = (...shape: number[]): fw.Tensor => fw.randn(shape, where);
          const rates = options.vectorRate ? V : 1;
          const beta = options.updateRule === 'sum' ? null : draw(B, T, C, rates);
          const strokes = { k: draw(B, T, C, W), v: draw(B, T, C, V), beta };
          for (const canvas of [null, draw(B, C, V, W)]) {
            const whole = fw.fastWeightPainter(
              { ...strokes, initialState: canvas },
              { ...options, outputFinalState: true },
            );
            const state = canvas ? canvas.clone() : fw.zeros([B, C, V, W], where);
            const plain = state.tolist() as number[][][][];
            let image = whole.output;
            fw.noGrad(() => {
              for (let t = 0; t < T; t++) {
                const at = (x: fw.Tensor): fw.Tensor => x.slice(1, t, t + 1).squeeze(1);
                const one = { k: at(strokes.k), v: at(strokes.v), beta: beta && at(beta) };
                const first = t === 0 && !canvas;
                image = fw.fastWeightPainter.step(one, { ...options, state, first });
                const [k, v, b] = [one.k, one.v, one.beta ?? one.v].map((x) => x.tolist() as number[][][]);
                plain.forEach((channels, n) =>
                  channels.forEach((rows, c) => strokeOn(rows, { k: k[n][c], v: v[n][c], b: b[n][c] }, options, first)),
                );
              }
            });
            expectClose('canvas', whole.finalState.dataSync(), plain.flat(3), forward);
            expectClose('state', state.dataSync(), plain.flat(3), forward);
            expectClose('image', image.dataSync(), whole.output.dataSync(), forward);
          }
        });
      });
    }
  });
}

describe('fastWeightPainter', () => {
  const where = { device: 'js', dtype: 'float32' } as const;
  const strokes = (T: number): { k: fw.Tensor; v: fw.Tensor; beta: fw.Tensor } => ({
    k: fw.randn([1, T, 2, 4], where),
    v: fw.randn([1, T, 2, 3], where),
    beta: fw.randn([1, T, 2, 1], where),
  });

  it('leaves the canvas as it is without strokes', () => {
    const canvas = fw.randn([1, 2, 3, 4], where);
    const { output } = fw.fastWeightPainter({ ...strokes(0), initialState: canvas });
    expect(output.dataSync()).to.deep.equal(canvas.dataSync());
    expect([...fw.fastWeightPainter(strokes(0)).output.dataSync()]).to.deep.equal(new Array(24).fill(0));
  });

  it('refuses what does not fit', () => {
    const given = strokes(2);
    const { k, v, beta } = given;
    const paint =
      (inputs: object, options: object = {}) =>
      () =>
        fw.fastWeightPainter(inputs as never, options);
    expectError('SHAPE', /beta must be \[1, 2, 2, 3\]/, paint(given, { vectorRate: true }));
    expectError('SHAPE', /v must be/, paint({ ...given, v: v.slice(2, 0, 1) }));
    expectError('SHAPE', /initialState must be \[1, 2, 3, 4\]/, paint({ ...given, initialState: v }));
    expectError('INVALID_ARGUMENT', /beta must be left out/, paint(given, { updateRule: 'sum' }));
    expectError('INVALID_ARGUMENT', /beta must be a Tensor/, paint({ k, v }));
    expectError('INVALID_ARGUMENT', /updateRule/, paint(given, { updateRule: 'hebb' }));
    expectError('INVALID_ARGUMENT', /unknown option q/, paint({ ...given, q: k }));
    const token = {
      k: k.slice(1, 0, 1).squeeze(1),
      v: v.slice(1, 0, 1).squeeze(1),
      beta: beta.slice(1, 0, 1).squeeze(1),
    };
    const step = (state: unknown) => () => fw.fastWeightPainter.step(token, { state: state as fw.Tensor });
    expectError('GRAPH', /noGrad/, step(fw.zeros([1, 2, 3, 4], where)));
    fw.noGrad(() => {
      expectError('SHAPE', /state must be \[1, 2, 3, 4\]/, step(fw.zeros([1, 2, 4, 3], where)));
      expectError('INVALID_ARGUMENT', /state must be a Tensor/, step(null));
    });
  });
});
