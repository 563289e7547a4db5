// The Recurrent Delta Net (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.3).
import { checkChoice, checkNumber, type Tensor } from '../../core';
import { cat, type CuSeqlens, emptyLike, kernelsOf, sequencesOf, softmax } from '../../ops';
import { observed, tellMemory } from '../observe';
import { outputsBefore } from './deltaCell';
import { callKernel } from '../sequential/kernel';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';

/** Options of `recurrentDelta`. */
export interface RecurrentDeltaOptions {
  /** What makes keys and queries: 'softmax'. */
  featureMap?: 'softmax';
  /** What the fed-back output goes through: 'tanh'. */
  recurrentActivation?: 'tanh';
  /** Multiplies the output, not what is fed back; D ** -0.5 by default. */
  scale?: number | null;
}

/** inputs [B, T, H, 3 D + 1] in the order v, k, q, beta, R [H, D, 3 D + 1]: outputs, W and y after the last token. */
function runNet(inputs: Tensor, R: Tensor, W: Tensor, y: Tensor, cuSeqlens: CuSeqlens | null): Tensor[] {
  const [B, T, H, columns] = inputs.shape;
  const D = R.shape[1];
  const { count: sequences, tokens, offsets } = sequencesOf('recurrentDelta', inputs, cuSeqlens);
  const numbers = { sequences, tokens, heads: H, width: D };
  return callKernel(
    'recurrentDelta',
    [inputs, R, W, y],
    ([x, recurrent, initialState, initialOutput], training) => {
      const output = emptyLike(x!, [B, T, H, D]);
      const finalState = emptyLike(initialState!);
      const finalOutput = emptyLike(initialOutput!);
      const hidden = training ? emptyLike(output) : null;
      const trace = training ? emptyLike(x!) : null;
      kernelsOf(x!).recurrentDelta({
        inputs: x!,
        recurrent: recurrent!,
        initialState: initialState!,
        initialOutput: initialOutput!,
        offsets,
        output,
        finalState,
        finalOutput,
        hidden,
        trace,
        ...numbers,
      });
      const kept = [finalState, hidden, trace, offsets].filter((t) => t !== null);
      return { outputs: [output, finalState, finalOutput], kept: training ? kept : [] };
    },
    ([doutput, dfinalState, dfinalOutput], [x, recurrent], [finalState, hidden, trace, soffsets]) => {
      const [dinputs, dinitialState, dinitialOutput] = [x!, finalState, dfinalOutput].map((t) => emptyLike(t));
      kernelsOf(x!).recurrentDeltaBackward({
        recurrent: recurrent!,
        finalState,
        offsets: soffsets ?? null,
        hidden,
        trace,
        doutput,
        dfinalState,
        dfinalOutput,
        dinputs,
        dinitialState,
        dinitialOutput,
        ...numbers,
      });
      const byHead = (t: Tensor, width: number): Tensor => t.reshape(B * T, H, width).transpose(0, 1);
      const drecurrent = byHead(hidden, D).transpose(1, 2).matmul(byHead(dinputs, columns));
      return [dinputs, drecurrent, dinitialState, dinitialOutput];
    },
  );
}

const OPTIONS = { featureMap: true, recurrentActivation: true, scale: true } as const;

const rule = defineSequential({
  name: 'recurrentDelta',
  inputs: {
    q: 'B T H D',
    k: 'B T H D',
    v: 'B T H D',
    beta: 'B T H',
    recurrentQ: 'H D D',
    recurrentK: 'H D D',
    recurrentV: 'H D D',
    recurrentBeta: 'H D',
  },
  states: { state: 'B H D D', output: 'B H D' },
  packs: true,
  options: OPTIONS,
  settings(where, options: RecurrentDeltaOptions, { q }) {
    checkChoice(where, 'featureMap', options.featureMap ?? 'softmax', ['softmax']);
    checkChoice(where, 'recurrentActivation', options.recurrentActivation ?? 'tanh', ['tanh']);
    return { scale: checkNumber(where, 'scale', options.scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5) };
  },
  run({ inputs: { q, k, v, beta, ...R }, states, settings: { scale }, cuSeqlens }) {
    const inputs = cat([v, k, q, beta.unsqueeze(3)], 3);
    const recurrent = cat([R.recurrentV, R.recurrentK, R.recurrentQ, R.recurrentBeta.unsqueeze(2)], 2);
    const [y, state, output] = runNet(inputs, recurrent, states.state, states.output, cuSeqlens);
    if (observed() && !cuSeqlens) {
      // [B, T, H, D] times [H, D, *], head by head.
      const h = outputsBefore(y, states.output).tanh();
      const fed = (x: Tensor, W: Tensor): Tensor => x.add(h.unsqueeze(3).matmul(W).squeeze(3));
      tellMemory({
        rule: 'recurrentDelta',
        matrix: 'W',
        inputs: {
          q: softmax(fed(q, R.recurrentQ), -1),
          k: softmax(fed(k, R.recurrentK), -1),
          v: fed(v, R.recurrentV),
          beta: beta.add(h.mul(R.recurrentBeta).sum(3)).sigmoid(),
        },
        kind: { eraseFrom: 'decayed' },
        scale,
        denominator: null,
        initialState: states.state,
      });
    }
    return { output: scale === 1 ? y : y.mul(scale), states: { state, output } };
  },
});

/**
 * A delta memory whose inputs also depend on its last output: with h = tanh(y_{t-1}),
 * key = softmax(k_t + h R_k), query = softmax(q_t + h R_q), v = v_t + h R_v, beta = sigmoid(beta_t + h r_beta),
 * W_t = W_{t-1} + key (beta (v - W_{t-1}^T key))^T,  y_t = W_t^T query: output [B, T, H, D] is scale y (spec 2.4.3). q, k, v
 * [B, T, H, D], beta [B, T, H] before their activation; trained recurrentQ, recurrentK, recurrentV [H, D, D] (rows are
 * inputs) and recurrentBeta [H, D]; states `state` [B, H, D, D] and `output`, y unscaled [B, H, D].
 */
export const recurrentDelta = withQkv('recurrentDelta', rule, Object.keys(OPTIONS));
