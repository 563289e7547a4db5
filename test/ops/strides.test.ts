// Operands as they lie in memory: sizes of 1 with any stride, views of larger tensors, rows beside other rows.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';

const bits = (t: fw.Tensor): number[] =>
  t.dtype === 'float64' ? [...t.dataSync()] : [...new Uint32Array(Float32Array.from(t.dataSync()).buffer)];

for (const where of targets()) {
  describe(`strides on ${where.device}, ${where.dtype}`, () => {
    // [1, B, ...] in memory, seen as [B, 1, ...]: one token of B sequences.
    const timeMajor = (...shape: number[]): fw.Tensor =>
      fw
        .randn([1, 3, ...shape], where)
        .mul(0.3)
        .transpose(0, 1);

    type Inputs = Record<string, fw.Tensor>;
    const CASES: [string, Inputs, (x: Inputs) => fw.Tensor][] = [
      [
        'deltaRule',
        { q: timeMajor(2, 8), k: timeMajor(2, 8), v: timeMajor(2, 5), beta: timeMajor(2), gate: timeMajor(2, 8) },
        ({ q, k, v, beta, gate }) => fw.deltaRule(q, k, v, { beta, gate: gate.abs().neg() }).output,
      ],
      [
        'ojaRule',
        { q: timeMajor(2, 8), k: timeMajor(2, 8), v: timeMajor(2, 5), beta: timeMajor(2) },
        ({ q, k, v, beta }) => fw.ojaRule(q, k, v, { beta }).output,
      ],
      [
        'generalizedDeltaRule',
        { q: timeMajor(1, 8), k: timeMajor(1, 8), v: timeMajor(1, 5), a: timeMajor(1, 8), b: timeMajor(1, 8) },
        ({ q, k, v, a, b }) => fw.generalizedDeltaRule(q, k, v, { a, b }).output,
      ],
      [
        'softmaxAttention',
        { q: timeMajor(2, 8), k: timeMajor(2, 8), v: timeMajor(2, 5) },
        ({ q, k, v }) => fw.softmaxAttention(q, k, v),
      ],
      [
        'shortConvolution',
        {
          x: timeMajor(8),
          weight: fw.randn([4, 8], where).transpose(0, 1),
          bias: fw.randn([8, 2], where).slice(1, 0, 1).squeeze(1),
        },
        ({ x, weight, bias }) => fw.shortConvolution(x, weight, { bias, activation: 'silu' }).output,
      ],
      [
        'shortConvolutionStep',
        {
          x: fw.randn([8, 3], where).transpose(0, 1),
          weight: fw.randn([4, 8], where).transpose(0, 1),
          bias: fw.randn([8, 2], where).slice(1, 1, 2).squeeze(1),
        },
        ({ x, weight, bias }) =>
          fw.noGrad(() =>
            fw.shortConvolutionStep(x, weight, {
              bias,
              state: fw.ones([3, 8, 3], { device: x.device, dtype: x.dtype }),
            }),
          ),
      ],
    ];
    for (const [name, inputs, run] of CASES) {
      it(`${name} of one token in time-major memory, and of its copy`, () => {
        const copies = Object.fromEntries(Object.entries(inputs).map(([key, t]) => [key, t.clone().reshape(t.shape)]));
        const results = [inputs, copies].map((given) => {
          const leaves = Object.fromEntries(Object.entries(given).map(([key, t]) => [key, t.detach()]));
          for (const t of Object.values(leaves)) t.requiresGrad = true;
          const y = run(leaves);
          if (name.endsWith('Step')) return [bits(y)];
          y.sum().backward();
          return [y, ...Object.values(leaves).map((t) => t.grad!)].map((t) => bits(t));
        });
        expect(results[0]).to.deep.equal(results[1]);
      });
    }

    it('the bits of a row do not depend on the rows beside it, down to the sign of a zero', () => {
      for (const size of [1, 1e-25])
        for (const [n, k] of [
          [8, 3],
          [33, 16],
          [40, 70],
        ]) {
          const [x, w] = [fw.randn([20, k], where).mul(size), fw.randn([n, k], where).mul(size)];
          const whole = bits(fw.linear(x, w));
          expect(bits(x.matmul(w.transpose(0, 1).contiguous())), `matmul, ${n} x ${k}`).to.deep.equal(whole);
          for (const rows of [1, 2, 8, 9]) {
            const part = bits(fw.linear(x.slice(0, 0, rows), w));
            expect(part, `${rows} rows of ${n} x ${k} at ${size}`).to.deep.equal(whole.slice(0, part.length));
          }
        }
    });

    it('where: each of its operands contiguous, repeated along rows or columns, turned or alone, of every size of element', () => {
      const [rows, columns] = [5, 37];
      const views: ((t: fw.Tensor) => fw.Tensor)[] = [
        (t) => t,
        (t) => t.slice(0, 2, 3),
        (t) => t.slice(1, 3, 4),
        (t) => t.reshape(columns, rows).transpose(0, 1),
        (t) => t.slice(0, 1, 2).slice(1, 4, 5),
      ];
      const numbers = (step: number): number[] =>
        Array.from({ length: rows * columns }, (_, i) => ((i * step) % 101) - 50);
      for (const dtype of [where.dtype, 'int32', 'bool'] as const) {
        const [a, b] = [7, 13].map((step) =>
          fw.tensor(numbers(step), { shape: [rows, columns], device: where.device }).to(dtype),
        );
        const condition = fw.tensor(numbers(29), { shape: [rows, columns], device: where.device }).gt(0);
        for (const [i, ofCondition] of views.entries())
          for (const [j, ofA] of views.entries())
            for (const [k, ofB] of views.entries()) {
              const operands = [ofCondition(condition), ofA(a), ofB(b)];
              const [c, x, y] = operands.map((t) => t.expand(rows, columns).contiguous().dataSync());
              const found = fw.where(operands[0], operands[1], operands[2]).expand(rows, columns).contiguous();
              const expected = Array.from(c, (yes, at) => (yes ? x[at] : y[at]));
              expect(Array.from(found.dataSync()), `${dtype}, views ${i} ${j} ${k}`).to.deep.equal(expected);
            }
      }
    });
  });
}
