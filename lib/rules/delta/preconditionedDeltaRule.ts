// The preconditioned delta rule: what is written goes along keys that a running curvature rescales (spec 2.13.12).
import { checkNumber, type Tensor } from '../../core';
import { l2Norm, normalize, ones, withChecks } from '../../ops';
import { unobserved } from '../observe';
import { checkLogarithm } from '../recurrence/checks';
import { runRecurrence } from '../recurrence/run';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';

/** Options of `preconditionedDeltaRule`. */
export interface PreconditionedDeltaOptions {
  /** Multiplies the output; K ** -0.5 by default. */
  scale?: number | null;
  /** How far a channel is rescaled: by 1 / base to base. 1.5 by default; eigenvalues stay in the unit circle up to 2. */
  base?: number;
  /** Added to the curvature in its logarithm, 2 ** -126 at least; 1e-6 by default. */
  eps?: number;
  /**
   * Whether q and k are divided by sqrt(sum x^2 + 1e-6). false by default: then, beside a gate [B, T, HV], by max(|x|, 1e-12), and
   * beside one of every channel they are taken as they are.
   */
  qkL2Norm?: boolean;
}

const name = 'preconditionedDeltaRule';
const OPTIONS = { scale: true, base: true, eps: true, qkL2Norm: 'flag' } as const;

/** Less than this is 0 in float32, and the logarithm of no curvature infinite. */
const LEAST_EPS = 2 ** -126;

/** The logarithm of curvature that is not rescaled, where none is given. */
const CENTER = -0.2;

const rule = defineSequential({
  name,
  inputs: {
    q: 'B T H K',
    k: 'B T H K',
    v: 'B T G V',
    gate: 'B T G | B T G K',
    beta: 'B T G?',
    preconditionerGate: 'B T H',
    preconditionerBeta: 'B T H',
    preconditionerCenter: 'H?',
  },
  states: { state: 'B G K V', preconditioner: 'B H K' },
  packs: true,
  options: OPTIONS,
  settings(where, options: PreconditionedDeltaOptions, { gate, preconditionerGate }) {
    checkLogarithm(where, 'gate', gate);
    checkLogarithm(where, 'preconditionerGate', preconditionerGate);
    return {
      scale: options.scale == null ? null : checkNumber(where, 'scale', options.scale),
      base: checkNumber(where, 'base', options.base ?? 1.5, Number.MIN_VALUE),
      eps: checkNumber(where, 'eps', options.eps ?? 1e-6, LEAST_EPS),
      qkL2Norm: options.qkL2Norm ?? false,
    };
  },
  run({ inputs, states, settings: { scale, base, eps, qkL2Norm }, sizes: { H }, cuSeqlens }) {
    const { v, gate, beta, preconditionerCenter: center } = inputs;
    const unit = (x: Tensor): Tensor => (qkL2Norm ? l2Norm(x) : gate.ndim === 3 ? normalize(x, { dim: -1 }) : x);
    const [q, k] = [unit(inputs.q), unit(inputs.k)];
    const curvature = unobserved(() => curvatures(k, inputs, states.preconditioner, cuSeqlens));
    const logs = curvature.output.add(eps).log();
    const r = center ? logs.sub(center.reshape(H, 1)) : logs.sub(CENTER);
    const writeKey = r.div(r.abs().add(1)).mul(-Math.log(base)).exp().mul(k);
    const options = { scale, cuSeqlens, initialState: states.state, outputFinalState: true };
    const operands = { q, k, v, gate, beta, eraseKey: k, writeKey };
    const { output, finalState } = withChecks(false, () =>
      runRecurrence(name, operands, options, { eraseFrom: 'decayed' }),
    );
    return { output, states: { state: finalState!, preconditioner: curvature.finalState!.squeeze(2) } };
  },
});

/** A_t = exp(gate) A_{t-1} + beta k_t^2 of every channel, a state of one row: all of them, and the last. */
function curvatures(
  k: Tensor,
  gates: { preconditionerGate: Tensor; preconditionerBeta: Tensor },
  initial: Tensor,
  cuSeqlens: readonly number[] | null,
): ReturnType<typeof runRecurrence> {
  const rates = gates.preconditionerBeta.unsqueeze(3);
  const query = ones([1], { dtype: k.dtype, device: k.device }).expand(rates.shape).contiguous();
  const operands = { q: query, k: rates, v: k.square(), gate: gates.preconditionerGate };
  const options = { scale: 1, cuSeqlens, initialState: initial.unsqueeze(2), outputFinalState: true };
  return withChecks(false, () => runRecurrence(name, operands, options, {}));
}

/**
 * The gated delta rule whose writes go along rescaled keys ("Preconditioned DeltaNet", 2026; flash-linear-attention; spec
 * 2.13.12): A_t = exp(preconditionerGate_t) A_{t-1} + preconditionerBeta_t k_t^2 for each channel,
 * r = log(A_t + eps) - preconditionerCenter, w_t = base^(-r / (1 + |r|)) k_t, then
 * S~ = exp(gate_t) S_{t-1},  S_t = S~ + w_t (beta_t (v_t - S~^T k_t))^T,  o_t = scale S_t^T q_t: output [B, T, HV, V].
 *
 * q, k [B, T, H, K], v [B, T, HV, V]; gate [B, T, HV], and then q and k are brought to unit length here
 * (x / max(|x|, 1e-12)), or [B, T, HV, K], and then they are taken as they are, but see `qkL2Norm`; beta [B, T, HV], 1 by default;
 * preconditionerGate, a logarithm, and preconditionerBeta [B, T, H]; preconditionerCenter [H], -0.2 by default. States
 * `state` S [B, HV, K, V] and `preconditioner` A [B, H, K].
 */
export const preconditionedDeltaRule = withQkv(name, rule, Object.keys(OPTIONS));
