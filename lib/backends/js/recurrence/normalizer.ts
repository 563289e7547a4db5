// The normaliser of a recurrence: the last value of its state, 1 in every token. What is read of the others is divided by
// max(|s|, e^-m) + eps, s being what is read of it.
import type { Tensor } from '../../../core';
import type { KernelArguments } from '../../table';
import { floats, type Floats } from '../view';
import type { Plan } from './operands';

/** m counts for at least this: e^-m stays a number, and so does its inverse. */
const LEAST_MAX = -80;

export class Normalizer {
  private readonly max: Floats;
  private readonly sums: Floats;
  private readonly eps: number;

  static of(
    plan: Plan,
    args: KernelArguments<'recurrence'> | KernelArguments<'recurrenceBackward'>,
  ): Normalizer | null {
    return args.max && args.sums && new Normalizer(plan, args.max, args.sums, args.eps);
  }

  private constructor(
    private readonly plan: Plan,
    max: Tensor,
    sums: Tensor,
    eps: number,
  ) {
    this.max = floats(max);
    this.sums = floats(sums);
    this.eps = eps;
  }

  /** Divides what was read of n tokens, rows [n, lanes], and keeps the sums. */
  divide(read: Float64Array, token: number, n: number, head: number): void {
    const { heads, lanes, values } = this.plan;
    for (let t = 0; t < n; t++) {
      const at = (token + t) * heads + head;
      this.sums[at] = read[t * lanes + values];
      const divisor = Math.max(Math.abs(this.sums[at]), this.least(at)) + this.eps;
      for (let i = t * lanes; i < t * lanes + values; i++) read[i] /= divisor;
    }
  }

  /**
   * Gradients of the output, rows [n, lanes], become those of what was read. dmax is that of eps beside them alone: neither
   * e^m S nor e^m e^-m changes with m.
   */
  undo(gradient: Float64Array, output: Floats, dmax: Floats, token: number, n: number, head: number): void {
    const { heads, lanes, values } = this.plan;
    for (let t = 0; t < n; t++) {
      const at = (token + t) * heads + head;
      const size = Math.abs(this.sums[at]);
      const least = this.least(at);
      const divisor = Math.max(size, least) + this.eps;
      let ddivisor = 0;
      for (let i = 0; i < values; i++) {
        gradient[t * lanes + i] /= divisor;
        ddivisor -= gradient[t * lanes + i] * output[at * values + i];
      }
      gradient[t * lanes + values] = size > least ? Math.sign(this.sums[at]) * ddivisor : 0;
      dmax[at] = this.eps * ddivisor;
    }
  }

  private least(at: number): number {
    return Math.exp(-Math.max(LEAST_MAX, this.max[at]));
  }
}
