// Rodimus: gated linear attention whose decay and write share a gate, and a temperature between them (He et al. 2024).
import type { Tensor } from '../../core';
import { normalize, toFloat32, where } from '../../ops';
import { checkLike, defineRule } from '../recurrence/define';
import { finiteLogarithm } from '../recurrence/logarithms';

/** Inputs beside q, k, v. */
export interface RodimusGates {
  /** g, the gate before its softplus [B, T, H, K]. */
  gateLogit: Tensor;
  /** tau, the temperature before its sigmoid [B, T, H, K]. */
  temperatureLogit: Tensor;
}

const name = 'rodimus';

/** Below it softplus is the exponential, and its logarithm x. */
const TINY = -30;

/**
 * S_t = exp(gate_t) S_{t-1} + k'_t v_t^T with gate_t = -softplus(g_t) sigmoid(tau_t) and
 * k'_t = k_t / max(|k_t|, 1e-12) softplus(g_t)^sigmoid(tau_t),  o_t = scale S_t^T q_t (arXiv 2410.06577; flash-linear-attention).
 */
export const rodimus = defineRule<RodimusGates>({
  name,
  gates: { gateLogit: true, temperatureLogit: true },
  kind: {},
  lower: ({ q, k, v }, { gateLogit, temperatureLogit }) => {
    checkLike(name, 'gateLogit', gateLogit, k);
    checkLike(name, 'temperatureLogit', temperatureLogit, k);
    const g = toFloat32(gateLogit);
    const temperature = toFloat32(temperatureLogit).sigmoid();
    const gate = g.softplus();
    const log = where(g.lt(TINY), finiteLogarithm(g), g.clamp(TINY).softplus().log());
    const keys = normalize(toFloat32(k), { dim: -1 }).mul(log.mul(temperature).exp());
    return { q, k: keys, v, gate: gate.mul(temperature).neg() };
  },
});
