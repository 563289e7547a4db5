// Fast weights that attend to the recent past (Ba, Hinton, Mnih, Leibo, Ionescu 2016; spec 2.9).
import { argumentError, checkChoice, checkInteger, checkNumber, describe } from '../../core';
import { layerNorm, linear } from '../../ops';
import { columnsBy, outerOf } from '../sequential/batched';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';

/** Options of `fastRnn`. */
export interface FastRnnOptions {
  /** lambda, by which A shrinks with every token: 0.95 by default. */
  decay?: number;
  /** eta, with which a hidden state is written: 0.5 by default. */
  rate?: number;
  /** S, how often the hidden state is read from A within a token: 1 by default; 0 leaves A unread. */
  innerSteps?: number;
  /** f: 'relu' by default. */
  activation?: 'relu' | 'tanh';
  /**
   * LN of what f gets in the inner loop, with normWeight and normBias where they are given; true by default, also where
   * `innerSteps` 0 leaves it nothing to do. Weights of a norm are refused where there is none.
   */
  norm?: boolean;
  /** 1e-5 by default; taken without a norm, too, as stored vectors have it. */
  normEps?: number;
  /** LN in the preliminary state, too, as some published code has it; false, the paper's, by default. */
  preliminaryNorm?: boolean;
}

/**
 * A_t = decay A_{t-1} + rate h_{t-1} h_{t-1}^T,  h^0 = f(W h_{t-1} + C x_t + b),
 * h^{s+1} = f(LN(W h_{t-1} + C x_t + b + A_t h^s)) for s < innerSteps, h_t the last of them: output [B, T, D].
 * x [B, T, I], weightIh C [D, I], weightHh W [D, D], bias b, normWeight, normBias [D]; states hidden [B, D] and A `state`
 * [B, D, D], which does not contain the last output yet.
 */
export const fastRnn = defineSequential({
  name: 'fastRnn',
  inputs: { x: 'B T I', weightIh: 'D I', weightHh: 'D D', bias: 'D?', normWeight: 'D?', normBias: 'D?' },
  states: { hidden: 'B D', state: 'B D D' },
  options: {
    decay: true,
    rate: true,
    innerSteps: true,
    activation: true,
    norm: 'flag',
    normEps: true,
    preliminaryNorm: 'flag',
  },
  settings(where, options: FastRnnOptions, { normWeight, normBias }) {
    const { norm = true, preliminaryNorm = false } = options;
    for (const [name, given] of Object.entries({ normWeight, normBias })) {
      if (norm || preliminaryNorm || (given ?? null) === null) continue;
      throw argumentError('INVALID_ARGUMENT', where, name, 'left out without a norm', describe(given));
    }
    return {
      decay: checkNumber(where, 'decay', options.decay ?? 0.95),
      rate: checkNumber(where, 'rate', options.rate ?? 0.5),
      innerSteps: checkInteger(where, 'innerSteps', options.innerSteps ?? 1, 0),
      activation: checkChoice(where, 'activation', options.activation ?? 'relu', ['relu', 'tanh']),
      norm,
      normEps: checkNumber(where, 'normEps', options.normEps ?? 1e-5, 0),
      preliminaryNorm,
    };
  },
  run({ inputs: { x, weightIh, weightHh, bias, normWeight, normBias }, states, settings }) {
    const { decay, rate, innerSteps, activation, norm, normEps, preliminaryNorm } = settings;
    const squash = (z: typeof x): typeof x => (activation === 'relu' ? z.relu() : z.tanh());
    const weights = { weightHh, ...(normWeight && { normWeight }), ...(normBias && { normBias }) };
    return overTime({ tokens: { fromInput: linear(x, weightIh, bias) }, states, weights }, (token, before, own) => {
      const normed = (z: typeof x): typeof x => layerNorm(z, own.normWeight, own.normBias, normEps);
      const { hidden } = before;
      const state = before.state.mul(decay).add(outerOf(hidden.mul(rate), hidden));
      const z = token.fromInput.add(linear(hidden, own.weightHh));
      let h = squash(preliminaryNorm ? normed(z) : z);
      for (let s = 0; s < innerSteps; s++) {
        const inner = z.add(columnsBy(state, h));
        h = squash(norm ? normed(inner) : inner);
      }
      return { output: h, states: { hidden: h, state } };
    });
  },
});
