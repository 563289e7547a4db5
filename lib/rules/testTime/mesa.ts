// MesaNet: the memory that fits the whole past best, found anew for every query (von Oswald et al. 2025; spec 2.13.15).
import { argumentError, checkChoice, checkInteger, checkNumber, type Tensor } from '../../core';
import { defineFunction, noGrad } from '../../autograd';
import { checkValues, type CuSeqlens, withChecks } from '../../ops';
import { observed, tellMemory, unobserved } from '../observe';
import { checkGate } from '../recurrence/checks';
import { runRecurrence } from '../recurrence/run';
import { defineSequential } from '../sequential/define';
import type { Ran, Run } from '../sequential/types';
import { withQkv } from '../sequential/qkv';
import { iterate, type Product, solve } from './conjugateGradients';

/** Options of `mesa`. */
export interface MesaOptions {
  /**
   * 'exact', the default, solves the systems to the precision of their dtype, and its gradient is that of the solution; 'cg'
   * runs a fixed number of iterations as flash-linear-attention does, and its gradient goes through them: from 0, but a call of
   * one token, unless it is packed, starts from q over the diagonal as decoding there does, so its iterations give other numbers.
   */
  solver?: 'exact' | 'cg';
  /** Of 'cg', 30 by default. */
  maxIterations?: number | null;
  /** Multiplies the output, 1 by default. */
  scale?: number | null;
}

const OPTIONS = { solver: true, maxIterations: true, scale: true } as const;

/** What H_kk of every token is made of. */
interface Keys {
  /** k [B, T, H, K] */
  k: Tensor;
  /** beta k [B, T, H, K] */
  written: Tensor;
  /** [B, T, H] */
  gate: Tensor;
  /** [N, H, K, K] */
  state: Tensor;
  /** [H, K] */
  lambda: Tensor;
  cuSeqlens: CuSeqlens | null;
}

/** S_t^T q_t with S_t = exp(gate_t) S_{t-1} + (beta k)_t v_t^T of every token, and the last S. */
function read(
  q: Tensor,
  v: Tensor,
  { written, gate, cuSeqlens }: Keys,
  initialState: Tensor,
  scale = 1,
): { output: Tensor; state: Tensor } {
  const options = { initialState, scale, cuSeqlens, outputFinalState: true };
  const { output, finalState } = unobserved(() => runRecurrence('mesa', { q, k: written, v, gate }, options, {}));
  return { output, state: finalState! };
}

/** (H_kk + Diag(lambda)) x of every token. */
const systemOf =
  (keys: Keys): Product =>
  (x) =>
    read(x, keys.k, keys, keys.state).output.add(x.mul(keys.lambda));

/** The part of `Keys` that a backward pass finds again. */
const tensorsOf = ({ k, written, gate, state, lambda }: Keys): Tensor[] => [k, written, gate, state, lambda];

/**
 * x with A x = q as a function of what is left of q, r = q - A x, which is 0: with dr = dq - dA x its slope is A^-1 dr. So
 * whatever r depends on gets the gradient of the exact solution.
 */
const solution = defineFunction({
  name: 'mesa',
  onceDifferentiable: true,
  forward(ctx, x: Tensor, _rest: Tensor, cuSeqlens: CuSeqlens | null, ...tensors: Tensor[]) {
    ctx.saveForBackward(...tensors);
    ctx.state = { cuSeqlens };
    return x.clone();
  },
  backward(ctx, gradient) {
    const [k, written, gate, state, lambda] = ctx.savedTensors;
    const { cuSeqlens } = ctx.state as { cuSeqlens: CuSeqlens | null };
    const system = systemOf({ k, written, gate, state, lambda, cuSeqlens });
    const rest = noGrad(() => withChecks(false, () => solve(system, gradient)));
    return [null, rest, null, null, null, null, null, null];
  },
});

function exactly(q: Tensor, keys: Keys): Tensor {
  const x = noGrad(() => solve(systemOf(keys), q));
  const rest = q.sub(systemOf(keys)(x));
  return solution(x, rest, keys.cuSeqlens, ...tensorsOf(keys));
}

/** A single token starts from q / (diagonal of the system), as decoding does; more of them from 0. */
function byIterations(q: Tensor, keys: Keys, iterations: number): Tensor {
  const { k, written, gate, state, lambda, cuSeqlens } = keys;
  const alone = q.shape[1] === 1 && !cuSeqlens;
  const before = alone && state.diagonal(0, 2, 3).unsqueeze(1).mul(gate.exp().unsqueeze(3));
  const start = before && q.div(before.add(written.mul(k)).add(lambda));
  return iterate(systemOf(keys), q, start || null, iterations);
}

const INPUTS = { k: 'B T H K', q: 'B T H K', v: 'B T H V', gate: 'B T H', beta: 'B T H', lambda: 'H K' } as const;
const STATES = { keyState: 'B H K K', state: 'B H K V' } as const;

function fitAndRead({
  inputs: { q, k, v, gate, beta, lambda },
  states,
  settings: { iterations, scale },
  cuSeqlens,
}: Run<typeof INPUTS, typeof STATES, { iterations: number | null; scale: number }>): Ran<typeof STATES> {
  // H_kk is symmetric, and so are its gradients.
  const keyState = states.keyState.add(states.keyState.transpose(2, 3)).div(2);
  const keys: Keys = { k, written: k.mul(beta.unsqueeze(3)), gate, state: keyState, lambda, cuSeqlens };
  const x = iterations === null ? exactly(q, keys) : byIterations(q, keys, iterations);
  const values = read(x, v, keys, states.state, scale);
  if (observed() && !cuSeqlens) {
    const inputs = { q: x, k: keys.written, v, gate };
    const shared = { rule: 'mesa', kind: {}, denominator: null };
    tellMemory({ ...shared, matrix: 'Hkk', inputs: { ...inputs, v: k }, scale: 1, initialState: keyState });
    tellMemory({ ...shared, matrix: 'Hkv', inputs, scale, initialState: states.state });
  }
  return { output: values.output, states: { keyState: read(x, k, keys, keyState).state, state: values.state } };
}

const rule = defineSequential({
  name: 'mesa',
  inputs: INPUTS,
  states: STATES,
  packs: true,
  options: OPTIONS,
  settings(where, { solver = 'exact', maxIterations = null, scale }: MesaOptions, { gate, lambda }) {
    checkChoice(where, 'solver', solver, ['exact', 'cg']);
    if (solver === 'exact' && maxIterations !== null) {
      throw argumentError(
        'INVALID_ARGUMENT',
        where,
        'maxIterations',
        "left out with solver 'exact'",
        String(maxIterations),
      );
    }
    checkGate(where, gate);
    checkValues(where, 'lambda', lambda, 'above 0', (x) => x > 0);
    return {
      iterations: solver === 'exact' ? null : checkInteger(where, 'maxIterations', maxIterations ?? 30, 0),
      scale: checkNumber(where, 'scale', scale ?? 1),
    };
  },
  // The states are checked in the end, where the token that spoilt them is found, and not every operator of every iteration.
  run: (given) => withChecks(false, () => fitAndRead(given)),
});

/**
 * The least squares fit of the whole past, weighted by decays and strengths, read with every query (von Oswald et al. 2025,
 * "MesaNet: Sequence Modeling by Locally Optimal Test-Time Training"): Hkk_t = exp(gate_t) Hkk_{t-1} + beta_t k_t k_t^T,
 * Hkv_t = exp(gate_t) Hkv_{t-1} + beta_t k_t v_t^T,  o_t = scale Hkv_t^T (Hkk_t + Diag(lambda))^-1 q_t. The systems of all
 * tokens are solved together by conjugate gradients, each iteration one linear attention: a call takes about as long as 25 of
 * `deltaRule`, with gradients 10 (2048 tokens, width 64). q, k [B, T, H, K], v [B, T, H, V],
 * gate and beta [B, T, H], lambda [H, K] above 0: output [B, T, H, V]; states `keyState` Hkk [N, H, K, K], symmetric, and
 * `state` Hkv [N, H, K, V].
 */
export const mesa = withQkv('mesa', rule, Object.keys(OPTIONS));
