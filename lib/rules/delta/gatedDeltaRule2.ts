// Gated DeltaNet-2: erase and write strengths of their own, per channel (spec 2.13.12).
import type { Tensor } from '../../core';
import { toFloat32 } from '../../ops';
import { checkLike, defineRule } from '../recurrence/define';

/** Gates of the rule. */
export interface GatedDelta2Gates {
  /** Log of the decay [B, T, HV, K]. */
  gate?: Tensor | null;
  /** How much of each key channel erases [B, T, H, K]. */
  eraseGate: Tensor;
  /** How much of each value channel is written [B, T, HV, V]. */
  writeGate: Tensor;
}

const name = 'gatedDeltaRule2';

/** S~ = exp(gate_t) S_{t-1},  S_t = S~ + k_t (writeGate_t v_t - S~^T (eraseGate_t k_t))^T,  o_t = scale S_t^T q_t. */
export const gatedDeltaRule2 = defineRule<GatedDelta2Gates>({
  name,
  gates: { gate: true, eraseGate: true, writeGate: true },
  kind: { eraseFrom: 'decayed' },
  lower: ({ q, k, v }, { gate, eraseGate, writeGate }) => {
    checkLike(name, 'eraseGate', eraseGate, k);
    checkLike(name, 'writeGate', writeGate, v);
    const product = (a: Tensor, b: Tensor): Tensor => toFloat32(a).mul(toFloat32(b));
    return { q, k, v: product(v, writeGate), gate, eraseKey: product(k, eraseGate) };
  },
});
