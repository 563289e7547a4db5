// Fast weights that a slow net changes one by one, or by FROM and TO units (Schmidhuber 1992; spec 2.1.2).
import { argumentError, checkChoice, describe, type Tensor } from '../../core';
import { defineSequential } from '../sequential/define';
import type { Given } from '../sequential/shapes';
import { runParts, type SlowNet, type UpdateRule } from './compose';
import { linearReadout, SQUASH_OPTIONS, squash, type SquashOptions, squashSettings, sumUpdate } from './parts';

/** Options of `fromTo1992`; `activation` squashes the fast weights after every write. */
export interface FromTo1992Options extends SquashOptions {
  /** 'fromTo', the default: the change is from_t to_t^T. 'direct': a unit for each fast weight, delta_t. */
  interface?: 'fromTo' | 'direct';
  /** Whether the output reads the fast weights after the write of its token: false, as published, by default. */
  readAfterWrite?: boolean;
}

const INPUTS = { x: 'B T I', from: 'B T I?', to: 'B T V?', delta: 'B T I V?' } as const;
type Inputs = Given<typeof INPUTS>;

const fromTo: SlowNet<typeof INPUTS, { q: Tensor; k: Tensor; v: Tensor }> = {
  inputs: INPUTS,
  program: ({ x, from, to }) => ({ q: x.unsqueeze(2), k: from!.unsqueeze(2), v: to!.unsqueeze(2) }),
};

const direct: SlowNet<typeof INPUTS, { q: Tensor; delta: Tensor }> = {
  inputs: INPUTS,
  program: ({ x, delta }) => ({ q: x.unsqueeze(2), delta: delta!.unsqueeze(2) }),
};

const addDelta = (settings: Required<SquashOptions>): UpdateRule<{ state: string }, { delta: Tensor }> => ({
  write: ({ state }, { delta }) => ({ state: squash(state.add(delta), settings) }),
});

/** Requires the inputs of an interface, and none of the other. */
function checkInterface(where: string, kind: 'fromTo' | 'direct', inputs: Inputs): void {
  for (const name of ['from', 'to', 'delta'] as const) {
    const wanted = (name === 'delta') === (kind === 'direct');
    const given = inputs[name] ?? null;
    if ((given !== null) === wanted) continue;
    const expected = `${wanted ? 'a Tensor' : 'left out'} with the interface '${kind}'`;
    throw argumentError('INVALID_ARGUMENT', where, name, expected, describe(given ?? undefined));
  }
}

/**
 * y_t = S_{t-1}^T x_t, then S_t = activation(S_{t-1} + from_t to_t^T) or activation(S_{t-1} + delta_t): output [B, T, 1, V].
 * x [B, T, I], from [B, T, I] and to [B, T, V], or delta [B, T, I, V], all from a slow net; the state is [B, 1, I, V].
 * 'sigmoidSteep', which keeps fast weights between 0 and 1, is recalled from the paper, not checked against it.
 */
export const fromTo1992 = defineSequential({
  name: 'fromTo1992',
  inputs: INPUTS,
  states: { state: 'B 1 I V' },
  options: { ...SQUASH_OPTIONS, interface: true, readAfterWrite: 'flag' },
  settings: (where, options: FromTo1992Options, inputs) => {
    const kind = checkChoice(where, 'interface', options.interface ?? 'fromTo', ['fromTo', 'direct']);
    checkInterface(where, kind, inputs);
    const read = options.readAfterWrite ? ('after' as const) : ('before' as const);
    return { kind, read, squash: squashSettings(where, options) };
  },
  run({ inputs, states, settings }) {
    const { kind, read } = settings;
    const fastNet = linearReadout('B 1 I V', { activation: 'identity', steepness: 1 }, 1);
    return kind === 'direct'
      ? runParts('fromTo1992', { slow: direct, updateRule: addDelta(settings.squash), fastNet, read }, inputs, states)
      : runParts('fromTo1992', { slow: fromTo, updateRule: sumUpdate(settings.squash), fastNet, read }, inputs, states);
  },
});
