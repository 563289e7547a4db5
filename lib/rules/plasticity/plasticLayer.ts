// A plastic layer behind a network, for few-shot classification (Miconi, Stanley, Clune 2018, omniglot.py; spec 2.10).
import { checkChoice, checkNumber } from '../../core';
import { outerOf, rowsBy } from '../sequential/batched';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';

const RULES = ['hebb', 'oja'] as const;
const ACTIVATIONS = ['softmax', 'tanh', 'none'] as const;

/** Options of `plasticLayer`. */
export interface PlasticLayerOptions {
  /** How the traces change: 'hebb' by default. */
  rule?: (typeof RULES)[number];
  /** What the outputs go through: 'softmax' by default. */
  activation?: (typeof ACTIVATIONS)[number];
  /** How strongly a label is put in: 1000 by default. */
  labelGain?: number;
}

/**
 * y_t = softmax(x_t (weight + alpha * S_{t-1}) + labelGain label_t), then Hebb, S = (1 - eta) S + eta x_t y_t^T, or Oja,
 * S_ij += eta y_j (x_i - y_j S_ij): output y [B, T, M]. x [B, T, N], label [B, T, M] (zeros where there is none, or not
 * given at all), weight and alpha [N, M], eta [1]; the traces S `state` [B, N, M]. After `omniglot.py` of Miconi, Stanley,
 * Clune 2018; spec 2.10, 3.12.
 */
export const plasticLayer = defineSequential({
  name: 'plasticLayer',
  inputs: { x: 'B T N', weight: 'N M', alpha: 'N M', eta: '1', label: 'B T M?' },
  states: { state: 'B N M' },
  options: { rule: true, activation: true, labelGain: true },
  settings: (where, options: PlasticLayerOptions) => ({
    rule: checkChoice(where, 'rule', options.rule ?? 'hebb', RULES),
    activation: checkChoice(where, 'activation', options.activation ?? 'softmax', ACTIVATIONS),
    labelGain: checkNumber(where, 'labelGain', options.labelGain ?? 1000),
  }),
  run({ inputs: { x, label, weight, alpha, eta }, states, settings: { rule, activation, labelGain } }) {
    const slow = x.matmul(weight);
    const tokens = { x, slow: label ? slow.add(label.mul(labelGain)) : slow };
    const weights = { alpha, eta, keep: eta.neg().add(1) };
    return overTime({ tokens, states, weights }, (token, { state }, own) => {
      const z = token.slow.add(rowsBy(state.mul(own.alpha), token.x));
      const y = activation === 'softmax' ? z.softmax(-1) : activation === 'tanh' ? z.tanh() : z;
      const kept = rule === 'hebb' ? own.keep : y.square().mul(own.eta).neg().add(1).unsqueeze(1);
      return { output: y, states: { state: state.mul(kept).add(outerOf(token.x.mul(own.eta), y)) } };
    });
  },
});
