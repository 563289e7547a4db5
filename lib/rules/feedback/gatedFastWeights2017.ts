// Gated fast weights of 2017, a sketch: their formulas are recalled, not read (Schlag and Schmidhuber 2017; spec 2.8).
import { argumentError, checkChoice, checkNumber, type Tensor } from '../../core';
import { layerNorm } from '../../ops';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';

/** Options of `gatedFastWeights2017`. */
export interface GatedFastWeights2017Options {
  /** How the gate changes the state: 'highway' by default. */
  form?: 'highway' | 'twoProducts';
  /** 1e-5 by default. */
  layerNormEps?: number;
  /** Whether the norm of the output has normWeight and normBias; by default where they are given. */
  affine?: boolean;
}

/**
 * Fast weights S [K, V] that two outer products H = h1 (x) h2 and G = t1 (x) t2 change, output [B, T, 1, V] LN(S^T x):
 * 'highway' S <- S (1 - sigmoid(G)) + tanh(H) sigmoid(G); 'twoProducts' S <- g (S + H) + (1 - g) G with g = sigmoid(G).
 * h1, t1, x [B, T, K], h2, t2 [B, T, V], normWeight, normBias [V], state [B, 1, K, V].
 *
 * UNVERIFIED: the workshop paper was not read and its program is not public. The formulas are recalled from secondary
 * notes, and the stored vectors come from loops over these formulas: they test this implementation against itself only.
 */
export const gatedFastWeights2017 = defineSequential({
  name: 'gatedFastWeights2017',
  inputs: { h1: 'B T K', h2: 'B T V', t1: 'B T K', t2: 'B T V', x: 'B T K', normWeight: 'V?', normBias: 'V?' },
  states: { state: 'B 1 K V' },
  options: { form: true, layerNormEps: true, affine: 'flag' },
  settings(where, options: GatedFastWeights2017Options, { normWeight, normBias }) {
    const given = (normWeight ?? normBias ?? null) !== null;
    const { affine = given } = options;
    if (affine !== given) {
      const expected = affine ? 'given with affine' : 'left out without affine';
      throw argumentError('INVALID_ARGUMENT', where, 'normWeight', expected, given ? 'a tensor' : 'none');
    }
    return {
      form: checkChoice(where, 'form', options.form ?? 'highway', ['highway', 'twoProducts']),
      layerNormEps: checkNumber(where, 'layerNormEps', options.layerNormEps ?? 1e-5, 0),
    };
  },
  run({ inputs: { h1, h2, t1, t2, x, normWeight, normBias }, states, settings: { form, layerNormEps } }) {
    const outer = (key: Tensor, value: Tensor): Tensor => key.unsqueeze(2).mul(value.unsqueeze(1)).unsqueeze(1);
    const { output, states: after } = overTime(
      { tokens: { h1, h2, t1, t2, x }, states, weights: {} },
      (token, { state }) => {
        const [written, raw] = [outer(token.h1, token.h2), outer(token.t1, token.t2)];
        const gate = raw.sigmoid();
        const next =
          form === 'highway'
            ? state.add(gate.mul(written.tanh().sub(state)))
            : raw.add(gate.mul(state.add(written).sub(raw)));
        const read = token.x.unsqueeze(1).unsqueeze(1).matmul(next).squeeze(2);
        return { output: read, states: { state: next } };
      },
    );
    return { output: layerNorm(output, normWeight ?? null, normBias ?? null, layerNormEps), states: after };
  },
});
