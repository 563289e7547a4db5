// Linear Titans as flash-linear-attention computes it, which is not the paper's rule.
import { checkNumber } from '../../core';
import { layerNorm } from '../../ops';
import { defineTestTime } from './define';
import { runTitans, TITANS_INPUTS, TITANS_OPTIONS, type TitansOptions, titansSettings } from './titans';

/** Options of `titansFla`. */
export interface TitansFlaOptions extends Omit<TitansOptions, 'lossScale'> {
  /** Under the root of the norm, 1e-6 by default. */
  eps?: number;
}

const { lossScale: _, ...OPTIONS } = TITANS_OPTIONS;

/**
 * `titans` as in flash-linear-attention, for its models: the loss is that of `tttLinear` on M^T k, of whose gradient g, with
 * e = (weight x + bias - (v - k)) weight and x the norm of M^T k, the program computes 2 (D e - (mean e + x mean (e x)) / std)
 * instead, and the output is u + LN(u), u = M^T q (spec 2.13.17, Appendix B 5). chunkSize is 16 by default; normWeight, normBias
 * [H, V]; K is V.
 */
export const titansFla = defineTestTime({
  name: 'titansFla',
  inputs: {
    ...TITANS_INPUTS,
    q: 'B T H V',
    k: 'B T H V',
    normWeight: 'H V',
    normBias: 'H V',
  },
  states: { state: 'B H V V', momentum: 'B H V V', anchor: 'B H V V' },
  endings: { state: 'State', momentum: 'Momentum', anchor: 'Anchor' },
  options: { ...OPTIONS, eps: true },
  settings: (where, options: TitansFlaOptions) => ({
    ...titansSettings(where, { ...options, chunkSize: options.chunkSize ?? 16 }),
    eps: checkNumber(where, 'eps', options.eps ?? 1e-6, 0),
  }),
  without: ({ size }) => (size === 1 ? ['anchor'] : []),
  run: (given) => {
    const { normWeight, normBias } = given.inputs;
    const { eps } = given.settings;
    const { output: u, states } = runTitans(
      'titansFla',
      {
        layers: [['state', 'momentum', 'anchor']],
        square: false,
        targets: ({ v, k }, { normWeight: weight, normBias: bias }) =>
          v.sub(k).sub(bias.unsqueeze(1)).mul(weight.unsqueeze(1)),
        network: ({ normWeight: weight }) => ({
          activation: null,
          gradient: (z, shift) => {
            const centred = z.sub(z.mean(-1, true));
            const perDeviation = centred.square().mean(-1, true).add(eps).rsqrt();
            const x = centred.mul(perDeviation);
            const e = x.mul(weight.unsqueeze(1).square()).sub(shift);
            const off = e.mean(-1, true).add(x.mul(e.mul(x).mean(-1, true)));
            return e
              .mul(z.shape[z.ndim - 1])
              .sub(off.mul(perDeviation))
              .mul(2);
          },
        }),
      },
      given,
      ['normWeight', 'normBias'],
    );
    return { output: u.add(layerNorm(u, null, null, eps).mul(normWeight).add(normBias)), states } as never;
  },
});
