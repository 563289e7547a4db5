// Functions of users with a backward pass of their own.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const values = (t: fw.Tensor | null): number[] => Array.from(t!.dataSync());
const js = { device: 'js', dtype: 'float64' } as const;

for (const device of ['cpu', 'js'] as const) {
  describe(`defineFunction on ${device}`, () => {
    const leaf = (...data: number[]): fw.Tensor => fw.tensor(data, { device, requiresGrad: true });

    it('has context, state, arguments that are no tensors, and several results', () => {
      const seen: unknown[] = [];
      const both = fw.defineFunction({
        name: 'both',
        forward(ctx: fw.FunctionContext<{ by: number }>, x: fw.Tensor, by: number, y: fw.Tensor) {
          ctx.saveForBackward(x, null, y);
          ctx.state.by = by;
          seen.push([...ctx.needsInputGrad]);
          return [x.mul(by), x.mul(y)];
        },
        backward(ctx, g, h) {
          const [x, none, y] = ctx.savedTensors;
          seen.push([...ctx.needsInputGrad], none);
          return [g.mul(ctx.state.by).add(h.mul(y)), null, h.mul(x)];
        },
      });
      fw.scope(() => {
        const [x, y] = [leaf(1, 2), leaf(3, 4)];
        const [a, b] = both(x, 5, y);
        a.sum().add(b.sum()).backward();
        expect(values(x.grad)).to.eql([8, 9]);
        expect(values(y.grad)).to.eql([1, 2]);
        const [dx] = fw.gradients(both(x, 5, y)[0].sum(), x);
        expect(values(dx), 'no gradient of the second result').to.eql([5, 5]);
        expect(seen).to.eql([
          [true, false, true],
          [true, false, true],
          null,
          [true, false, true],
          [true, false, false],
          null,
        ]);
        expect(fw.noGrad(() => both(x, 1, y)[0].requiresGrad)).to.equal(false);
        expect(both(x.detach(), 1, y.detach())[0].requiresGrad).to.equal(false);
      });
    });

    it('gives handles of its own, also of an argument, and int32 results without a gradient', () => {
      const first = fw.defineFunction({
        name: 'first',
        forward(ctx, x: fw.Tensor) {
          const top = x.argmax(0);
          ctx.saveForBackward(top);
          return [x, x, top];
        },
        backward: (_, g, h) => g.mul(2).add(h),
      });
      fw.scope(() => {
        const x = leaf(1, 5);
        const [a, b, top] = first(x);
        expect(new Set([x, a, b]).size).to.equal(3);
        expect([top.dtype, top.requiresGrad, top.item()]).to.eql(['int32', false, 1]);
        a.mul(3).sum().add(b.sum()).backward();
        expect(values(x.grad)).to.eql([7, 7]);
      });
    });

    it('checks the gradients, naming the function and the argument, and no .grad changes', () => {
      const bad = (backward: () => unknown): ((x: fw.Tensor, k: number) => fw.Tensor) =>
        fw.defineFunction({
          name: 'bad',
          forward: (_, x: fw.Tensor, k: number) => x.mul(k),
          backward: backward as () => fw.Tensor,
        });
      const boom = new Error('boom');
      const cases: [fw.ErrorCode, RegExp, () => unknown][] = [
        ['INVALID_ARGUMENT', /^bad: backward must be a function to 2 gradients/, () => fw.ones([2], { device })],
        ['INVALID_ARGUMENT', /^bad: the gradient of args\[1\] must be null/, () => [null, fw.ones([2], { device })]],
        ['INVALID_ARGUMENT', /^bad: the gradient of args\[0\] must be a Tensor, got 3/, () => [3, null]],
        ['SHAPE', /^bad: the gradient of args\[0\] must be \[2\]/, () => [fw.ones([1], { device }), null]],
        ['DTYPE', /^bad: the gradient of args\[0\]/, () => [fw.ones([2], { device, dtype: 'bfloat16' }), null]],
        [
          'DEVICE',
          /^bad: the gradient of args\[0\]/,
          () => [fw.ones([2], { device: device === 'js' ? 'cpu' : 'js' }), null],
        ],
        ['INVALID_ARGUMENT', /^bad: fn must be a synchronous function/, () => Promise.resolve([null, null])],
      ];
      fw.scope(() => {
        const x = leaf(1, 2);
        x.mul(2).sum().backward();
        const run = (backward: () => unknown): void =>
          x.mul(3).sum().add(bad(backward)(x, 2).sum()).add(x.square().sum()).backward();
        for (const [code, pattern, backward] of cases) expectError(code, pattern, () => run(backward));
        expect(() =>
          run(() => {
            throw boom;
          }),
        ).to.throw(boom);
        expect(values(x.grad)).to.eql([2, 2]);
      });
    });

    it('notices a saved tensor that was changed, and refuses what is no function', () => {
      fw.scope(() => {
        const x = leaf(1, 2);
        const square = fw.defineFunction({
          name: 'square',
          forward(ctx, t: fw.Tensor) {
            ctx.saveForBackward(t);
            return t.square();
          },
          backward: (ctx, g) => g.mul(ctx.savedTensors[0]).mul(2),
        });
        const y = square(x).sum();
        fw.noGrad(() => x.add_(1));
        expectError('GRAPH', /that square needs was changed in place/, () => y.backward());
        const late = fw.defineFunction({
          name: 'late',
          forward: (_, t: fw.Tensor) => t.mul(1),
          backward(ctx, g) {
            ctx.saveForBackward(g);
            return g;
          },
        });
        expectError('GRAPH', /late: saveForBackward may be called in forward only/, () => late(x).sum().backward());
        const refused = (d: object): unknown => fw.defineFunction(d as never);
        const whole = { name: 'f', forward: () => x, backward: () => null };
        expectError('INVALID_ARGUMENT', /name must be/, () => refused({ ...whole, name: '' }));
        expectError('INVALID_ARGUMENT', /backward must be a function/, () => refused({ ...whole, backward: 1 }));
        expectError('INVALID_ARGUMENT', /unknown option forwards/, () => refused({ ...whole, forwards: 1 }));
        const waits = fw.defineFunction({ ...whole, forward: (() => Promise.resolve(x)) as never });
        expectError('INVALID_ARGUMENT', /f: fn must be a synchronous function/, () => waits());
        const none = fw.defineFunction({ ...whole, forward: () => 3 as never });
        expectError('INVALID_ARGUMENT', /f: forward must be a function to a tensor/, () => none());
      });
    });
  });
}

describe('gradients of gradients of functions of users', () => {
  const x = fw.tensor([0.3, -0.7], js);

  it('are those of what their backward pass computes of arguments and results', () => {
    const swish = fw.defineFunction({
      name: 'swish',
      forward(ctx, t: fw.Tensor, w: fw.Tensor) {
        const y = t.mul(w).exp();
        ctx.saveForBackward(w, y);
        return [y, t];
      },
      backward(ctx, g, h) {
        const [w, y] = ctx.savedTensors;
        return [g.mul(y).mul(w).add(h), null];
      },
    });
    fw.gradgradcheck(
      (t) =>
        fw
          .stack(swish(t, fw.tensor([2, 3], js)))
          .square()
          .sum(),
      [x],
    );
  });

  it('are refused where they would be wrong', () => {
    const f = (options: Partial<fw.FunctionDefinition<[fw.Tensor], fw.Tensor>>): fw.Tensor => {
      const fn = fw.defineFunction({
        name: 'odd',
        forward(ctx, t: fw.Tensor) {
          ctx.saveForBackward(t);
          return t.square();
        },
        backward: (ctx, g) => g.mul(ctx.savedTensors[0]).mul(2),
        ...options,
      });
      const leaf = x.detach();
      leaf.requiresGrad = true;
      return fw.gradients(fn(leaf).sum(), leaf, { createGraph: true })[0];
    };
    fw.scope(() => {
      expect(f({}).requiresGrad).to.equal(true);
      expectError('UNSUPPORTED', /odd has no gradient of its gradient/, () => f({ onceDifferentiable: true }));
      expectError('UNSUPPORTED', /odd: .*does not come from differentiable operators/, () =>
        f({ backward: (_, g) => fw.tensor(g.dataSync(), js) }),
      );
      expectError('UNSUPPORTED', /odd: saveForBackward was given a tensor that is neither/, () =>
        f({
          forward(ctx, t) {
            ctx.saveForBackward(t.mul(2));
            return t.square();
          },
          backward: (ctx, g) => g.mul(ctx.savedTensors[0]),
        }),
      );
      // A gradient that is the result's own.
      expect(values(f({ backward: (_, g) => g }))).to.eql([1, 1]);
    });
  });
});
