// The Delta LSTM (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.2).
import { checkChoice, checkInteger, checkNumber, type Tensor } from '../../core';
import { type FeatureMapOptions, mapFeatures, softmax, split, stack, withChecks } from '../../ops';
import { deltaRule } from '../delta/deltaRule';
import { observed, tellMemory, unobserved } from '../observe';
import { defineSequential } from '../sequential/define';
import { outputsBefore, runCell, SAME_WIDTH } from './deltaCell';

/** Options of `deltaLstm`. */
export interface DeltaLstmOptions extends Pick<FeatureMapOptions, 'sumNorm' | 'sumNormEps'> {
  /** 4, the paper's, by default; 1 to 3 are earlier published code. */
  version?: 1 | 2 | 3 | 4;
  /** Of the queries and keys that come from outside: 'elu1' with sumNorm by default. */
  featureMap?: 'elu1' | 'softmax' | 'identity' | 'relu';
  /** Multiplies the output, not what is fed back; D ** -0.5 by default. */
  scale?: number | null;
}

const GATES = ['I', 'U', 'O'] as const;
const SEQUENCE = 'B T H D';
const STRENGTH = 'B T H';

/**
 * An LSTM whose weight matrices are six delta memories: for the input gate i, the update u and the output gate o,
 * z_x = W_x^T phi(q_x) and p_x = z_x + R_x^T softmax(h_{t-1}), i = sigmoid(p_i), u = p_u, o = sigmoid(p_o),
 * c_t = i u + (1 - i) c_{t-1},  h_t = c_t o: output [B, T, H, D] is scale h (spec 2.4.2). W_x is the delta rule on phi(kX),
 * vX, sigmoid(betaX), R_x that on softmax(recurrentKX), recurrentVX, sigmoid(recurrentBetaX), with X one of I, U, O. Version
 * 1: u = sigmoid(p_u), h = softmax(c o), R_x^T h_{t-1}; 2: u = sigmoid(p_u); 3: as 2 with h = c o + z_u. All inputs
 * [B, T, H, D] and [B, T, H] before their activation; states stateX, recurrentStateX [B, H, D, D], `cell` and `output`, h
 * unscaled [B, H, D].
 */
export const deltaLstm = defineSequential({
  name: 'deltaLstm',
  inputs: {
    qI: SEQUENCE,
    kI: SEQUENCE,
    vI: SEQUENCE,
    betaI: STRENGTH,
    recurrentKI: SEQUENCE,
    recurrentVI: SEQUENCE,
    recurrentBetaI: STRENGTH,
    qU: SEQUENCE,
    kU: SEQUENCE,
    vU: SEQUENCE,
    betaU: STRENGTH,
    recurrentKU: SEQUENCE,
    recurrentVU: SEQUENCE,
    recurrentBetaU: STRENGTH,
    qO: SEQUENCE,
    kO: SEQUENCE,
    vO: SEQUENCE,
    betaO: STRENGTH,
    recurrentKO: SEQUENCE,
    recurrentVO: SEQUENCE,
    recurrentBetaO: STRENGTH,
  },
  states: {
    stateI: 'B H D D',
    stateU: 'B H D D',
    stateO: 'B H D D',
    recurrentStateI: 'B H D D',
    recurrentStateU: 'B H D D',
    recurrentStateO: 'B H D D',
    cell: 'B H D',
    output: 'B H D',
  },
  packs: true,
  options: { version: true, featureMap: true, sumNorm: 'flag', sumNormEps: true, scale: true },
  settings(where, options: DeltaLstmOptions, { qI }) {
    const version = checkInteger(where, 'version', options.version ?? 4, 1, 4) as 1 | 2 | 3 | 4;
    const { featureMap = 'elu1', sumNorm = true, sumNormEps } = options;
    checkChoice(where, 'featureMap', featureMap, SAME_WIDTH);
    return {
      cell: `lstm${version}` as const,
      map: { featureMap, sumNorm, sumNormEps },
      scale: checkNumber(where, 'scale', options.scale ?? Math.max(1, qI.shape[qI.ndim - 1]) ** -0.5),
    };
  },
  run({ inputs, states, settings: { cell, map, scale }, cuSeqlens }) {
    const slow = GATES.map((gate) => ({
      q: mapFeatures(inputs[`q${gate}`], map),
      k: mapFeatures(inputs[`k${gate}`], map),
      v: inputs[`v${gate}`],
      beta: inputs[`beta${gate}`].sigmoid(),
    }));
    const read = withChecks(false, () =>
      unobserved(() =>
        GATES.map((gate, i) => {
          const { q, k, v, beta } = slow[i];
          const initialState = states[`state${gate}`];
          return deltaRule(q, k, v, { beta, scale: 1, initialState, cuSeqlens, outputFinalState: true });
        }),
      ),
    );
    const each = (name: 'recurrentK' | 'recurrentV' | 'recurrentBeta'): Tensor[] =>
      GATES.map((gate) => inputs[`${name}${gate}`]);
    const strengths = each('recurrentBeta').map((beta) => beta.sigmoid());
    const ran = runCell(
      'deltaLstm',
      cell,
      { z: read.map(({ output }) => output), key: each('recurrentK'), v: each('recurrentV'), beta: strengths },
      {
        memories: stack(
          GATES.map((gate) => states[`recurrentState${gate}`]),
          2,
        ),
        output: states.output,
        cell: states.cell,
      },
      cuSeqlens,
    );
    if (observed() && !cuSeqlens) {
      const call = { rule: 'deltaLstm', kind: { eraseFrom: 'decayed' }, scale: 1, denominator: null } as const;
      const last = outputsBefore(ran.output, states.output);
      GATES.forEach((gate, i) => {
        const fedBack = {
          q: cell === 'lstm1' ? last : softmax(last, -1),
          k: softmax(each('recurrentK')[i], -1),
          v: each('recurrentV')[i],
          beta: strengths[i],
        };
        const name = gate.toLowerCase();
        tellMemory({ ...call, matrix: `W_${name}`, inputs: slow[i], initialState: states[`state${gate}`] });
        tellMemory({ ...call, matrix: `R_${name}`, inputs: fedBack, initialState: states[`recurrentState${gate}`] });
      });
    }
    const [stateI, stateU, stateO] = read.map(({ finalState }) => finalState);
    const [recurrentStateI, recurrentStateU, recurrentStateO] = split(ran.states.memories, [1, 1, 1], 2).map((t) =>
      t.squeeze(2),
    );
    return {
      output: scale === 1 ? ran.output : ran.output.mul(scale),
      states: {
        stateI,
        stateU,
        stateO,
        recurrentStateI,
        recurrentStateU,
        recurrentStateO,
        cell: ran.states.cell!,
        output: ran.states.output,
      },
    };
  },
});
