// Mixture of memories: tokens go to a few of many gated delta memories, and to one that all share (Du et al. 2025).
import { checkInteger, checkNumber, type Tensor } from '../../core';
import { withChecks } from '../../ops';
import { checkLogarithm } from '../recurrence/checks';
import { runRecurrence } from '../recurrence/run';
import { checkTogether } from '../sequential/checks';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import { routeRows } from './routedRows';

/** Options of `mixtureOfMemories`. */
export interface MixtureOfMemoriesOptions {
  /** How many memories a token goes to, 2 by default. */
  topK?: number;
  /** Multiplies the output; K ** -0.5 by default. */
  scale?: number | null;
}

const name = 'mixtureOfMemories';
const OPTIONS = { topK: true, scale: true } as const;

/** Operands of a gated delta rule [B, T, H, *], those of one memory. */
interface Operands {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  beta: Tensor;
  gate: Tensor;
}

function deltaMemory(operands: Operands, initialState: Tensor, scale: number, cuSeqlens: number[] | null) {
  const options = { scale, cuSeqlens, initialState, outputFinalState: true };
  const result = withChecks(false, () => runRecurrence(name, operands, options, { eraseFrom: 'decayed' }));
  return { output: result.output, finalState: result.finalState! };
}

const rule = defineSequential({
  name,
  inputs: {
    q: 'B T H K',
    k: 'B T H K | B T M H K',
    v: 'B T H V | B T M H V',
    beta: 'B T H | B T M H',
    gate: 'B T H | B T M H',
    router: 'B T M',
    sharedK: 'B T H K?',
    sharedV: 'B T H V?',
    sharedBeta: 'B T H?',
    sharedGate: 'B T H?',
  },
  states: { state: 'B M H K V', sharedState: 'B H K V' },
  options: OPTIONS,
  settings(where, options: MixtureOfMemoriesOptions, { q, gate, router, sharedK, sharedV, sharedBeta, sharedGate }) {
    checkLogarithm(where, 'gate', gate);
    checkLogarithm(where, 'sharedGate', sharedGate);
    const shares = (sharedK ?? null) !== null;
    const further = { sharedV: shares, sharedBeta: shares, sharedGate: shares };
    checkTogether(where, { sharedV, sharedBeta, sharedGate }, further, 'sharedK');
    return {
      topK: checkInteger(where, 'topK', options.topK ?? 2, 1, router.shape[router.ndim - 1]),
      scale: checkNumber(where, 'scale', options.scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5),
      shares,
    };
  },
  without: ({ shares }) => (shares ? [] : ['sharedState']),
  run({ inputs, states, settings: { topK, scale }, sizes: { B, T, H, K, V, M } }) {
    const { tokens, cells, places, weights, offsets } = routeRows(inputs.router, topK);
    /** Rows of a token, or those that it has for each memory, as they are sorted. */
    const sorted = (x: Tensor, perMemory: boolean): Tensor => {
      const all = x.reshape(perMemory ? B * T * M : B * T, ...x.shape.slice(perMemory ? 3 : 2));
      return all.indexSelect(0, perMemory ? cells : tokens).unsqueeze(0);
    };
    const { k, v, beta, gate } = inputs;
    const operands = {
      q: sorted(inputs.q, false),
      k: sorted(k, k.ndim === 5),
      v: sorted(v, v.ndim === 5),
      beta: sorted(beta, beta.ndim === 4),
      gate: sorted(gate, gate.ndim === 4),
    };
    const banks = states.state.transpose(0, 1).reshape(M * B, H, K, V);
    const routed = deltaMemory(operands, banks, scale, offsets);
    const answers = routed.output
      .squeeze(0)
      .indexSelect(0, places)
      .reshape(B * T, topK, H * V);
    const mixed = weights.unsqueeze(1).matmul(answers).reshape(B, T, H, V);
    const state = routed.finalState.reshape(M, B, H, K, V).transpose(0, 1).contiguous();
    if (!inputs.sharedK) return { output: mixed, states: { state } as typeof states };
    const { sharedV, sharedBeta, sharedGate } = inputs;
    const all = { q: inputs.q, k: inputs.sharedK, v: sharedV!, beta: sharedBeta!, gate: sharedGate! };
    const shared = deltaMemory(all, states.sharedState, scale, null);
    return { output: mixed.add(shared.output), states: { state, sharedState: shared.finalState } };
  },
});

/**
 * M memories S_m, of which token t writes and reads the topK with the largest softmax(router_t), each by the gated delta rule
 * S~ = exp(gate_t) S_m,  S_m = S~ + k_t (beta_t (v_t - S~^T k_t))^T; others stay as they are. o_t is the sum of scale S_m^T q_t
 * over them, weighed by their share of the softmax (arXiv 2502.13685; flash-linear-attention): output [B, T, H, V].
 *
 * q [B, T, H, K]; k [B, T, H, K], v [B, T, H, V], beta and gate, a logarithm, [B, T, H], or of each memory [B, T, M, ...];
 * router [B, T, M]. With sharedK, sharedV, sharedBeta and sharedGate one more memory has all tokens and is added. Keys should have
 * unit length. States `state` [B, M, H, K, V] and, if there is that memory, `sharedState` [B, H, K, V]. The choice of memories
 * is read, which blocks, and has no gradient; their weights have.
 */
export const mixtureOfMemories = withQkv(name, rule, Object.keys(OPTIONS));
