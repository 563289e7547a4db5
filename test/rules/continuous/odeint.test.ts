// The solver of differential equations against closed forms, its two kinds of gradients, and what it refuses.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { expectError } from '../../support/errors';
import { type Target, targets } from '../../support/golden';
import { expectClose } from '../../support/tolerance';

const STARTS = [0.5, 2];

/** y' = -2 w t y^2 has y = 1 / (1 / y0 + w t^2). */
const field: fw.OdeField = (t, y, [w]) =>
  y
    .square()
    .mul(w)
    .mul(-2 * t);
const exact = (t: number, w = [1, 0.5]): number[] => STARTS.map((y0, i) => 1 / (1 / y0 + w[i] * t * t));

const leaves = (where: Target): { y0: fw.Tensor; w: fw.Tensor } => ({
  y0: fw.tensor(STARTS, { ...where, requiresGrad: true }),
  w: fw.tensor([1, 0.5], { ...where, requiresGrad: true }),
});

/** Places of allocations are not looked for, which takes most of the time of many small operators. */
const unchecked = (test: () => void) => (): void => fw.withChecks(false, test);

const FIXED = { euler: 1, midpoint: 2, rk4: 4, rk4Classic: 4 } as const;
const js64: Target = { device: 'js', dtype: 'float64' };

describe('odeint', () => {
  for (const [method, order] of Object.entries(FIXED) as [keyof typeof FIXED, number][]) {
    it(
      `${method} has an error of order ${order}`,
      unchecked(() => {
        const { y0, w } = leaves(js64);
        const errors = [0.1, 0.05, 0.025].map((stepSize) => {
          const y = fw.odeint(field, y0, [0, 1], { method, stepSize, args: [w] }).dataSync();
          return Math.hypot(...exact(1).map((value, i) => y[2 + i] - value));
        });
        for (const i of [0, 1]) expect(Math.log2(errors[i] / errors[i + 1])).to.be.closeTo(order, 0.35);
      }),
    );
  }

  it(
    'dopri5 meets its tolerance, and passes through every time',
    unchecked(() => {
      const { y0, w } = leaves(js64);
      const times = [0, 0.1, 0.1001, 1, 3];
      const errors = [1e-4, 1e-6, 1e-8, 1e-10].map((rtol) => {
        const y = fw.odeint(field, y0, times, { args: [w], rtol, atol: rtol }).dataSync();
        return Math.max(
          ...times.map((t, n) => Math.max(...exact(t).map((value, i) => Math.abs(y[2 * n + i] - value)))),
        );
      });
      errors.forEach((error, i) => expect(error).to.be.below(20 * 10 ** (-4 - 2 * i)));
    }),
  );

  for (const where of targets()) {
    it(
      `solves and differentiates on ${where.device}, ${where.dtype}`,
      unchecked(() => {
        const rtol = where.dtype === 'float64' ? 1e-9 : 1e-6;
        const [forward, gradient] = where.dtype === 'float64' ? [1e-7, 1e-6] : [1e-4, 1e-3];
        const ways: fw.OdeintOptions[] = [false, true].flatMap((adjoint) => [
          { method: 'rk4', stepSize: where.dtype === 'float64' ? 0.01 : 0.05, adjoint },
          { method: 'dopri5', rtol, atol: rtol, adjoint },
        ]);
        for (const way of ways) {
          fw.scope(() => {
            const { y0, w } = leaves(where);
            const y = fw.odeint(field, y0, [0, 0.5, 1.5], { ...way, args: [w] });
            const expected = [0, 0.5, 1.5].flatMap((t) => exact(t));
            expectClose('y', y.dataSync(), expected, forward);
            const weights = [1, 2, 3, 4, 5, 6];
            y.mul(fw.tensor(weights, { ...where, shape: [3, 2] }))
              .sum()
              .backward();
            // dy/dy0 = (y / y0)^2 and dy/dw = -y^2 t^2.
            const sums = (slope: (y: number, t: number, i: number) => number): number[] =>
              [0, 1].map((i) =>
                [0, 0.5, 1.5].reduce((sum, t, n) => sum + weights[2 * n + i] * slope(expected[2 * n + i], t, i), 0),
              );
            const name = JSON.stringify(way);
            const ofStart = sums((value, _, i) => (value / STARTS[i]) ** 2);
            expectClose(`${name} y0`, y0.grad!.dataSync(), ofStart, gradient);
            const ofWeights = sums((value, t) => -((value * t) ** 2));
            expectClose(`${name} w`, w.grad!.dataSync(), ofWeights, gradient);
          });
        }
      }),
    );
  }

  it(
    'differentiates the steps themselves, over segments, too',
    unchecked(() => {
      const { y0, w } = leaves(js64);
      for (const method of ['euler', 'rk4'] as const) {
        for (const stepSize of [0.25, 0.03]) {
          const run = (y: fw.Tensor, own: fw.Tensor): fw.Tensor =>
            fw
              .odeint(field, y, [0, 0.4, 1], { method, stepSize, args: [own] })
              .square()
              .sum();
          expect(fw.gradcheck(run, [y0, w])).to.equal(true);
        }
      }
    }),
  );

  it(
    'reaches parameters of modules that the field holds',
    unchecked(() => {
      const gradients = [{}, { adjoint: true }].map((more) =>
        fw.withSeed(1, () => {
          const layer = new fw.nn.Linear(2, 2, js64);
          const options = { method: 'rk4' as const, stepSize: 0.05, args: layer.parameters(), ...more };
          const y = fw.odeint((_, state) => layer.forward(state).tanh(), fw.ones([3, 2], js64), [0, 1], options);
          y.square().sum().backward();
          return layer.parameters().flatMap((p) => [...p.grad!.dataSync()]);
        }),
      );
      expectClose('adjoint', gradients[1], gradients[0], 1e-6);
    }),
  );

  it(
    'reaches what the field closes over, or says that it cannot',
    unchecked(() => {
      const layer = fw.withSeed(1, () => new fw.nn.Linear(2, 2, js64));
      const field: fw.OdeField = (_, state) => layer.forward(state).tanh();
      const gradients = (start: fw.Tensor, options: fw.OdeintOptions): number[] => {
        layer.zeroGrad();
        fw.odeint(field, start, [0, 0.5, 1], options).square().sum().backward();
        return layer.parameters().flatMap((p) => [...p.grad!.dataSync()]);
      };
      const [start, trained] = [false, true].map((requiresGrad) => fw.ones([3, 2], { ...js64, requiresGrad }));
      for (const options of [{ method: 'rk4' }, { method: 'rk4', stepSize: 0.02 }, { rtol: 1e-8 }] as const) {
        const expected = gradients(start, { ...options, args: layer.parameters() });
        expectClose('closed over', gradients(start, options), expected, 1e-12);
        expectClose('beside a trained start', gradients(trained, options), expected, 1e-12);
      }
      const [weight, bias] = layer.parameters();
      const apart: fw.OdeField = (_, state, [w]) => fw.linear(state, w, bias);
      // A result on the way stands for a tensor of its own.
      const twice = weight.mul(2);
      for (const y0 of [start, trained]) {
        for (const args of [[], [weight], [twice]]) {
          for (const open of args.length === 0 ? [field] : [field, apart]) {
            expectError('GRAPH', /odeint: with adjoint, args must hold every tensor/, () =>
              fw.odeint(open, y0, [0, 1], { adjoint: true, args }),
            );
          }
        }
      }
      expect([weight, bias].map((p) => p.requiresGrad)).to.eql([true, true]);
      const free = fw.noGrad(() => fw.odeint(field, start, [0, 1], { adjoint: true }));
      expect(free.requiresGrad).to.equal(false);
      const still = fw.odeint((_, y) => y.neg(), start, [0, 1], { method: 'rk4' });
      expect(still.requiresGrad).to.equal(false);
    }),
  );

  it(
    'keeps a state for every 8 steps for the backward pass, and nothing without one',
    unchecked(() => {
      const size = 1000;
      for (const requiresGrad of [false, true]) {
        fw.scope(() => {
          const y0 = fw.ones([size], { device: 'js', dtype: 'float32', requiresGrad });
          const held: number[] = [];
          const decay: fw.OdeField = (_, y) => {
            held.push(fw.memory().devices.find(({ device }) => device === 'js')!.bytes);
            return y.neg();
          };
          fw.odeint(decay, y0, [0, 1], { method: 'rk4', stepSize: 1 / 240 });
          // Where every segment starts.
          const grown = (held[32 * 29] - held[32]) / (4 * size);
          expect(grown, `states kept with a record: ${requiresGrad}`).to.be.within(0, requiresGrad ? 33 : 2);
        });
      }
    }),
  );

  it('asks a field that jumps on the side of the step', () => {
    const asked: number[] = [];
    const jumps: fw.OdeField = (t, y) => {
      asked.push(Math.floor(t));
      return fw.fullLike(y, Math.floor(t));
    };
    const options = { method: 'rk4', stepSize: 1, perturb: true } as const;
    const y = fw.noGrad(() => fw.odeint(jumps, fw.zeros([1], js64), [0, 3], options));
    expect(asked).to.deep.equal([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    expect(y.dataSync()[1]).to.be.closeTo(3, 1e-12);
  });

  it(
    'says when a tolerance cannot be met, and where',
    unchecked(() => {
      const y0 = fw.tensor([1], js64);
      const blowsUp: fw.OdeField = (_, y) => y.square();
      const error = expectError(
        'INVALID_ARGUMENT',
        /rtol must be a tolerance that can be met.*would need a step of .* at t = (0\.99|1\.0)/,
        () => fw.odeint(blowsUp, y0, [0, 2]),
      );
      expect(error.argument).to.equal('rtol');
      expectError(
        'INVALID_ARGUMENT',
        /maxSteps must be enough for the tolerance, got 5, after which it is at t = 0/,
        () => fw.odeint(blowsUp, y0, [0, 0.9], { rtol: 1e-9, atol: 1e-9, maxSteps: 5 }),
      );
      expectError('INVALID_ARGUMENT', /field must be finite, got values .* after a step of .* at t = 0/, () =>
        fw.odeint((_, y) => y.mul(NaN), y0, [0, 1]),
      );
      const lost = fw.tensor([NaN], js64);
      const starting = /y0 must be finite, got values that are not finite at t = 0/;
      expectError('INVALID_ARGUMENT', starting, () => fw.odeint((_, y) => y, lost, [0, 1]));
      fw.withChecks(true, () =>
        expectError('INVALID_ARGUMENT', starting, () => fw.odeint((_, y) => y, lost, [0, 1], { method: 'rk4' })),
      );
      const small = fw.tensor([1], { device: 'js', dtype: 'float32' });
      expectError(
        'INVALID_ARGUMENT',
        /rtol must be 0 or at least 4.8e-7, which float32 can tell from rounding, got 1e-10/,
        () => fw.odeint((_, y) => y, small, [0, 1], { rtol: 1e-10 }),
      );
      const steep = (): fw.Tensor => fw.odeint((_, y) => y.square(), y0, [0, 1, 20], { method: 'euler', stepSize: 1 });
      fw.withChecks(false, () => expect(steep().dataSync()[2]).to.be.above(100));
      fw.withChecks(true, () =>
        expectError('INVALID_ARGUMENT', /the field leads to values that are not finite between t = 1 and 20/, steep),
      );
    }),
  );

  it('refuses what it cannot use, and names it', () => {
    const y0 = fw.tensor([1, 2], js64);
    const still: fw.OdeField = (_, y) => y;
    const solve =
      (times: unknown, options: object, given: unknown = still) =>
      (): unknown =>
        fw.odeint(given as fw.OdeField, y0, times as number[], options);
    const cases: [string, RegExp, () => unknown][] = [
      ['times', /increase, got 1 after 1$/, solve([0, 1, 1], {})],
      ['times', /increase, got 0 after 1$/, solve([1, 0], {})],
      ['times', /at least 2 finite times/, solve([0], {})],
      ['times', /at least 2 finite times/, solve([0, NaN], {})],
      ['times', /at least 2 finite times/, solve('now', {})],
      ['stepSize', /a positive number, got 0/, solve([0, 1], { method: 'rk4', stepSize: 0 })],
      ['stepSize', /a positive number, got -1/, solve([0, 1], { method: 'rk4', stepSize: -1 })],
      ['stepSize', /at most maxSteps 100000 steps/, solve([0, 1], { method: 'rk4', stepSize: 1e-9 })],
      [
        'method',
        /'euler' \| 'midpoint' \| 'rk4' \| 'rk4Classic' \| 'dopri5', got "rk5"/,
        solve([0, 1], { method: 'rk5' }),
      ],
      ['rtol', /a number from 0/, solve([0, 1], { rtol: -1 })],
      ['atol', /a positive number/, solve([0, 1], { atol: 0 })],
      ['minStep', /a positive number/, solve([0, 1], { minStep: -1 })],
      ['maxSteps', /a whole number/, solve([0, 1], { maxSteps: 0 })],
      ['args', /a list of tensors/, solve([0, 1], { args: y0 })],
      ['args[0]', /a Tensor/, solve([0, 1], { args: [1] })],
      ['stepsize', /did you mean stepSize/, solve([0, 1], { stepsize: 1 })],
      ['field', /a function of t, y and args/, solve([0, 1], {}, 1)],
      [
        'field',
        /like its state, got \[1\] float64 on js/,
        solve([0, 1], {}, (_: number, y: fw.Tensor) => y.slice(0, 0, 1)),
      ],
      ['field', /like its state, got 3/, solve([0, 1], {}, () => 3)],
    ];
    for (const [argument, message, fn] of cases) {
      expect(expectError('INVALID_ARGUMENT', message, fn).argument).to.equal(argument);
    }
    expectError('DTYPE', /y0 must be a floating-point tensor/, () =>
      fw.odeint(still, fw.tensor([1], { dtype: 'int32' }), [0, 1]),
    );
  });
});
