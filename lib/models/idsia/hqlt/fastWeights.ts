// The fast weights of the hybrid quadratic-linear Transformer in its modes: over sequences and for one token.
import type { Tensor } from '../../../core';
import type { CuSeqlens } from '../../../ops';
import { deltaRule, linearAttention } from '../../../rules';
import { computable } from '../../common/fastWeightMixer';
import type { HybridQLTConfiguration } from './configuration';
import { delayed, type DeltaOperands, programInChunks } from './delayed';
import { type HybridQLTState, pastOf } from './state';

const LINEAR = { featureMap: 'elu1', normalize: true } as const;

/** What the fast weights give for a sequence, [B, T, H, V], and what they hold in the end. */
export function program(
  config: HybridQLTConfiguration,
  given: DeltaOperands,
  state: HybridQLTState | null,
  cuSeqlens: CuSeqlens | null,
  outputFinalState: boolean,
): { output: Tensor } & Partial<Pick<HybridQLTState, 'memory' | 'normalizer' | 'chunkStart'>> {
  const { mode, window } = config;
  const { beta } = given;
  const [q, k, v] = [given.q, given.k, given.v].map(computable);
  const initialState = state?.memory ?? null;
  const common = { initialState, cuSeqlens, outputFinalState };
  if (mode === 'synchronousLinear') {
    const initialNormalizer = state?.normalizer ?? null;
    const result = linearAttention(q, k, v, { ...common, ...LINEAR, initialNormalizer });
    return { output: result.output, memory: result.finalState, normalizer: result.finalNormalizer };
  }
  if (mode === 'delayedChunk') {
    const before = state ? state.position % window : 0;
    const initial = state && { memory: state.memory, chunkStart: state.chunkStart! };
    const operands = { q: q.silu(), k: k.silu(), v, beta };
    return programInChunks(operands, initial, { size: window, before, cuSeqlens });
  }
  let written: [Tensor, Tensor] = [k, v];
  if (mode === 'delayedStream') {
    const past = state && pastOf(config, state);
    const keys = past && (past.unturned ?? past.keys).to(k.dtype);
    written = [delayed(k, keys, window, cuSeqlens), delayed(v, past && past.values.to(v.dtype), window, cuSeqlens)];
  }
  const [key, value] = written;
  const { output, finalState } = deltaRule(q.silu(), key.silu(), value, { ...common, beta, qkL2Norm: true });
  return { output, memory: finalState };
}

/** `program` for one token, [B, H, V]; the fast weights change in place. */
export function programToken(
  { mode, window }: HybridQLTConfiguration,
  given: DeltaOperands,
  { memory, normalizer, chunkStart, recent }: HybridQLTState,
): Tensor {
  const { beta } = given;
  const [q, k, v] = [given.q, given.k, given.v].map(computable);
  if (mode === 'synchronousLinear') {
    return linearAttention.step(q, k, v, { ...LINEAR, state: memory, normalizer: normalizer! });
  }
  const delta = { beta, qkL2Norm: true, state: memory };
  const query = q.silu();
  if (mode === 'synchronous') return deltaRule.step(query, k.silu(), v, delta);
  if (mode === 'delayedChunk') {
    deltaRule.step(query, k.silu(), v, delta);
    const still = { state: chunkStart!, qkL2Norm: true };
    return linearAttention.step(query, k, v.mul(0), still);
  }
  if (recent.end - recent.start < window) return deltaRule.step(query, k.mul(0), v.mul(0), delta);
  const leaving = (t: Tensor): Tensor => t.slice(1, recent.start, recent.start + 1).squeeze(1);
  const key = leaving(recent.unturned ?? recent.keys)
    .to(k.dtype)
    .silu();
  return deltaRule.step(query, key, leaving(recent.values).to(v.dtype), delta);
}
