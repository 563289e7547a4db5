// MIRAS: memories with other errors than squares, and other things kept than norms (Behrouz et al. 2025; spec 2.13.21).
import { checkChoice, checkNumber, type Tensor } from '../../core';
import { softmax, where } from '../../ops';
import { checkTogether } from '../sequential/checks';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';
import { withQkv } from '../sequential/qkv';

/** Options of `miras`. */
export interface MirasOptions {
  /** 'moneta' by default. */
  variant?: 'moneta' | 'yaad' | 'memora';
  /** Of Moneta: the power of the error, 3 by default. */
  p?: number;
  /** Of Moneta: the power of the norm, 4 by default. */
  q?: number;
  /** Of Moneta: sign as tanh(slope e) and |e| as sqrt(e^2 + 1e-6); false by default. */
  smooth?: boolean;
  /** 10 by default. */
  slope?: number;
  /** Of Yaad: what the threshold bounds, the error's 'norm', by default, or each 'coordinate'. */
  huber?: 'norm' | 'coordinate';
  /** Of Memora: what each column of the memory adds up to, 1 by default. */
  mass?: number;
}

const OPTIONS = { variant: true, p: true, q: true, smooth: 'flag', slope: true, huber: true, mass: true } as const;

type Settings = Required<MirasOptions>;

/** Below this a share of a memory counts as this much: its logarithm is finite. */
const LEAST = 1e-37;

/** A / |A|_q^(q - 2), matrix by matrix; of zeros zeros. */
function ofNorm(A: Tensor, q: number): Tensor {
  const sum = A.abs().pow(q).sum([2, 3], true);
  return A.div(where(sum.eq(0), 1, sum).pow((q - 2) / q));
}

/** The derivative of the loss at errors e [B, H, 1, V]. */
function slopeOf(e: Tensor, threshold: Tensor | null, { variant, p, smooth, slope, huber }: Settings): Tensor {
  if (variant === 'memora') return e;
  if (variant === 'moneta') {
    const [sign, size] = smooth ? [e.mul(slope).tanh(), e.square().add(1e-6).sqrt()] : [e.sign(), e.abs()];
    return sign.mul(size.pow(p - 1)).mul(p);
  }
  if (huber === 'coordinate') return e.minimum(threshold!).maximum(threshold!.neg());
  const squares = e.square().sum(3, true);
  const beyond = squares.gt(threshold!.square());
  return e.mul(where(beyond, threshold!.div(where(beyond, squares, 1).sqrt()), 1));
}

const rule = defineSequential({
  name: 'miras',
  inputs: { q: 'B T H K', k: 'B T H K', v: 'B T H V', keep: 'B T H', learningRate: 'B T H', threshold: 'B T H?' },
  states: { state: 'B H K V' },
  options: OPTIONS,
  settings(at, options: MirasOptions, { threshold }): Settings {
    const variant = checkChoice(at, 'variant', options.variant ?? 'moneta', ['moneta', 'yaad', 'memora']);
    checkTogether(at, { threshold }, { threshold: variant === 'yaad' }, `variant ${variant}`);
    return {
      variant,
      p: checkNumber(at, 'p', options.p ?? 3, 1),
      q: checkNumber(at, 'q', options.q ?? 4, 1),
      smooth: options.smooth ?? false,
      slope: checkNumber(at, 'slope', options.slope ?? 10),
      huber: checkChoice(at, 'huber', options.huber ?? 'norm', ['norm', 'coordinate']),
      mass: checkNumber(at, 'mass', options.mass ?? 1, 0),
    };
  },
  run({ inputs: { q, k, v, keep, learningRate, threshold }, states, settings }) {
    const { variant, mass } = settings;
    const row = (t: Tensor): Tensor => t.unsqueeze(3);
    const matrix = (t: Tensor): Tensor => row(t).unsqueeze(4);
    const tokens: Record<string, Tensor> = {
      q: row(q),
      k: row(k),
      v: row(v),
      keep: matrix(keep),
      rate: matrix(learningRate),
    };
    if (threshold) tokens.threshold = matrix(threshold);
    const read = (A: Tensor): Tensor => (variant === 'moneta' ? ofNorm(A, settings.q) : A);
    return overTime({ tokens, states: { state: states.state }, weights: {} }, (token, { state }) => {
      const e = token.k.matmul(read(state)).sub(token.v);
      const write = token.k.transpose(2, 3).matmul(slopeOf(e, token.threshold ?? null, settings).mul(token.rate));
      let next: Tensor;
      if (variant === 'memora') {
        const shares = where(state.sum(2, true).eq(0), 1, state).maximum(LEAST);
        next = softmax(shares.log().mul(token.keep).sub(write), 2).mul(mass);
      } else next = state.mul(token.keep).sub(write);
      return { output: token.q.matmul(read(next)).squeeze(2), states: { state: next } };
    });
  },
});

/**
 * Three memories of MIRAS (Behrouz et al. 2025, eqs. 10-15, 21, 24-27; spec 2.13.21), with e = W_{t-1}^T k_t - v_t and o_t = W_t^T q_t:
 *   moneta  A_t = keep_t A_{t-1} - learningRate_t p k_t (sign(e) |e|^(p-1))^T,  W_t = A_t / |A_t|_q^(q-2), whose state is A,
 *   yaad    W_t = keep_t W_{t-1} - learningRate_t k_t h(e)^T,  h(e) = e up to the threshold, beyond it threshold e / |e|,
 *   memora  W_t = mass softmax over keys of (keep_t log W_{t-1} - learningRate_t k_t e^T), from equal shares where the state is zeros.
 * q, k [B, T, H, K], v [B, T, H, V], keep, learningRate, and for yaad threshold [B, T, H]; state [B, H, K, V]. From transcriptions
 * of the paper; its authors have published no code.
 */
export const miras = withQkv('miras', rule, Object.keys(OPTIONS));
