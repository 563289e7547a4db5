// sLSTM, the scalar memory of xLSTM: an LSTM with exponential input gates, kept in range by a running maximum (Beck et al.
// 2024; spec 2.13.3).
import { checkChoice } from '../../core';
import { eq, maximum, where } from '../../ops';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';

/** Options of `slstm`. */
export interface SlstmOptions {
  /** Of the forget gate: 'sigmoid', by default, or 'exp'. */
  forgetActivation?: 'sigmoid' | 'exp';
}

/**
 * With a = gates_t + R y_{t-1} + bias, cut into i, f, z and o: m_t = max(log f + m_{t-1}, i), i before the first token,
 *   c_t = e^(log f + m_{t-1} - m_t) c_{t-1} + e^(i - m_t) tanh(z),  n_t the same with 1 for tanh(z),  y_t = sigmoid(o) c_t / n_t
 * (Beck et al. 2024, eqs. 8-18): output y [B, T, H, D]. gates [B, T, 4, H, D] in the order input, forget, cell, output;
 * recurrent R [H, 4, D, D], rows are inputs; bias [4, H, D]; states hidden y, cell, normalizer and max [B, H, D]. A normalizer of
 * 0 says that nothing was read yet.
 */
export const slstm = defineSequential({
  name: 'slstm',
  inputs: { gates: 'B T 4 H D', recurrent: 'H 4 D D', bias: '4 H D?' },
  states: { hidden: 'B H D', cell: 'B H D', normalizer: 'B H D', max: 'B H D' },
  options: { forgetActivation: true },
  settings: (at, { forgetActivation = 'sigmoid' }: SlstmOptions) => ({
    forgetActivation: checkChoice(at, 'forgetActivation', forgetActivation ?? 'sigmoid', ['sigmoid', 'exp']),
  }),
  run({ inputs: { gates, recurrent, bias }, states, settings: { forgetActivation } }) {
    // [B, T, 4, H, D] to a token of [B, H, 1, 4 D] beside R [H, D, 4 D].
    const [B, T, , H, D] = gates.shape;
    const whole = bias ? gates.add(bias) : gates;
    const tokens = { gates: whole.permute(0, 1, 3, 2, 4).reshape(B, T, H, 1, 4 * D) };
    const weights = { R: recurrent.transpose(1, 2).reshape(H, D, 4 * D) };
    return overTime({ tokens, states, weights }, (token, { hidden, cell, normalizer, max }, { R }) => {
      const all = token.gates.add(hidden.unsqueeze(2).matmul(R)).squeeze(2);
      const [input, forget, z, o] = [0, 1, 2, 3].map((part) => all.slice(2, part * D, (part + 1) * D));
      const carried = (forgetActivation === 'sigmoid' ? forget.logSigmoid() : forget).add(max);
      const m = where(eq(normalizer, 0), input, maximum(carried, input));
      // Above 0 only where there is nothing to keep yet.
      const [keep, write] = [carried.sub(m).minimum(0).exp(), input.sub(m).exp()];
      const c = keep.mul(cell).add(write.mul(z.tanh()));
      const n = keep.mul(normalizer).add(write);
      const y = o.sigmoid().mul(c.div(n));
      return { output: y, states: { hidden: y, cell: c, normalizer: n, max: m } };
    });
  },
});
