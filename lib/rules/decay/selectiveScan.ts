// The selective scan of Mamba (Gu and Dao 2023): every entry of the state decays by itself, by a step in time that is an input.
import type { Tensor } from '../../core';
import { toFloat32, withChecks } from '../../ops';
import { lowerRule } from '../recurrence/define';
import { observed, tellMemory, unobserved } from '../observe';
import { defineSequential } from '../sequential/define';
import { inSegments } from '../sequential/segments';
import { readTimeSteps, TIME_STEP_OPTIONS, type TimeStepOptions, timeSteps } from './timeSteps';

/** Tokens whose decays, N for every value, are in memory at once. */
const SEGMENT = 64;

/** Each channel is a head of one value, all of them with the same keys and queries. */
const recurrence = lowerRule<{ gate: Tensor; beta: Tensor }>({
  name: 'selectiveScan',
  kind: {},
  lower: ({ q, k, v }, { gate, beta }) => ({ q, k, v, gate, beta }),
});

/** steps [..., D] and aLog [D, N] to the logarithms of decay [..., D, N]. */
const gateOf = (steps: Tensor, aLog: Tensor): Tensor => steps.unsqueeze(-1).mul(aLog.exp().neg());

/** y + d x */
const withSkip = (y: Tensor, x: Tensor, d?: Tensor | null): Tensor => (d ? y.add(x.mul(d)) : y);

/**
 * delta_t = softplus(dt_t + dtBias) within `dtLimit`,  h_t = exp(-exp(aLog) delta_t) h_{t-1} + delta_t x_t b_t^T, elementwise in
 * h,  y_t = h_t c_t + d x_t: output [B, T, D]. x and dt [B, T, D], aLog [D, N], b and c [B, T, N], dtBias and d [D] (0 by
 * default); the `state` is [B, D, N]. A backward pass keeps states, not the decays of every token.
 */
export const selectiveScan = defineSequential({
  name: 'selectiveScan',
  inputs: { x: 'B T D', dt: 'B T D', aLog: 'D N', b: 'B T N', c: 'B T N', d: 'D?', dtBias: 'D?' },
  states: { state: 'B D N' },
  options: TIME_STEP_OPTIONS,
  settings: (where, options: TimeStepOptions) => readTimeSteps(where, options),
  run({ inputs: { x, dt, aLog, b, c, d, dtBias }, states, settings }) {
    const steps = timeSteps(dt, dtBias ?? null, settings);
    const loop = { tokens: { x, steps, b, c }, states, weights: { aLog } };
    const { output, states: after } = inSegments(loop, SEGMENT, (tokens, { state }, own) => {
      const gates = { gate: gateOf(tokens.steps, own.aLog), beta: tokens.steps };
      const [q, k, v] = [tokens.c.unsqueeze(2), tokens.b.unsqueeze(2), tokens.x.unsqueeze(3)];
      const options = { ...gates, scale: 1, initialState: state.unsqueeze(3), outputFinalState: true };
      const read = unobserved(() => withChecks(false, () => recurrence.sequence(q, k, v, options)));
      return { output: read.output.squeeze(3), states: { state: read.finalState!.squeeze(3) } };
    });
    if (observed()) {
      const own = { q: c.unsqueeze(2), k: b.unsqueeze(2), v: x.unsqueeze(3), gate: gateOf(steps, aLog), beta: steps };
      const call = { rule: 'selectiveScan', matrix: 'h', inputs: own, kind: {}, scale: 1, denominator: null };
      tellMemory({ ...call, initialState: states.state.unsqueeze(3) });
    }
    return { output: withSkip(output, x, d), states: after };
  },
  step({ inputs: { x, dt, aLog, b, c, d, dtBias }, states: { state }, settings }) {
    const beta = timeSteps(dt, dtBias ?? null, settings);
    const options = { gate: gateOf(beta, toFloat32(aLog)), beta, scale: 1, state: state.unsqueeze(3) };
    const read = withChecks(false, () => recurrence.step(c.unsqueeze(1), b.unsqueeze(1), x.unsqueeze(2), options));
    return withSkip(read.squeeze(2), x, d);
  },
});
