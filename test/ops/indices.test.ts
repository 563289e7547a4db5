// Kernels with indices or random numbers on native devices, and the LSTM cell, against `js` in float64.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { Draw } from '../support/ruleInputs';
import { expectClose, rms, toleranceOf } from '../support/tolerance';

type Where = { device: fw.Device; dtype: fw.DType };
type Build = (inputs: fw.Tensor[], where: Where) => fw.Tensor;

const reference: Where = { device: 'js', dtype: 'float64' };

/** Whole numbers below `end` in no order. */
const indices = (shape: number[], end: number, { device }: Where): fw.Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  const data = Int32Array.from({ length: size }, (_, i) => (i * i + 3 * i + 1) % end);
  return fw.tensor(data, { shape, dtype: 'int32', device });
};

/** Targets of which every fifth is ignored. */
const labels = (rows: number, classes: number, { device }: Where): fw.Tensor => {
  const data = Int32Array.from({ length: rows }, (_, i) => (i % 5 === 2 ? -100 : (7 * i) % classes));
  return fw.tensor(data, { shape: [rows], dtype: 'int32', device });
};

/** What `fn` returns, or null where it throws. */
function attempt<T>(fn: () => T): T | null {
  try {
    return fn();
  } catch {
    return null;
  }
}

function lstm([x, weightIh, weightHh, biasIh, hidden, cell]: fw.Tensor[]): fw.Tensor {
  const { output, finalState } = fw.lstm(x, [{ weightIh, weightHh, biasIh }], { hidden, cell });
  return fw.cat([output, finalState.cell.transpose(0, 1)], 1);
}

const CASES: [name: string, build: Build, ...shapes: number[][]][] = [
  ['embedding', ([w], where) => fw.embedding(w, indices([3, 50], 19, where)), [19, 33]],
  ...[1, 17, 1000].flatMap((n): [string, Build, number[]][] => [
    [`crossEntropy of ${n} classes`, ([z], where) => fw.crossEntropy(z, labels(13, n, where)), [13, n]],
    [
      `crossEntropy of ${n} classes with every option`,
      ([z], where) => {
        const options = { reduction: 'none', labelSmoothing: 0.1, zLoss: 0.01, logitSoftcap: 5 } as const;
        return fw.crossEntropy(z, labels(13, n, where), options);
      },
      [13, n],
    ],
  ]),
  ['lstm', lstm, [3, 5, 7], [4 * 21, 7], [4 * 21, 21], [4 * 21], [1, 3, 21], [1, 3, 21]],
];

/** The result and all gradients for fixed inputs and a fixed cotangent. */
function run(build: Build, shapes: number[][], where: Where): ArrayLike<number>[] {
  return fw.scope(() => {
    const draw = new Draw(4);
    const leaves = shapes.map((shape) =>
      fw.tensor(draw.uniform(shape, -1, 1).data, { shape, ...where, requiresGrad: true }),
    );
    const y = build(leaves, where);
    y.backward(fw.tensor(draw.uniform([...y.shape], -1, 1).data, { shape: y.shape, ...where }));
    return [y, ...leaves.map((t) => t.grad!)].map((t) => t.detach().dataSync());
  });
}

for (const where of targets().filter((t) => t.dtype === 'float32')) {
  describe(`indices and random numbers on ${where.device}`, () => {
    for (const [name, build, ...shapes] of CASES) {
      it(name, () => {
        const [expected, found] = [reference, where].map((each) => run(build, shapes, each));
        const tolerance = toleranceOf(where.dtype);
        const floor = 1e-3 * Math.max(...expected.slice(1).map(rms));
        expectClose('value', found[0], expected[0], tolerance.forward);
        for (let i = 1; i < expected.length; i++)
          expectClose(`gradient ${i - 1}`, found[i], expected[i], tolerance.gradient, floor);
      });
    }

    describe('outside their table', () => {
      const int32 = (data: number[]): fw.Tensor => fw.tensor(data, { dtype: 'int32', device: where.device });
      const weight = (): fw.Tensor => fw.ones([19, 3], { ...where, requiresGrad: true });

      for (const index of [-1, 19, 1e9, -(2 ** 31)]) {
        it(`${index}: an error that names the argument, the index and the range, and nothing else fails`, () => {
          const bystander = fw.ones([5], where);
          const w = weight();
          const message = `embedding: indices must be from 0 to 18, got ${index} at position 2`;
          const run = (): fw.Tensor => fw.embedding(w, int32([3, 18, index, index])).sum();
          const error = expectError('INVALID_ARGUMENT', new RegExp(message), () => run().dataSync());
          expect(error).to.deep.include({ argument: 'indices', expected: 'from 0 to 18' });
          expectError('INVALID_ARGUMENT', new RegExp(message), () => {
            run().backward();
            w.grad!.dataSync();
          });
          const logits = fw.ones([3, 19], { ...where, requiresGrad: true });
          const loss = (): fw.Tensor => fw.crossEntropy(logits, int32([0, -100, index]));
          const classes = new RegExp(`crossEntropy: target must be from 0 to 18, got ${index} at position 2`);
          expectError('INVALID_ARGUMENT', classes, () => loss().dataSync());
          expectError('INVALID_ARGUMENT', classes, () => {
            loss().backward();
            logits.grad!.dataSync();
          });
          expect([...bystander.add(1).dataSync()]).to.deep.equal([2, 2, 2, 2, 2]);
        });
      }

      it('rows without elements are looked for in the table, too', () => {
        const rows = fw.zeros([3, 0], where);
        expectError('INVALID_ARGUMENT', /from 0 to 2, got 3 at position 1/, () =>
          fw.embedding(rows, int32([0, 3])).dataSync(),
        );
      });

      it('the label to ignore is let through, and only that one', () => {
        const logits = fw.zeros([3, 4], where);
        const loss = (ignoreIndex: number): fw.Tensor =>
          fw.crossEntropy(logits, int32([1, 9, 2]), { ignoreIndex, reduction: 'none' });
        expectClose('loss', loss(9).dataSync(), [Math.log(4), 0, Math.log(4)], 1e-6);
        expectError('INVALID_ARGUMENT', /got 9 at position 1/, () => loss(-100).dataSync());
      });

      it('a model names the id and the label', () => {
        const model = fw.createModel('deltanet', {
          vocabSize: 10,
          hiddenSize: 16,
          numLayers: 1,
          numHeads: 1,
          device: where.device,
        });
        const ids = fw.tensor([[1, 2, 9]], { dtype: 'int32', device: where.device });
        const wrong = fw.tensor([[1, 2, 10]], { dtype: 'int32', device: where.device });
        expectError('INVALID_ARGUMENT', /from 0 to 9, got 10 at position 2/, () =>
          model.forward(wrong).logits.dataSync(),
        );
        expectError('INVALID_ARGUMENT', /target must be from 0 to 9, got 10 at position 1/, () =>
          model.forward(ids, { labels: wrong }).loss.dataSync(),
        );
        expect(model.forward(ids, { labels: ids }).loss.item()).to.be.greaterThan(0);
      });

      it('what is written anew is well again', () => {
        const state = fw.zeros([4, 3], where);
        const bad = fw.scope(() => fw.noGrad(() => attempt(() => fw.embedding(weight(), int32([0, 1, 2, 19])))));
        if (!bad) return; // the call itself has thrown
        fw.noGrad(() => state.add_(bad));
        expectError('INVALID_ARGUMENT', /got 19/, () => state.dataSync());
        fw.noGrad(() => state.copy_(fw.ones([4, 3], where)));
        expect(state.sum().item()).to.equal(12);
      });
    });

    it('argmax: the first of the largest, along any dimension', () => {
      for (const [shape, dim] of [
        [[9, 77], 1],
        [[77, 9], 0],
        [[3, 40, 5], 1],
        [[4, 1], 1],
      ] as const) {
        const data = Float32Array.from(new Draw(6).uniform([...shape], 0, 8).data, Math.floor);
        const on = ({ device }: Where) =>
          fw
            .tensor(data, { shape: [...shape], device })
            .argmax(dim)
            .dataSync();
        expect(on(where), `${shape}`).to.deep.equal(on(reference));
      }
    });

    it('casts to whole numbers and back', () => {
      const data = [-70000.9, -1.5, -0.5, 0, 0.5, 1.5, 2.99, 123456.7];
      const on = ({ device }: Where) => {
        const whole = fw.tensor(data, { device }).to('int32');
        return [
          whole.dataSync(),
          whole.to('float32').dataSync(),
          fw.tensor(data, { device }).to('bfloat16').dataSync(),
        ];
      };
      expect(on(where)).to.deep.equal(on(reference));
    });

    it('random numbers and dropout masks are those of every device', () => {
      for (const n of [1, 255, 1000, 70000]) {
        const on = ({ device }: Where) => {
          fw.manualSeed(11);
          const uniform = fw.rand([n], { device, low: -3, high: 0.7 });
          const kept = fw.dropout(fw.ones([n], { device }), 0.3);
          return {
            uniform: uniform.dataSync(),
            kept: kept.dataSync().map(Math.sign),
            normal: fw.randn([n], { device }).dataSync(),
          };
        };
        const [expected, found] = [reference, where].map(on);
        expect(found.uniform).to.deep.equal(expected.uniform);
        expect(found.kept).to.deep.equal(expected.kept);
        expectClose(`${n} normal numbers`, found.normal, expected.normal, 1e-6);
      }
    });
  });
}
