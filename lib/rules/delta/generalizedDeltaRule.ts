// Diagonal plus low rank: the recurrence of RWKV-7 and of IPLR (spec 2.13.8, 2.14 g).
import type { Tensor } from '../../core';
import { checkLike, defineRule } from '../recurrence/define';

/** Inputs beside q, k, v. */
export interface GeneralizedDeltaGates {
  /** Reads the undecayed state [B, T, H, K]; -kappa in RWKV-7. */
  a: Tensor;
  /** Writes what a read [B, T, H, K]; kappa * a7 in RWKV-7. */
  b: Tensor;
  /** Log of the decay [B, T, H, K]; none for IPLR. */
  gate?: Tensor | null;
}

const name = 'generalizedDeltaRule';

/** S_t = exp(gate_t) S_{t-1} + b_t (a_t^T S_{t-1}) + k_t v_t^T,  o_t = scale S_t^T q_t. */
export const generalizedDeltaRule = defineRule<GeneralizedDeltaGates>({
  name,
  gates: { a: true, b: true, gate: true },
  kind: { eraseFrom: 'undecayed', secondWrite: true },
  lower: (inputs, { a, b, gate }) => {
    checkLike(name, 'a', a, inputs.k);
    checkLike(name, 'b', b, inputs.k);
    return { ...inputs, gate, eraseKey: a.neg(), writeKey: b };
  },
});
