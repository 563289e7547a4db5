// Functions of users with a backward pass of their own.
import {
  argumentError,
  belongsToCurrentScope,
  callSynchronous,
  checkOptions,
  describe,
  type Device,
  type DType,
  FastWeightsError,
  isFloat,
  type OptionNames,
  scope,
  type Shape,
  Tensor,
} from '../core';
import { checkGradientLike } from './check';
import { gradEnabled, noGrad } from './mode';
import { filled } from './pass';
import { type BackwardFunction, record } from './tape';

/** What the forward pass of one call leaves for its backward pass. */
export interface FunctionContext<S = Record<string, unknown>> {
  /**
   * Keeps tensors for the backward pass, null where there is none; in `forward` only. A change in place of one of them is
   * found out (GRAPH). Gradients of gradients need every floating-point tensor here to be an argument or a result.
   */
  saveForBackward(...tensors: (Tensor | null)[]): void;
  /** The saved tensors, in `backward`; those of a call belong to the library. */
  readonly savedTensors: readonly Tensor[];
  /** For each argument whether its gradient is of use. */
  readonly needsInputGrad: readonly boolean[];
  /** Anything else, an empty object at first; tensors that gradients are to flow through belong into `saveForBackward`. */
  state: S;
}

/** What `defineFunction` takes. */
export interface FunctionDefinition<
  A extends readonly unknown[],
  R extends Tensor | readonly Tensor[],
  S = Record<string, unknown>,
> {
  /** Its name in errors. */
  name: string;
  /** Computes a tensor or a list of tensors, without recording. Arguments may be anything; gradients flow to tensors. */
  forward(ctx: FunctionContext<S>, ...args: A): R;
  /**
   * Computes the gradients of the arguments from those of the results (zeros where none arrived): a list with one for each
   * argument, null where there is none, or without a list that of the only argument.
   */
  backward(
    ctx: FunctionContext<S>,
    ...gradOutputs: Tensor[]
  ): Tensor | null | undefined | readonly (Tensor | null | undefined)[];
  /** Whether gradients of its gradients are refused: for a `backward` not made of differentiable operators. */
  onceDifferentiable?: boolean;
}

const DEFINITION: OptionNames<FunctionDefinition<unknown[], Tensor>> = {
  name: true,
  forward: true,
  backward: true,
  onceDifferentiable: 'flag',
};

/** What is known of a tensor without holding it. */
type Kind = { shape: Shape; dtype: DType; device: Device; size: number };

const kindOf = ({ shape, dtype, device, size }: Tensor): Kind => ({ shape, dtype, device, size });

class Context<S> implements FunctionContext<S> {
  state = {} as S;
  savedTensors: readonly Tensor[] = [];
  kept: (Tensor | null)[] = [];
  saves = true;

  constructor(
    private readonly where: string,
    public needsInputGrad: readonly boolean[],
  ) {}

  saveForBackward(...tensors: (Tensor | null)[]): void {
    const where = `${this.where}: saveForBackward`;
    if (!this.saves) throw new FastWeightsError('GRAPH', `${where} may be called in forward only`);
    tensors.forEach((t: unknown, i) => {
      if (t === null) return;
      if (!(t instanceof Tensor)) {
        throw argumentError('INVALID_ARGUMENT', where, `tensors[${i}]`, 'a Tensor or null', describe(t));
      }
      t.checkAlive(where);
    });
    this.kept = tensors;
  }
}

/**
 * A function with a backward pass of its own, differentiable like an operator: PyTorch's `torch.autograd.Function`.
 *
 *     const cube = defineFunction({
 *       name: 'cube',
 *       forward(ctx, x: Tensor) {
 *         ctx.saveForBackward(x);
 *         return x.pow(3);
 *       },
 *       backward: (ctx, g) => g.mul(ctx.savedTensors[0].square().mul(3)),
 *     });
 *
 * What it returns are handles of its own, also where `forward` returns an argument. Of `backward` the number of gradients
 * (INVALID_ARGUMENT) and the shape, dtype and device of each (SHAPE, DTYPE, DEVICE) are checked; the error names the function
 * and the argument. With `createGraph` it runs with recording on: a gradient that does not depend on `gradOutputs` by
 * differentiable operators is UNSUPPORTED. Where one of the two throws, no `.grad` has changed. Promises are refused.
 */
export function defineFunction<
  A extends readonly unknown[],
  R extends Tensor | readonly Tensor[],
  S = Record<string, unknown>,
>(definition: FunctionDefinition<A, R, S>): (...args: A) => R {
  checkOptions<object>('defineFunction', definition, DEFINITION);
  const { name, onceDifferentiable = false } = definition;
  if (typeof name !== 'string' || name === '') {
    throw argumentError('INVALID_ARGUMENT', 'defineFunction', 'name', 'a name', describe(name));
  }
  for (const key of ['forward', 'backward'] as const) {
    if (typeof definition[key] === 'function') continue;
    throw argumentError('INVALID_ARGUMENT', 'defineFunction', key, 'a function', describe(definition[key]));
  }
  return (...args) => {
    const inputs = args.map((a, i) => {
      if (!(a instanceof Tensor)) return null;
      a.checkAlive(`${name}: args[${i}]`);
      return a;
    });
    const ctx = new Context<S>(
      name,
      inputs.map((t) => gradEnabled() && t !== null && t.requiresGrad),
    );
    return scope(() => {
      const forward = (): R => definition.forward(ctx, ...args);
      const result = noGrad(() => callSynchronous(name, forward, definition.forward as () => R));
      ctx.saves = false;
      const list = tensorsOf(name, result);
      const outputs = list.map((t, i) => {
        const fresh = belongsToCurrentScope(t) && !t.requiresGrad && list.indexOf(t) === i;
        return fresh ? t : t.detach();
      });
      // A result stands in the graph as the handle that is given out.
      const saved = ctx.kept.map((t) => (t && list.includes(t) ? outputs[list.indexOf(t)] : t));
      ctx.kept = [];
      const differentiable = outputs.filter((t) => isFloating(t));
      const back = backwardOf(definition, ctx, inputs, outputs);
      const known = (t: Tensor | null): boolean => !t || !isFloating(t) || inputs.includes(t) || outputs.includes(t);
      const recorded = onceDifferentiable ? null : recordedOf(name, back, saved.every(known));
      if (differentiable.length > 0) record(name, inputs, differentiable, saved, back, recorded, 'function');
      return (Array.isArray(result) ? outputs : outputs[0]) as unknown as R;
    });
  };
}

const isFloating = (t: { dtype: DType }): boolean => isFloat(t.dtype);

function tensorsOf(name: string, result: unknown): Tensor[] {
  const list: unknown[] = Array.isArray(result) ? result : [result];
  for (const t of list) {
    if (!(t instanceof Tensor)) {
      throw argumentError('INVALID_ARGUMENT', name, 'forward', 'a function to a tensor or a list of them', describe(t));
    }
    t.checkAlive(name);
  }
  return list as Tensor[];
}

/** The backward pass of one call, with what comes in filled up and what goes out checked. */
function backwardOf<A extends readonly unknown[], R extends Tensor | readonly Tensor[], S>(
  definition: FunctionDefinition<A, R, S>,
  ctx: Context<S>,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
): BackwardFunction {
  const { name } = definition;
  const arguments_ = inputs.map((t) => t && kindOf(t));
  const results = outputs.map(kindOf);
  return (gradients, saved, needs) => {
    const arrived = [...gradients];
    const gradOutputs = results.map((kind) => (isFloating(kind) ? arrived.shift() : null) ?? filled(kind, 0));
    ctx.savedTensors = saved;
    ctx.needsInputGrad = needs;
    try {
      const call = (): unknown => definition.backward(ctx, ...gradOutputs);
      return checkGradients(name, callSynchronous(name, call, definition.backward as () => unknown), arguments_, needs);
    } finally {
      ctx.savedTensors = [];
    }
  };
}

function checkGradients(
  name: string,
  result: unknown,
  inputs: readonly (Kind | null)[],
  needs: readonly boolean[],
): (Tensor | null)[] {
  const list: unknown[] = Array.isArray(result) ? result : [result];
  if (list.length !== inputs.length) {
    const expected = `a function to ${inputs.length} gradients, one for each argument`;
    throw argumentError('INVALID_ARGUMENT', name, 'backward', expected, `one to ${list.length}`);
  }
  return list.map((gradient, i) => {
    if (gradient === null || gradient === undefined) return null;
    const argument = `the gradient of args[${i}]`;
    const input = inputs[i];
    if (!input) throw argumentError('INVALID_ARGUMENT', name, argument, 'null: it is no tensor', describe(gradient));
    if (!needs[i]) return null;
    checkGradientLike(name, argument, gradient, input);
    return gradient;
  });
}

/** The same with recording on. Every gradient is linear in those of the results, so it must depend on them. */
function recordedOf(name: string, back: BackwardFunction, complete: boolean): BackwardFunction {
  const refuse = (what: string): never => {
    const message = `${name}: ${what}, so that it has no gradient of its gradient`;
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'createGraph', found: name });
  };
  return (gradients, saved, needs, into) => {
    if (!complete) refuse('saveForBackward was given a tensor that is neither an argument nor a result');
    const probes = gradients.map((g) => {
      if (!g || g.requiresGrad) return g;
      const probe = g.detach();
      probe.requiresGrad = true;
      return probe;
    });
    return back(probes, saved, needs, into).map((g, i) => {
      if (g && !g.requiresGrad) refuse(`the gradient of args[${i}] does not come from differentiable operators`);
      const probe = g ? probes.indexOf(g) : -1;
      return probe < 0 ? g : gradients[probe];
    });
  };
}
