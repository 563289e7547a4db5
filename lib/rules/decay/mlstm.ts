// mLSTM, the matrix memory of xLSTM: exponential input gates, kept in range by a running maximum (Beck et al. 2024; spec 2.13.3).
import {
  argumentError,
  checkChoice,
  checkNumber,
  checkOptions,
  formatShape,
  type OptionNames,
  scoped,
  type Tensor,
} from '../../core';
import {
  cat,
  checkAlikeOrWider,
  checkCuSeqlens,
  checkFloat,
  checkOut,
  checkShape,
  checkState,
  checksValues,
  checkWritable,
  computesInFloat32,
  maximum,
  toFloat32,
  withChecks,
  type WithFinalState,
  zerosBeside,
} from '../../ops';
import { observed, tellMemory, unobserved } from '../observe';
import { checkNumbers, checkOneDtype } from '../recurrence/checks';
import { unitValues } from '../recurrence/normalized';
import { COMMON_OPTIONS, type CommonOptions } from '../recurrence/operands';
import { prepareKeys } from '../recurrence/prepare';
import { runRecurrence } from '../recurrence/run';
import { checkApart, runStep, STEP_OPTIONS, type StepOptions } from '../recurrence/step';
import { exponentialGates } from './exponentialGates';

/** Gates of mLSTM and how they are used, over a sequence and in one step alike. */
export interface MlstmGates {
  /** Logarithm of what is written [B, T, HV], of any size. */
  inputGate: Tensor;
  /** Before its activation [B, T, HV]. */
  forgetGate: Tensor;
  /** 'sigmoid', by default, or 'exp'. */
  forgetActivation?: 'sigmoid' | 'exp';
  /** Added to the stabilised denominator: 1e-6 by default. */
  eps?: number;
}

/** Options of `mlstm`: its gates must be given. */
export interface MlstmOptions<F extends boolean = boolean> extends CommonOptions<F>, MlstmGates {
  /** n before the first token [N, HV, K]; zeros by default. */
  initialNormalizer?: Tensor | null;
  /** m before the first token [N, HV]; zeros by default. */
  initialMax?: Tensor | null;
}

/** Options of `mlstm.step`. */
export interface MlstmStepOptions extends StepOptions, MlstmGates {
  /** n [B, HV, K], updated in place. */
  normalizer: Tensor;
  /** m [B, HV], updated in place. */
  max: Tensor;
}

/** Output [B, T, HV, V] and, when asked for, the stabilised states [N, HV, K, V], [N, HV, K] and m [N, HV]. */
export type MlstmResult<F extends boolean = boolean> = { output: Tensor } & WithFinalState<F> & {
    finalNormalizer?: Tensor;
    finalMax?: Tensor;
  };

const GATES = { inputGate: true, forgetGate: true, forgetActivation: true, eps: true } as const;
const OPTIONS: OptionNames<MlstmOptions> = {
  ...COMMON_OPTIONS,
  ...GATES,
  initialNormalizer: true,
  initialMax: true,
};
const ONE_TOKEN_OPTIONS: OptionNames<MlstmStepOptions> = { ...STEP_OPTIONS, ...GATES, normalizer: true, max: true };

/** e^-m is held below the largest float32 and its gradient: what is divided by it is 0 long before. */
const LEAST_MAX = -80;

/** Requires gates of the heads of v, and a valid eps. */
function checkGates(where: string, v: Tensor, { inputGate, forgetGate, forgetActivation, eps }: MlstmGates): void {
  for (const [name, gate] of Object.entries({ inputGate, forgetGate })) {
    checkFloat(where, name, gate);
    checkAlikeOrWider(where, name, gate, v, 'v');
    checkShape(
      where,
      name,
      gate,
      v.shape.slice(0, -1),
      v.ndim === 4 ? 'batch, time, value heads' : 'batch, value heads',
    );
  }
  checkChoice(where, 'forgetActivation', forgetActivation ?? 'sigmoid', ['sigmoid', 'exp']);
  checkNumber(where, 'eps', eps ?? 1e-6, 0);
}

/** With the checks of values on, requires tensors without NaN. */
function requireNumbers(where: string, tensors: Record<string, Tensor>): void {
  for (const [name, t] of Object.entries(tensors)) if (checksValues(t)) checkNumbers(where, name, t);
}

const gatesOf = ({ inputGate, forgetGate, forgetActivation = 'sigmoid' }: MlstmGates) => ({
  inputGate,
  forgetGate,
  logSigmoid: forgetActivation === 'sigmoid',
});

/** max(|n . q|, e^-m) + eps, for sums [.., HV]: [.., HV, 1]. */
function denominatorOf(sums: Tensor, m: Tensor, eps: number): Tensor {
  return maximum(sums.abs(), m.maximum(LEAST_MAX).neg().exp()).add(eps).unsqueeze(-1);
}

const stabilised = computesInFloat32(
  (q: Tensor, k: Tensor, v: Tensor, options: MlstmOptions): MlstmResult => {
    const where = 'mlstm';
    const [B, , HV, V] = v.shape;
    const { cuSeqlens = null, initialState = null } = options;
    const N = cuSeqlens ? cuSeqlens.length - 1 : B;
    const prepared = prepareKeys({ q, k }, options);
    const K = prepared.q.shape[3];
    const stateOf = (name: 'initialNormalizer' | 'initialMax', shape: number[], meaning: string): Tensor | null => {
      const given = options[name] ?? null;
      if (given === null) return null;
      checkFloat(where, name, given);
      checkAlikeOrWider(where, name, given, v, 'v');
      checkShape(where, name, given, shape, meaning);
      return given;
    };
    requireNumbers(where, { q, k, v, inputGate: options.inputGate, forgetGate: options.forgetGate });
    const normalizer = stateOf('initialNormalizer', [N, HV, K], 'sequences, heads, key width');
    const initialMax = stateOf('initialMax', [N, HV], 'sequences, heads');
    if (initialState !== null) {
      checkFloat(where, 'initialState', initialState);
      checkShape(where, 'initialState', initialState, [N, HV, K, V], 'sequences, heads, key width, value width');
    }
    const { gate, beta, max, finalMax } = exponentialGates(where, { ...gatesOf(options), initialMax }, cuSeqlens);
    const states =
      initialState || normalizer
        ? cat(
            [initialState ?? zerosBeside(v, [N, HV, K, V]), (normalizer ?? zerosBeside(v, [N, HV, K])).unsqueeze(3)],
            3,
          )
        : null;
    const inputs = { ...prepared, v, gate, beta };
    const eps = options.eps ?? 1e-6;
    // A decay may be a little above 1, which gates are not checked for.
    const { output, sums, finalState } = unobserved(() =>
      withChecks(false, () => runRecurrence(where, inputs, { ...options, initialState: states }, {}, { max, eps })),
    );
    if (observed() && !cuSeqlens) {
      tellMemory({
        rule: where,
        matrix: 'C',
        inputs: { ...inputs, gate: gate.minimum(0) },
        kind: {},
        scale: options.scale ?? Math.max(1, K) ** -0.5,
        denominator: denominatorOf(sums!, max, eps),
        initialState,
      });
    }
    if (!finalState) return { output };
    const scaled = finalMax.requiresGrad
      ? finalState.mul(finalMax.detach().sub(finalMax).exp().unsqueeze(2).unsqueeze(3))
      : finalState;
    return {
      output,
      finalState: scaled.slice(3, 0, V),
      finalNormalizer: scaled.slice(3, V).squeeze(3),
      finalMax,
    };
  },
  ({ output, ...states }) => ({ output: output.to('bfloat16'), ...states }),
);

function sequence(q: Tensor, k: Tensor, v: Tensor, options: MlstmOptions): MlstmResult {
  const where = 'mlstm';
  checkOptions(where, options, OPTIONS);
  checkOneDtype(where, { q, k, v });
  for (const [name, t] of Object.entries({ q, k, v })) checkOperand(where, name, t, 4);
  checkGates(where, v, options);
  if (options.cuSeqlens !== undefined && options.cuSeqlens !== null) {
    checkCuSeqlens(where, options.cuSeqlens, v.shape[0], v.shape[1]);
  }
  return stabilised(q, k, v, options);
}

function checkOperand(where: string, name: string, t: Tensor, ndim: 3 | 4): void {
  if (t.ndim === ndim) return;
  throw argumentError(
    'SHAPE',
    where,
    name,
    ndim === 4 ? '[B, T, heads, width]' : '[B, heads, width]',
    formatShape(t.shape),
  );
}

function step(q: Tensor, k: Tensor, v: Tensor, options: MlstmStepOptions): Tensor {
  const where = 'mlstm.step';
  checkOptions(where, options, ONE_TOKEN_OPTIONS);
  checkOneDtype(where, { q, k, v });
  for (const [name, t] of Object.entries({ q, k, v })) checkOperand(where, name, t, 3);
  checkGates(where, v, options);
  const { state, normalizer, max, out, eps, inputGate, forgetGate, forgetActivation, ...common } = options;
  const [B, HV, V] = v.shape;
  const prepared = prepareKeys({ q: toFloat32(q), k: toFloat32(k) }, common);
  const K = prepared.q.shape[2];
  checkState(where, state, [B, HV, K, V], 'batch, heads, key width, value width');
  for (const [name, t, shape] of [
    ['normalizer', normalizer, [B, HV, K]],
    ['max', max, [B, HV]],
  ] as const) {
    checkFloat(where, name, t);
    checkShape(where, name, t, shape);
    checkWritable(where, name, t);
    checkAlikeOrWider(where, name, t, prepared.q, 'q');
    checkApart(where, name, t, state);
  }
  checkApart(where, 'max', max, normalizer);
  if (out !== undefined) {
    checkOut(where, out, [B, HV, V], 'batch, heads, value width', q);
    for (const each of [state, normalizer, max]) checkApart(where, 'out', out, each);
  }
  requireNumbers(where, { q, k, v, inputGate, forgetGate });
  const values = toFloat32(v);
  const [token, forget] = [inputGate, forgetGate].map((t) => toFloat32(t).unsqueeze(1));
  const raw = { ...gatesOf({ inputGate: token, forgetGate: forget, forgetActivation }), initialMax: max };
  const { gate, beta, finalMax: m } = exponentialGates(where, raw, null);
  const gates = { gate: gate.squeeze(1), beta: beta.squeeze(1) };
  const scale = common.scale ?? Math.max(1, K) ** -0.5;
  const ones = unitValues(values.unsqueeze(1), HV).squeeze(1);
  const through = (v: Tensor, state: Tensor): Tensor =>
    runStep(where, { ...prepared, v, ...gates }, { scale, state }, {});
  const [read, sums] = withChecks(false, () => [through(values, state), through(ones, normalizer.unsqueeze(3))]);
  max.copy_(m);
  const output = read.div(denominatorOf(sums.squeeze(-1), m, eps ?? 1e-6)).to(q.dtype);
  return out ? out.copy_(output) : output;
}

interface Mlstm {
  <F extends boolean = false>(q: Tensor, k: Tensor, v: Tensor, options: MlstmOptions<F>): MlstmResult<F>;
  /** One token: inputs [B, H, *], gates [B, HV]; the three states change in place; only inside noGrad. */
  step(q: Tensor, k: Tensor, v: Tensor, options: MlstmStepOptions): Tensor;
}

/**
 * C_t = f_t C_{t-1} + i_t k_t v_t^T,  n_t = f_t n_{t-1} + i_t k_t,  o_t = scale C_t^T q_t / max(|scale n_t . q_t|, 1) with
 * i = exp(inputGate) and f = sigmoid(forgetGate) (Beck et al. 2024, eqs. 19-27; spec 2.13.3). The states are those divided by
 * e^m, m_t = max(log f_t + m_{t-1}, inputGate_t) from m_0 = 0, as the published programs keep them: C = e^m `finalState`. q, k
 * [B, T, H, K], v [B, T, HV, V], gates [B, T, HV].
 */
export const mlstm = Object.assign(scoped(sequence) as Mlstm, { step: scoped(step) });
