// Small parts of the layers of RWKV, Gated DeltaNet and Kimi Delta Attention.
import * as fw from '../../lib';
import type { CaseRunner } from '../support/runCase';

/** By the rule in the file. */
export const RECURRENT_PARTS: Readonly<Record<string, CaseRunner>> = {
  gatedDeltaNetGate: ({ x, aLog, dtBias }) => ({ gate: fw.gatedDeltaNetGate(x, aLog, dtBias) }),
  kdaGate: ({ x, aLog, dtBias }, options) => ({ gate: fw.kdaGate(x, aLog, dtBias, options) }),
  rwkv7KeyUpdate: ({ k, a, kA }) => ({ output: fw.rwkv7KeyUpdate(k, a, kA) }),
  rwkv7OutputCorrection: ({ x, r, k, v, bonus, g }) => ({
    output: fw.rwkv7OutputCorrection(x, r, k, v, bonus, g),
  }),
  tokenShift: ({ x, cuSeqlens, ...inputs }, options) => {
    const given = { ...options, ...inputs, ...(cuSeqlens && { cuSeqlens: [...cuSeqlens.dataSync()] }) };
    const { output, finalState } = fw.tokenShift(x, given);
    return { output, finalState };
  },
};
