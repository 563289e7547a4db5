// Gradients by the adjoint equation (Pontryagin 1962; Chen et al. 2018).
import { scope, type Tensor } from '../../core';
import { defineFunction, enableGrad, gradients, noGrad } from '../../autograd';
import { zerosBeside } from '../../ops';
import { type OdeField, solve } from './solve';
import type { Derivative } from './step';
import type { WalkSettings } from './walk';

/**
 * States at every time but the first. Backwards from each time to the one before it, y' = f, a' = -a df/dy and
 * g' = -a df/dargs are solved together, y from its stored value; a jumps at each time by the gradient that comes in there.
 */
export function integrateWithAdjoint(
  settings: WalkSettings,
  field: OdeField,
  y0: Tensor,
  args: readonly Tensor[],
  times: readonly number[],
): Tensor[] {
  const run = defineFunction<Tensor[], Tensor[]>({
    name: settings.where,
    onceDifferentiable: true,
    forward(ctx, start, ...own) {
      const states = solve(settings, (t, [y]) => [field(t, y, own)], [start], times).map(([y]) => y);
      ctx.saveForBackward(...states, start, ...own);
      return states;
    },
    backward(ctx, ...arriving) {
      const states = ctx.savedTensors.slice(0, times.length - 1);
      const saved = ctx.savedTensors.slice(times.length);
      // A parameter may also stand in the field itself; a result on the way must not lead out of it.
      const own = args.map((arg, i) => (arg.node === null && arg.requiresGrad ? arg : saved[i]));
      const trained = own.filter((_, i) => ctx.needsInputGrad[i + 1]);
      const augmented = adjointField(field, own, trained);
      let gathered = trained.map((arg) => zerosBeside(arg));
      let a: Tensor | null = null;
      for (let i = times.length - 1; i > 0; i--) {
        const g = arriving[i - 1];
        const start: Tensor[] = [states[i - 1], a ? a.add(g) : g, ...gathered];
        const [[, before, ...sums]] = solve(settings, augmented, start, [times[i], times[i - 1]]);
        [a, gathered] = [before, sums];
      }
      const each = [...gathered];
      return [a, ...args.map((_, i) => (ctx.needsInputGrad[i + 1] ? each.shift()! : null))];
    },
  });
  return run(y0, ...args);
}

/** The derivatives of y, of a and of the gradients of `trained`. */
function adjointField(field: OdeField, own: readonly Tensor[], trained: readonly Tensor[]): Derivative {
  return (t, [y, a]) =>
    scope(() => {
      const [slope, ...products] = enableGrad(() => {
        const at = y.detach();
        at.requiresGrad = true;
        for (const arg of trained) arg.requiresGrad = true;
        const f = field(t, at, own);
        const inputs = [at, ...trained];
        if (!f.requiresGrad) return [f, ...inputs.map(() => null)];
        return [f.detach(), ...gradients(f, inputs, { gradOutputs: a, allowUnused: true })];
      });
      return noGrad(() => [
        slope,
        ...products.map((product, i) => product?.neg() ?? zerosBeside(i === 0 ? y : trained[i - 1])),
      ]);
    });
}
