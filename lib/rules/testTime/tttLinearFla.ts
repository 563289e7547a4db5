// TTT-Linear as flash-linear-attention computes it, which is not the authors' rule.
import { ones } from '../../ops';
import type { Shapes } from '../sequential/shapes';
import type { Run } from '../sequential/types';
import { defineTestTime } from './define';
import { runTtt, TTT_OPTIONS, type TttOptions, tttSettings, type TttSettings } from './ttt';

/**
 * `tttLinear` as in flash-linear-attention, for its models: the learning rate of the token that reads multiplies all gradients up
 * to it, that of the last token of a mini-batch moves the weights, q is scaled by D ** -0.5 unless told otherwise, and the output
 * is u + LN(u), u = q W + b (spec 2.13.16, fla/ops/ttt). miniBatchSize is 16 by default; states `state` [B, H, D, D], `bias`
 * [B, H, 1, D] and the sums stateGradient and biasGradient of a mini-batch that is left open.
 */
export const tttLinearFla = defineTestTime({
  name: 'tttLinearFla',
  inputs: {
    q: 'B T H D',
    k: 'B T H D',
    v: 'B T H D',
    learningRate: 'B T H',
    normWeight: 'H D',
    normBias: 'H D',
  },
  states: { state: 'B H D D', bias: 'B H 1 D', stateGradient: 'B H D D', biasGradient: 'B H 1 D' },
  endings: { state: 'State', bias: 'Bias', stateGradient: 'StateGradient', biasGradient: 'BiasGradient' },
  without: ({ size }) => (size === 1 ? ['stateGradient', 'biasGradient'] : []),
  options: TTT_OPTIONS,
  settings: (where, options: TttOptions, { q }) =>
    tttSettings(where, options, { miniBatchSize: 16, scale: Math.max(1, q.shape[q.ndim - 1]) ** -0.5 }),
  run: (given) =>
    runTtt(
      'tttLinearFla',
      {
        layers: [['state', 'bias']],
        activation: null,
        rates: ({ learningRate: read }) => ({
          read,
          write: ones([1, 1], { dtype: read.dtype, device: read.device }).expand(read.shape),
        }),
        addsRead: true,
      },
      given as unknown as Run<Shapes, Shapes, TttSettings>,
    ) as never,
});
