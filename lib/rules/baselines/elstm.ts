// e-LSTM, whose gates see the cell through a vector instead of a matrix (Irie, Gopalakrishnan, Schmidhuber 2024; IDSIA/rtrl-elstm
// `QuasiLSTMlayer`; spec 2.12).
import { cat, linear } from '../../ops';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';

/**
 * z = tanh(W_z x_t + w_z c_{t-1} + b_z), f = sigmoid(W_f x_t + w_f c_{t-1} + b_f), c_t = f c_{t-1} + (1 - f) z, output
 * c_t sigmoid(G [x_t; c_t] + g): [B, T, D]. x [B, T, I], weightZ, weightF [D, I], peepholeZ, peepholeF, biasZ, biasF [D],
 * gateWeight G [D, I + D], without which the output is c_t, gateBias [D]; the state `cell` is [B, D].
 */
export const elstm = defineSequential({
  name: 'elstm',
  inputs: {
    x: 'B T I',
    weightZ: 'D I',
    weightF: 'D I',
    peepholeZ: 'D',
    peepholeF: 'D',
    biasZ: 'D?',
    biasF: 'D?',
    gateWeight: 'D I+D?',
    gateBias: 'D?',
  },
  states: { cell: 'B D' },
  options: {},
  settings: () => null,
  run({ inputs, states }) {
    const { x, weightZ, weightF, biasZ, biasF, peepholeZ, peepholeF, gateWeight, gateBias } = inputs;
    const tokens = { z: linear(x, weightZ, biasZ), f: linear(x, weightF, biasF) };
    const weights = { peepholeZ, peepholeF };
    const result = overTime({ tokens, states, weights }, (token, { cell }, own) => {
      const z = token.z.add(own.peepholeZ.mul(cell)).tanh();
      const f = token.f.add(own.peepholeF.mul(cell)).sigmoid();
      const next = z.add(f.mul(cell.sub(z)));
      return { output: next, states: { cell: next } };
    });
    if (!gateWeight) return result;
    const gate = linear(cat([x, result.output], 2), gateWeight, gateBias).sigmoid();
    return { output: result.output.mul(gate), states: result.states };
  },
});
