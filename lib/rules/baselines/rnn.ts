// Elman's recurrent network, the plainest baseline, with PyTorch's equations and layout (spec 2.12).
import { checkChoice } from '../../core';
import { linear } from '../../ops';
import { overTime } from '../sequential/overTime';
import { defineLayers, type LayeredOptions } from './layers';

/** Options of `rnn`. */
export interface RnnOptions extends LayeredOptions {
  /** 'tanh' by default. */
  activation?: 'tanh' | 'relu';
}

/**
 * h_t = activation(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), layer upon layer: output [B, T, D] of the last one.
 * x [B, T, I], weightIh0 [D, I], weightHh0 [D, D], biasIh0, biasHh0 [D], weightIh1 [D, D], ...; the state `hidden` is
 * [layers, B, D].
 */
export const rnn = defineLayers({
  name: 'rnn',
  gates: 1,
  states: ['hidden'],
  options: { layers: true, activation: true },
  settings: (where, { activation }: RnnOptions): 'tanh' | 'relu' =>
    checkChoice(where, 'activation', activation ?? 'tanh', ['tanh', 'relu']),
  run(x, layers, { hidden }, activation) {
    let output = x;
    const after = layers.map(({ weightIh, weightHh, biasIh, biasHh }, l) => {
      const tokens = { fromInput: linear(output, weightIh, biasIh) };
      const weights = { weightHh, ...(biasHh && { biasHh }) };
      const result = overTime({ tokens, states: { hidden: hidden[l] }, weights }, (token, before, own) => {
        const h = token.fromInput.add(linear(before.hidden, own.weightHh, own.biasHh))[activation]();
        return { output: h, states: { hidden: h } };
      });
      output = result.output;
      return result.states.hidden;
    });
    return { output, states: { hidden: after } };
  },
});
