// The Omega rule and Atlas: memories that learn from a window of tokens at every one (Behrouz et al. 2025; spec 2.13.21).
import { argumentError, checkChoice, checkInteger, checkNumber, describe, type Tensor } from '../../core';
import { cat } from '../../ops';
import { checkTogether } from '../sequential/checks';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';
import { withQkv } from '../sequential/qkv';

/** Options of `omega`. */
export interface OmegaOptions {
  /** Tokens that a step learns from, itself included: the last size of windowGate, which it must be, by default. */
  window?: number;
  /** 'gradient', by default, or 'newtonSchulz', Atlas. */
  optimiser?: 'gradient' | 'newtonSchulz';
  /** Newton-Schulz steps, 5 by default. */
  steps?: number;
  /** Their a, b, c: [3.4445, -4.775, 2.0315] by default. */
  coefficients?: readonly [number, number, number];
  /** Added to the norm that the momentum is divided by, 1e-7 by default. */
  normEps?: number;
}

const OPTIONS = { window: true, optimiser: true, steps: true, coefficients: true, normEps: true } as const;

/** About the nearest orthogonal matrix of each x [.., m, n]: y -> a y + (b y y^T + c (y y^T)^2) y from x / (|x| + eps). */
function orthogonal(x: Tensor, steps: number, [a, b, c]: readonly number[], eps: number): Tensor {
  const swap = (t: Tensor): Tensor => t.transpose(t.ndim - 2, t.ndim - 1);
  const tall = x.shape[x.ndim - 2] > x.shape[x.ndim - 1];
  const norm = x.square().sum([-2, -1], true);
  // The slope of the root at a momentum of zeros counts for nothing.
  let y = x.div(norm.maximum(1e-37).sqrt().add(eps));
  if (tall) y = swap(y);
  for (let step = 0; step < steps; step++) {
    const gram = y.matmul(swap(y));
    y = y.mul(a).add(gram.mul(b).add(gram.matmul(gram).mul(c)).matmul(y));
  }
  return tall ? swap(y) : y;
}

const rule = defineSequential({
  name: 'omega',
  inputs: {
    q: 'B T H K',
    k: 'B T H K',
    v: 'B T H V',
    keep: 'B T H',
    windowGate: 'B T H C',
    momentum: 'B T H?',
    learningRate: 'B T H?',
  },
  states: { state: 'B H K V', momentum: 'B H K V', keys: 'B H P K', values: 'B H P V' },
  options: OPTIONS,
  settings(where, options: OmegaOptions, inputs) {
    const { windowGate, momentum, learningRate } = inputs;
    const optimiser = checkChoice(where, 'optimiser', options.optimiser ?? 'gradient', ['gradient', 'newtonSchulz']);
    const atlas = optimiser === 'newtonSchulz';
    checkTogether(
      where,
      { momentum, learningRate },
      { momentum: atlas, learningRate: atlas },
      `optimiser ${optimiser}`,
    );
    const coefficients = options.coefficients ?? [3.4445, -4.775, 2.0315];
    if (!Array.isArray(coefficients) || coefficients.length !== 3 || !coefficients.every(Number.isFinite)) {
      const found = describe(coefficients);
      throw argumentError('INVALID_ARGUMENT', where, 'coefficients', 'three finite numbers', found);
    }
    return {
      atlas,
      window: checkInteger(where, 'window', options.window ?? windowGate.shape[windowGate.ndim - 1], 1),
      steps: checkInteger(where, 'steps', options.steps ?? 5, 0, 99),
      coefficients,
      normEps: checkNumber(where, 'normEps', options.normEps ?? 1e-7, 0),
    };
  },
  without: ({ atlas, window }) => [
    ...(atlas ? [] : (['momentum'] as const)),
    ...(window > 1 ? [] : (['keys', 'values'] as const)),
  ],
  settle(where, sizes, { window }) {
    const require = (argument: string, found: number, expected: number): void => {
      if (found === expected) return;
      throw argumentError('SHAPE', where, argument, `of ${expected} tokens (window ${window})`, `${found}`);
    };
    require('windowGate', sizes.C, window);
    require('keys', (sizes.P ??= window - 1), window - 1);
  },
  run({ inputs: { q, k, v, keep, windowGate, momentum, learningRate }, states, settings }) {
    const { atlas, window, steps, coefficients, normEps } = settings;
    const row = (t: Tensor): Tensor => t.unsqueeze(3);
    const matrix = (t: Tensor): Tensor => row(t).unsqueeze(4);
    const tokens: Record<string, Tensor> = {
      q: row(q),
      k: row(k),
      v: row(v),
      keep: matrix(keep),
      gate: windowGate.unsqueeze(4),
    };
    if (atlas) Object.assign(tokens, { eta: matrix(momentum!), rate: matrix(learningRate!) });
    const present = Object.entries(states).filter(([, t]) => t as Tensor | undefined);
    return overTime({ tokens, states: Object.fromEntries(present), weights: {} }, (token, before) => {
      // Of the window the newest token is the first; keys of zeros, before the text began, write nothing.
      const [keys, values] = (['keys', 'values'] as const).map((name) => {
        const own = name === 'keys' ? token.k : token.v;
        return window > 1 ? cat([own, before[name]], 2) : own;
      });
      const W = before.state;
      const errors = keys.matmul(W).sub(values).mul(token.gate);
      const gradient = keys.transpose(2, 3).matmul(errors);
      const kept = W.mul(token.keep);
      const after: Record<string, Tensor> = {};
      if (atlas) {
        after.momentum = before.momentum.mul(token.eta).add(gradient);
        after.state = kept.sub(orthogonal(after.momentum, steps, coefficients, normEps).mul(token.rate));
      } else after.state = kept.sub(gradient);
      if (window > 1)
        Object.assign(after, { keys: keys.slice(2, 0, window - 1), values: values.slice(2, 0, window - 1) });
      return { output: token.q.matmul(after.state).squeeze(2), states: after };
    }) as never;
  },
});

/**
 * Gradient descent on a window of tokens at every token (Behrouz et al. 2025, "Atlas", eqs. 9-11; spec 2.13.21),
 *   G_t = sum over j < window of windowGate_tj k_{t-j} (W_{t-1}^T k_{t-j} - v_{t-j})^T,  W_t = keep_t W_{t-1} - G_t,  o_t = W_t^T q_t,
 * and with the optimiser 'newtonSchulz' (eqs. 32-33) M_t = momentum_t M_{t-1} + G_t, W_t = keep_t W_{t-1} - learningRate_t NS(M_t).
 * q, k [B, T, H, K], v [B, T, H, V], keep, momentum, learningRate [B, T, H], windowGate [B, T, H, window]; states `state` and
 * `momentum` [B, H, K, V], and of a window of several tokens the keys and values before, newest first, [B, H, window - 1, *]. From
 * transcriptions of the paper; its authors have published no code.
 */
export const omega = withQkv('omega', rule, Object.keys(OPTIONS));
