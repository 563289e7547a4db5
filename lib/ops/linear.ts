// Projections: a matrix product with what usually follows it, in one kernel.
import {
  argumentError,
  checkChoice,
  checkOptions,
  formatShape,
  type OptionNames,
  sameShape,
  type Shape,
  type Tensor,
} from '../core';
import { type BackwardFunction, record, recording, throughComposition } from '../autograd';
import { UNARY_OPS } from '../backends';
import { checkAlike, checkFloat, checkResidual, checkShape, emptyLike, kernelsOf, takesBfloat16 } from './kernel';
import { add, mul, silu } from './elementwise';
import { fold, gradientProduct, matmul, precisionCode, swap } from './matmul';
import { sum } from './reduce';
import { SLOPES } from './slopes';
import { contiguous, reshape } from './view';

/** Options of `linear`: what one kernel does to the product before it is written. */
export interface LinearOptions {
  /** Applied to x W^T + bias. */
  activation?: 'silu' | null;
  /** Added at the end; of the result's shape. */
  residual?: Tensor | null;
}

/** @internal The names of `LinearOptions`. */
export const LINEAR: OptionNames<LinearOptions> = { activation: true, residual: true };

/** Requires [out, in] for an x of [..., in]. */
function checkWeight(where: string, argument: string, weight: Tensor, x: Tensor, shape: Shape): void {
  checkFloat(where, argument, weight);
  checkAlike(where, argument, weight, x, 'x');
  checkShape(where, argument, weight, shape, 'out, in');
}

/** dz for y = silu(z). */
function siluGradient(z: Tensor, dy: Tensor): Tensor {
  const dx = emptyLike(z);
  kernelsOf(z).unaryBackward({ x: z, y: z, dy, dx, n: z.size, op: UNARY_OPS.indexOf('silu'), a: 0, b: 0 });
  return dx;
}

/** activation(x W^T + bias) + residual over the last dimension: weight [out, in], bias [out] or null. */
export const linear = takesBfloat16(
  (x: Tensor, weight: Tensor, bias: Tensor | null = null, options: LinearOptions = {}): Tensor => {
    checkOptions('linear', options, LINEAR);
    const { activation = null, residual = null } = options;
    if (activation !== null) checkChoice('linear', 'activation', activation, ['silu']);
    checkFloat('linear', 'x', x);
    checkFloat('linear', 'weight', weight);
    if (weight.ndim !== 2 || x.ndim === 0 || x.shape[x.ndim - 1] !== weight.shape[1]) {
      throw argumentError(
        'SHAPE',
        'linear',
        'x',
        `[..., ${weight.ndim === 2 ? weight.shape[1] : 'in'}] for weight ${formatShape(weight.shape)}`,
        formatShape(x.shape),
      );
    }
    checkAlike('linear', 'weight', weight, x, 'x');
    const [n, k] = weight.shape;
    if (bias !== null) {
      checkFloat('linear', 'bias', bias);
      checkAlike('linear', 'bias', bias, x, 'x');
      if (!sameShape(bias.shape, [n]))
        throw argumentError('SHAPE', 'linear', 'bias', `[${n}]`, formatShape(bias.shape));
    }
    const shape = [...x.shape.slice(0, -1), n];
    checkResidual('linear', residual, x, shape);
    const y = emptyLike(x, shape);
    const input = contiguous(x);
    const z = activation && recording([x, weight, bias]) ? emptyLike(y) : null;
    kernelsOf(x).linear({
      x: input,
      weight: contiguous(weight),
      bias: bias && contiguous(bias),
      residual: residual && contiguous(residual),
      y,
      preactivation: z,
      rows: n === 0 ? 0 : y.size / n,
      n,
      k,
      activation: Number(activation === 'silu'),
      precision: precisionCode(),
    });
    const from = x.shape;
    const saved = [weight.requiresGrad ? input : null, x.requiresGrad ? weight : null, z];
    const back: BackwardFunction = ([g, gz], [sx, sw, sz], needs, into) => {
      if (!g && !gz) return [];
      const asked = needs[0] || needs[1] || needs[2];
      const direct = g && sz && asked ? siluGradient(sz, contiguous(g)) : g;
      const dz = asked ? fold(direct && gz ? add(direct, gz) : (direct ?? gz!)) : null;
      return [
        needs[0] ? gradientProduct(into(0), dz!, sw, from) : null,
        needs[1] ? gradientProduct(into(1), swap(dz!), fold(sx), [n, k]) : null,
        needs[2] ? sum(dz!, 0) : null,
        needs[3] ? g : null,
      ];
    };
    const recorded: BackwardFunction = ([g, gz], [sx, sw, sz], needs) => {
      if (!g && !gz) return [];
      const direct = g && sz ? mul(g, SLOPES.silu(sz, 0, 0)) : g;
      const dz = direct && gz ? add(direct, gz) : (direct ?? gz!);
      return [
        needs[0] ? matmul(dz, sw) : null,
        needs[1] ? matmul(swap(fold(dz)), fold(sx)) : null,
        needs[2] ? sum(fold(dz), 0) : null,
        needs[3] ? g : null,
      ];
    };
    // What is activated is a result, too: gradients of gradients flow back to it.
    record('linear', [x, weight, bias, residual], z ? [y, z] : [y], saved, back, recorded);
    z?.dispose();
    return y;
  },
);

/** Weights of a gated feed-forward: gate and up [hidden, D], down [D, hidden]. */
export interface FeedForwardWeights {
  /** [hidden, D]; its product goes through silu. */
  gate: Tensor;
  /** [hidden, D]; its product is multiplied by the gate. */
  up: Tensor;
  /** [D, hidden], back to the width of x. */
  down: Tensor;
}

const WEIGHTS: OptionNames<FeedForwardWeights> = { gate: true, up: true, down: true };

/**
 * (silu(x Wg^T) * x Wu^T) Wd^T + residual for x [..., D] (Shazeer 2020). Blocks of rows go through all projections at
 * once, so that the hidden layer need not leave the processor's cache.
 */
export const feedForward = takesBfloat16(
  (x: Tensor, weights: FeedForwardWeights, residual: Tensor | null = null): Tensor => {
    const where = 'feedForward';
    checkOptions(where, weights, WEIGHTS);
    const { gate, up, down } = weights;
    checkFloat(where, 'x', x);
    checkFloat(where, 'gate', gate);
    if (x.ndim === 0) throw argumentError('SHAPE', where, 'x', '[..., D]', '[]');
    const d = x.shape[x.ndim - 1];
    const hidden = gate.shape[0];
    checkWeight(where, 'gate', gate, x, [hidden, d]);
    checkWeight(where, 'up', up, x, [hidden, d]);
    checkWeight(where, 'down', down, x, [d, hidden]);
    checkResidual(where, residual, x, x.shape);
    const rows = d === 0 ? 0 : x.size / d;
    const input = contiguous(x);
    const kernelWeights = { gateWeight: contiguous(gate), upWeight: contiguous(up), downWeight: contiguous(down) };
    const numbers = { rows, d, hidden, precision: precisionCode() };
    const training = recording([x, gate, up, down]);
    const gates = training ? emptyLike(x, [rows, hidden]) : null;
    const ups = training ? emptyLike(x, [rows, hidden]) : null;
    const y = emptyLike(x);
    kernelsOf(x).feedForward({
      x: input,
      ...kernelWeights,
      residual: residual && contiguous(residual),
      y,
      gate: gates,
      up: ups,
      ...numbers,
    });
    const saved = [input, ...Object.values(kernelWeights), ...(gates && ups ? [gates, ups] : [])];
    const back: BackwardFunction = ([g], [sx, wg, wu, wd, sg, su], needs, into) => {
      if (!g) return [];
      if (!sg) return [null, null, null, null, needs[4] ? g : null];
      const dy = contiguous(g);
      const [activated, dgate, dup] = [emptyLike(sg), emptyLike(sg), emptyLike(sg)];
      const before = needs[0] ? into(0) : null;
      const dx = needs[0] ? (before ?? emptyLike(sx)) : null;
      kernelsOf(sx).feedForwardBackward({
        gateWeight: wg,
        upWeight: wu,
        downWeight: wd,
        gate: sg,
        up: su,
        dy,
        activated,
        dgate,
        dup,
        dx,
        ...numbers,
        accumulate: Number(before !== null),
      });
      return [
        before ? null : dx,
        needs[1] ? gradientProduct(into(1), swap(dgate), reshape(sx, [rows, d]), wg.shape) : null,
        needs[2] ? gradientProduct(into(2), swap(dup), reshape(sx, [rows, d]), wu.shape) : null,
        needs[3] ? gradientProduct(into(3), swap(reshape(dy, [rows, d])), activated, wd.shape) : null,
        needs[4] ? g : null,
      ];
    };
    const recorded: BackwardFunction = ([g], [sx, wg, wu, wd], needs) => {
      const compose = (t: Tensor, p: Tensor, q: Tensor, r: Tensor): Tensor =>
        linear(mul(silu(linear(t, p)), linear(t, q)), r);
      return [...throughComposition(compose, [sx, wg, wu, wd], [g]), needs[4] ? g : null];
    };
    record(where, [x, gate, up, down, residual], [y], saved, back, recorded);
    return y;
  },
);
