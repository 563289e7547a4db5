// Fast weights programmed by outer products (Schmidhuber 1991, in the notation of Schlag et al. 2021, eqs. 1 to 3; spec 2.1.1).
import { checkNumber, type Tensor } from '../../core';
import { linear } from '../../ops';
import { defineSequential } from '../sequential/define';
import { runParts, type SlowNet } from './compose';
import { linearReadout, SQUASH_OPTIONS, type SquashOptions, squashSettings, sumUpdate } from './parts';

/** Options of `outerProduct1991`; `activation` squashes the fast weights after every write. */
export interface OuterProduct1991Options extends SquashOptions {
  /** Whether the output reads the fast weights after the write of its token: true by default. */
  readAfterWrite?: boolean;
  /** Multiplies the output: 1 by default. */
  scale?: number;
}

const INPUTS = { x: 'B T I', Wa: 'V I', Wb: 'I I' } as const;

const slow: SlowNet<typeof INPUTS, { q: Tensor; k: Tensor; v: Tensor }> = {
  inputs: INPUTS,
  program: ({ x, Wa, Wb }) => {
    const [q, k, v] = [x, linear(x, Wb), linear(x, Wa)].map((t) => t.unsqueeze(2));
    return { q, k, v };
  },
};

/**
 * a_t = Wa x_t, b_t = Wb x_t, S_t = activation(S_{t-1} + b_t a_t^T), y_t = scale S_t^T x_t: output [B, T, 1, V].
 * x [B, T, I], Wa [V, I], Wb [I, I]; the state is [B, 1, I, V]. Without squashing it is the general recurrence.
 */
export const outerProduct1991 = defineSequential({
  name: 'outerProduct1991',
  inputs: INPUTS,
  states: { state: 'B 1 I V' },
  options: { ...SQUASH_OPTIONS, readAfterWrite: 'flag', scale: true },
  settings: (where, options: OuterProduct1991Options) => ({
    squash: squashSettings(where, options),
    read: (options.readAfterWrite ?? true) ? ('after' as const) : ('before' as const),
    scale: checkNumber(where, 'scale', options.scale ?? 1),
  }),
  run({ inputs, states, settings: { squash, read, scale } }) {
    const updateRule = sumUpdate(squash);
    const fastNet = linearReadout('B 1 I V', { activation: 'identity', steepness: 1 }, scale);
    return runParts('outerProduct1991', { slow, updateRule, fastNet, read }, inputs, states);
  },
});
