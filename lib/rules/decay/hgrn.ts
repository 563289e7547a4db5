// HGRN: a linear recurrence in every channel (Qin et al. 2023, "Hierarchically Gated Recurrent Neural Network"; spec 2.13.5).
import { cat, linearScan, zerosBeside } from '../../ops';
import { defineSequential } from '../sequential/define';

/**
 * h_t = exp(gate_t) h_{t-1} + x_t: output [B, T, D]. x and gate [B, T, D], the gate a logarithm of at most 0; what HGRN
 * multiplies x by, 1 - exp(gate), is the caller's. The state is h [B, D].
 */
export const hgrn = defineSequential({
  name: 'hgrn',
  inputs: { x: 'B T D', gate: 'B T D' },
  states: { state: 'B D' },
  options: {},
  settings: () => null,
  run({ inputs: { x, gate }, states: { state } }) {
    // What was before the first token is a token of its own.
    const first = state.unsqueeze(1);
    const h = linearScan(cat([first, x], 1), cat([zerosBeside(first), gate.exp()], 1), 1);
    return { output: h.slice(1, 1), states: { state: h.slice(1, -1).squeeze(1) } };
  },
});
