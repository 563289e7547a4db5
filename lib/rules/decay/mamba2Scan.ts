// The scan of Mamba-2 (Dao and Gu 2024; spec 2.13.6): linear attention with a decay per head, whose steps in time are inputs.
import { argumentError, checkInteger, checkNumber, type OptionNames, type Tensor } from '../../core';
import { needsFloat32, toFloat32, withChecks } from '../../ops';
import { lowerRule } from '../recurrence/define';
import type { CommonOptions } from '../recurrence/operands';
import { defineSequential } from '../sequential/define';
import type { Given } from '../sequential/shapes';
import { readTimeSteps, TIME_STEP_OPTIONS, type TimeStepOptions, type TimeSteps, timeSteps } from './timeSteps';

/** Options of `mamba2Scan`. */
export interface Mamba2ScanOptions extends TimeStepOptions, Pick<CommonOptions, 'mode' | 'chunkSize'> {
  /** Multiplies what is read from the state, 1 by default. */
  scale?: number | null;
  /** G, which b and c must then have. */
  groups?: number | null;
}

const OPTIONS: OptionNames<Mamba2ScanOptions> = {
  ...TIME_STEP_OPTIONS,
  scale: true,
  groups: true,
  mode: true,
  chunkSize: true,
};

const INPUTS = {
  x: 'B T H V',
  dt: 'B T H',
  aLog: 'H',
  b: 'B T G K',
  c: 'B T G K',
  d: 'H | H V?',
  dtBias: 'H?',
} as const;

const recurrence = lowerRule<{ gate: Tensor; beta: Tensor }>({
  name: 'mamba2Scan',
  kind: {},
  lower: ({ q, k, v }, { gate, beta }) => ({ q, k, v, gate, beta }),
});

type Inputs = Given<typeof INPUTS>;

/** The decay of a step and the strength of its write, which is that of x times the step. */
function gatesOf({ dt, aLog, dtBias }: Inputs, steps: TimeSteps): { gate: Tensor; beta: Tensor } {
  const beta = timeSteps(dt, dtBias ?? null, steps);
  return { gate: beta.mul(toFloat32(aLog).exp().neg()), beta };
}

/** With d x; in float32 where the rule computes in it. */
function withSkip(read: Tensor, { x, d }: Inputs): Tensor {
  if (!d) return read;
  const [y, values] = needsFloat32(x) ? [toFloat32(read), toFloat32(x)] : [read, x];
  // Rows of all heads at once, which go faster than a number for each head.
  const weights = d.ndim === 1 ? d.unsqueeze(1).expand(x.shape.slice(-2)).contiguous() : d;
  return y.add(values.mul(weights.to(values.dtype)));
}

/**
 * delta_t = softplus(dt_t + dtBias) within `dtLimit`,  S_t = exp(-exp(aLog) delta_t) S_{t-1} + delta_t b_t x_t^T,
 * o_t = scale S_t^T c_t + d x_t: output [B, T, H, V]. x [B, T, H, V], dt [B, T, H], aLog, dtBias [H], keys b and queries c
 * [B, T, G, K], where head h has group floor(h G / H), d [H] or [H, V] (0 by default); the `state` is [B, H, K, V].
 */
export const mamba2Scan = defineSequential({
  name: 'mamba2Scan',
  inputs: INPUTS,
  states: { state: 'B H K V' },
  options: OPTIONS,
  settings: (where, options: Mamba2ScanOptions) => ({
    steps: readTimeSteps(where, options),
    scale: checkNumber(where, 'scale', options.scale ?? 1),
    groups: options.groups == null ? null : checkInteger(where, 'groups', options.groups, 1),
    mode: options.mode ?? 'auto',
    chunkSize: options.chunkSize ?? 64,
  }),
  settle(where, { H, G, K }, { groups }) {
    if (groups !== null && groups !== G) {
      throw argumentError('INVALID_ARGUMENT', where, 'groups', `${G} like those of b`, String(groups));
    }
    if (G > 0 && H % G === 0) return;
    throw argumentError('SHAPE', where, 'b', `[..., a divisor of ${H}, ${K}] (groups, state)`, `[..., ${G}, ${K}]`);
  },
  packs: true,
  bfloat16: true,
  run({ inputs, states, settings, cuSeqlens, fresh, finals }) {
    const { steps, scale, mode, chunkSize } = settings;
    const initialState = fresh ? null : states.state;
    const options = { scale, mode, chunkSize, cuSeqlens, initialState, outputFinalState: finals };
    const { output, finalState } = withChecks(false, () =>
      recurrence.sequence(inputs.c, inputs.b, inputs.x, { ...gatesOf(inputs, steps), ...options }),
    );
    return { output: withSkip(output, inputs), states: { state: finalState ?? states.state } };
  },
  step({ inputs, states, settings: { steps, scale } }) {
    const read = withChecks(false, () =>
      recurrence.step(inputs.c, inputs.b, inputs.x, { ...gatesOf(inputs, steps), scale, ...states }),
    );
    return withSkip(read, inputs);
  },
});
