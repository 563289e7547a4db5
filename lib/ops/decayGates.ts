// Logarithms of learned decays. They are never rounded: float32 comes out, beside float64 float64.
import { argumentError, checkNumber, checkOptions, formatShape, type OptionNames, scoped, type Tensor } from '../core';
import { add, exp, mul, neg, sigmoid, softplus } from './elementwise';
import { checkAlikeOrWider, checkFloat, checkShape, toFloat32 } from './kernel';
import { reshape } from './view';

/** x and the rates exp(aLog), both in float32. */
function operands(where: string, x: Tensor, aLog: Tensor, dtBias: Tensor, rows: number): [Tensor, Tensor] {
  checkFloat(where, 'x', x);
  for (const [argument, t] of Object.entries({ aLog, dtBias })) {
    checkFloat(where, argument, t);
    checkAlikeOrWider(where, argument, t, x, 'x');
  }
  if (x.ndim < rows) throw argumentError('SHAPE', where, 'x', `[..., H${rows > 1 ? ', K' : ''}]`, formatShape(x.shape));
  const heads = x.shape.slice(x.ndim - rows);
  checkShape(where, 'aLog', aLog, heads.slice(0, 1), 'heads');
  checkShape(where, 'dtBias', dtBias, [heads.reduce((a, b) => a * b, 1)], rows > 1 ? 'heads times key width' : 'heads');
  const rate = reshape(exp(toFloat32(aLog)), rows > 1 ? [heads[0], 1] : [heads[0]]);
  return [add(toFloat32(x), reshape(toFloat32(dtBias), heads)), rate];
}

/**
 * The log decay of Gated DeltaNet, as of Mamba-2: -exp(aLog) softplus(x + dtBias), [..., H] like x; aLog and dtBias [H], in
 * float32 also beside a bfloat16 x, as is the result (Yang et al. 2024; spec 2.13.9).
 */
export const gatedDeltaNetGate = scoped((x: Tensor, aLog: Tensor, dtBias: Tensor): Tensor => {
  const [time, rate] = operands('gatedDeltaNetGate', x, aLog, dtBias, 1);
  return mul(softplus(time), neg(rate));
});

/** Options of `kdaGate`. */
export interface KdaGateOptions {
  /** Least log decay, below 0: the gate is then lowerBound sigmoid(exp(aLog) (x + dtBias)). None by default. */
  lowerBound?: number | null;
}

const KDA: OptionNames<KdaGateOptions> = { lowerBound: true };

/**
 * The log decay of Kimi Delta Attention, one per key channel: -exp(aLog_h) softplus(x + dtBias), or with `lowerBound` between it
 * and 0. x and the result [..., H, K], aLog [H], dtBias [H K], in float32 also beside a bfloat16 x, as is the result (Kimi
 * Team 2025; spec 2.13.10).
 */
export const kdaGate = scoped((x: Tensor, aLog: Tensor, dtBias: Tensor, options: KdaGateOptions = {}): Tensor => {
  checkOptions('kdaGate', options, KDA);
  const { lowerBound = null } = options;
  if (lowerBound !== null) checkNumber('kdaGate', 'lowerBound', lowerBound, -Infinity, 0);
  const [time, rate] = operands('kdaGate', x, aLog, dtBias, 2);
  return lowerBound === null ? mul(softplus(time), neg(rate)) : mul(sigmoid(mul(time, rate)), lowerBound);
});
