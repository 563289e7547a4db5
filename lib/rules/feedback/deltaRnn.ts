// The Delta RNN (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.1).
import { checkChoice, checkInteger, checkNumber } from '../../core';
import { type FeatureMapOptions, mapFeatures, softmax, withChecks } from '../../ops';
import { deltaRule } from '../delta/deltaRule';
import { observed, tellMemory, unobserved } from '../observe';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import { outputsBefore, runCell, SAME_WIDTH } from './deltaCell';

/** Options of `deltaRnn`. */
export interface DeltaRnnOptions extends Pick<FeatureMapOptions, 'sumNorm' | 'sumNormEps'> {
  /** 2, the paper's, by default; 1 is the first published code. */
  version?: 1 | 2;
  /** Of q and k: 'elu1' with sumNorm by default, in version 1 'softmax' without. */
  featureMap?: 'elu1' | 'softmax' | 'identity' | 'relu';
  /** Multiplies the output, not what is fed back; D ** -0.5 by default. */
  scale?: number | null;
}

const OPTIONS = { version: true, featureMap: true, sumNorm: 'flag', sumNormEps: true, scale: true } as const;

const rule = defineSequential({
  name: 'deltaRnn',
  inputs: {
    q: 'B T H D',
    k: 'B T H D',
    v: 'B T H D',
    beta: 'B T H',
    recurrentK: 'B T H D',
    recurrentV: 'B T H D',
    recurrentBeta: 'B T H',
  },
  states: { state: 'B H D D', recurrentState: 'B H D D', output: 'B H D' },
  packs: true,
  options: OPTIONS,
  settings(where, options: DeltaRnnOptions, { q }) {
    const version = checkInteger(where, 'version', options.version ?? 2, 1, 2);
    const { featureMap = version === 1 ? 'softmax' : 'elu1', sumNorm = version === 2, sumNormEps } = options;
    checkChoice(where, 'featureMap', featureMap, SAME_WIDTH);
    return {
      cell: version === 1 ? ('rnn1' as const) : ('rnn2' as const),
      map: { featureMap, sumNorm, sumNormEps },
      scale: checkNumber(where, 'scale', options.scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5),
    };
  },
  run({ inputs: { q, k, v, beta, ...own }, states, settings: { cell, map, scale }, cuSeqlens }) {
    const slow = { q: mapFeatures(q, map), k: mapFeatures(k, map), v, beta: beta.sigmoid() };
    const { output: z, finalState } = withChecks(false, () =>
      unobserved(() =>
        deltaRule(slow.q, slow.k, v, {
          beta: slow.beta,
          scale: 1,
          initialState: states.state,
          cuSeqlens,
          outputFinalState: true,
        }),
      ),
    );
    const strength = own.recurrentBeta.sigmoid();
    const ran = runCell(
      'deltaRnn',
      cell,
      { z: [z], key: [own.recurrentK], v: [own.recurrentV], beta: [strength] },
      { memories: states.recurrentState.unsqueeze(2), output: states.output, cell: null },
      cuSeqlens,
    );
    const { memories, output } = ran.states;
    if (observed() && !cuSeqlens) {
      const call = { rule: 'deltaRnn', kind: { eraseFrom: 'decayed' }, scale, denominator: null } as const;
      const last = outputsBefore(ran.output, states.output);
      const fedBack = {
        q: cell === 'rnn1' ? last : softmax(last, -1),
        k: softmax(own.recurrentK, -1),
        v: own.recurrentV,
        beta: strength,
      };
      tellMemory({ ...call, matrix: 'W', inputs: slow, initialState: states.state });
      tellMemory({ ...call, matrix: 'R', inputs: fedBack, initialState: states.recurrentState });
    }
    return {
      output: scale === 1 ? ran.output : ran.output.mul(scale),
      states: { state: finalState, recurrentState: memories.squeeze(2), output },
    };
  },
});

/**
 * Two delta memories, one read with a query that comes from outside, one with the last output: with W the delta rule on
 * phi(q), phi(k), v, sigmoid(beta) and R the delta rule on softmax(recurrentK), recurrentV, sigmoid(recurrentBeta),
 * y_t = W_t^T phi(q_t) + R_t^T softmax(y_{t-1}); in version 1 y_t = softmax(W_t^T phi(q_t) + R_t^T y_{t-1}). Output
 * [B, T, H, D] is scale y (spec 2.4.1). q, k, v, recurrentK, recurrentV [B, T, H, D], beta, recurrentBeta [B, T, H], all
 * before their activation; states `state`, `recurrentState` [B, H, D, D] and `output`, y unscaled [B, H, D].
 */
export const deltaRnn = withQkv('deltaRnn', rule, Object.keys(OPTIONS));
