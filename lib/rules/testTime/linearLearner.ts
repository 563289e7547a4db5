// The kernel of a matrix that learns at test time, over whole chunks: what `learnChunks` composes for one layer.
import type { Tensor } from '../../core';
import { emptyLike, kernelsOf } from '../../ops';
import { callKernel } from '../sequential/kernel';

/** Tokens [B, n C, H, ...] of n chunks of C, and how the weights go on. */
export interface LinearLearnerInputs {
  q: Tensor;
  k: Tensor;
  target: Tensor;
  /** The rate of each token's gradient, [B, n C, H]. */
  theta: Tensor;
  /** That of reading, [B, n C, H]; null with momentum. */
  scale: Tensor | null;
  /** What is forgotten of the weights, and what is left of the momentum, [B, n C, H]; null without momentum. */
  alpha: Tensor | null;
  eta: Tensor | null;
  /** Weight and bias [H, V] of a layer norm LN: the network is then x + LN(x W). Null for none. */
  normWeight: Tensor | null;
  normBias: Tensor | null;
  /** W [B, H, R, V], with a bias as its last row. */
  state: Tensor;
  /** S [B, H, R, V], or null without momentum. */
  momentum: Tensor | null;
}

/**
 * Outputs [B, n C, H, V], and W and S after the last chunk of `size` tokens. With a norm outputs are q + LN(read), or
 * with `addsRead` read + LN(read).
 */
export function linearLearner(
  inputs: LinearLearnerInputs,
  { size, bias, eps, addsRead = false }: { size: number; bias: boolean; eps: number; addsRead?: boolean },
): { output: Tensor; state: Tensor; momentum: Tensor | null } {
  const { q, target, momentum } = inputs;
  const [B, T, H, K] = q.shape;
  const V = target.shape[3];
  const flags = { bias: Number(bias), momentum: Number(momentum !== null), addsRead: Number(addsRead) };
  const numbers = { sequences: B, tokens: T, heads: H, keyDim: K, valueDim: V, chunk: size, eps, ...flags };
  const names = Object.keys(inputs) as (keyof LinearLearnerInputs)[];
  const named = (all: (Tensor | null)[]): LinearLearnerInputs =>
    Object.fromEntries(names.map((name, i) => [name, all[i]])) as unknown as LinearLearnerInputs;
  const [output, state, after] = callKernel(
    'linearLearner',
    Object.values(inputs) as (Tensor | null)[],
    (all, training) => {
      const { state: initialState, momentum: initialMomentum, ...operands } = named(all);
      const states = training ? emptyLike(initialState, [B, T / size, H, 1 + flags.momentum, K + flags.bias, V]) : null;
      const result = emptyLike(operands.target);
      const reads = training && operands.normWeight ? emptyLike(operands.target) : null;
      const finalState = emptyLike(initialState);
      const finalMomentum = initialMomentum && emptyLike(initialMomentum);
      const outs = { initialState, initialMomentum, output: result, finalState, finalMomentum, states, reads };
      kernelsOf(result).linearLearner({ ...operands, ...outs, ...numbers });
      const outputs = [result, finalState, ...(finalMomentum ? [finalMomentum] : [])];
      return { outputs, kept: [states, reads].filter((t) => t !== null) };
    },
    ([doutput, dfinalState, dfinalMomentum = null], all, [states, reads = null]) => {
      const { state: initialState, momentum: initialMomentum, ...operands } = named(all);
      const like = <T extends Tensor | null>(t: T): T => (t && emptyLike(t)) as T;
      const own = (t: Tensor | null): Tensor | null => t && emptyLike(t, [B, H, V]);
      const gradients = {
        dq: like(operands.q),
        dk: like(operands.k),
        dtarget: like(operands.target),
        dtheta: like(operands.theta),
        dscale: like(operands.scale),
        dalpha: like(operands.alpha),
        deta: like(operands.eta),
        dnormWeight: own(operands.normWeight),
        dnormBias: own(operands.normBias),
        dinitialState: like(initialState),
        dinitialMomentum: like(initialMomentum),
      };
      const outs = { states, reads, doutput, dfinalState, dfinalMomentum };
      kernelsOf(doutput).linearLearnerBackward({ ...operands, ...outs, ...gradients, ...numbers });
      const { dinitialState, dinitialMomentum, dnormWeight, dnormBias, ...rest } = gradients;
      const byName: Record<string, Tensor | null> = {
        ...Object.fromEntries(Object.entries(rest).map(([name, t]) => [name.slice(1), t])),
        normWeight: dnormWeight && dnormWeight.sum(0),
        normBias: dnormBias && dnormBias.sum(0),
        state: dinitialState,
        momentum: dinitialMomentum,
      };
      return names.map((name) => byName[name]);
    },
  );
  return { output, state, momentum: after ?? null };
}
