// The self-modifying Titans, a descendant of the self-referential weight matrix (Behrouz, Razaviyayn, Zhong, Mirrokni,
// "Nested Learning", 2025), with linear memories.
import { checkNumber, type Tensor } from '../../core';
import { cat, l2Norm, split } from '../../ops';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';

/** Options of `selfModifyingTitans`. */
export interface SelfModifyingTitansOptions {
  /** Divide q and every key that the memory makes by sqrt(sum x^2 + 1e-6); true by default. */
  qkL2Norm?: boolean;
  /** Added to the learning rate before its sigmoid: 0 by default. */
  etaBias?: number;
  /** Added to the retention before its sigmoid: 4 by default, which forgets 2 % a token. */
  alphaBias?: number;
}

/**
 * Five linear memories per head that write their own keys, targets, learning rate and retention. From the matrices before
 * the token, M_b = S_b^T: k = M_K x, v = M_V x, eta = sigmoid(M_eta x), alpha = sigmoid(M_alpha x), the output is M_M q, and
 * every matrix b, those that made k, v, eta and alpha included, takes a step towards a target that it makes itself,
 *   M_b <- M_b (alpha I - eta k k^T) - eta (M_b k - M_b v) k^T,
 * which is gradient descent on 1/2 |M_b k - M_b v|^2 beside a decay that erases at the key. x, q [B, T, H, D]; trained
 * starts wM, wV, wK [H, D, D], wEta, wAlpha [H, D, 1], rows are inputs; states shiftM .. shiftAlpha [B, H, D, *], what the
 * matrices have moved from them; output [B, T, H, D]. Source: section 8 of the paper as it is recalled; the authors have
 * published no code, and the two sigmoids and the half before the loss are choices made here.
 */
export const selfModifyingTitans = defineSequential({
  name: 'selfModifyingTitans',
  inputs: {
    x: 'B T H D',
    q: 'B T H D',
    wM: 'H D D',
    wV: 'H D D',
    wK: 'H D D',
    wEta: 'H D 1',
    wAlpha: 'H D 1',
  },
  states: { shiftM: 'B H D D', shiftV: 'B H D D', shiftK: 'B H D D', shiftEta: 'B H D 1', shiftAlpha: 'B H D 1' },
  initialNames: {
    shiftM: 'shiftM',
    shiftV: 'shiftV',
    shiftK: 'shiftK',
    shiftEta: 'shiftEta',
    shiftAlpha: 'shiftAlpha',
  },
  options: { qkL2Norm: 'flag', etaBias: true, alphaBias: true },
  settings: (where, options: SelfModifyingTitansOptions) => ({
    qkL2Norm: options.qkL2Norm ?? true,
    etaBias: checkNumber(where, 'etaBias', options.etaBias ?? 0),
    alphaBias: checkNumber(where, 'alphaBias', options.alphaBias ?? 4),
  }),
  run({
    inputs: { x, q, wM, wV, wK, wEta, wAlpha },
    states,
    settings: { qkL2Norm, etaBias, alphaBias },
    sizes: { D },
  }) {
    const { shiftM, shiftV, shiftK, shiftEta, shiftAlpha } = states;
    const normed = (t: Tensor): Tensor => (qkL2Norm ? l2Norm(t) : t);
    // The five as one matrix of columns: they are read and written alike.
    const start = cat([wM, wV, wK, wEta, wAlpha], 2);
    const W = cat([shiftM, shiftV, shiftK, shiftEta, shiftAlpha], 3).add(start);
    const row = (t: Tensor): Tensor => t.unsqueeze(3);
    const { output, states: after } = overTime(
      { tokens: { x: row(x), q: row(normed(q)) }, states: { W }, weights: {} },
      (token, { W }) => {
        const [, v, k, rate, keep] = split(token.x.matmul(W), [D, D, D, 1, 1], 3);
        const key = normed(k);
        const [eta, alpha] = [rate.add(etaBias).sigmoid(), keep.add(alphaBias).sigmoid()];
        const step = key.matmul(W).mul(2).sub(v.matmul(W)).mul(eta);
        return {
          output: token.q.matmul(W.slice(3, 0, D)).squeeze(2),
          states: { W: W.mul(alpha).sub(key.transpose(2, 3).matmul(step)) },
        };
      },
    );
    const [m, v, k, e, a] = split(after.W.sub(start), [D, D, D, 1, 1], 3);
    return { output, states: { shiftM: m, shiftV: v, shiftK: k, shiftEta: e, shiftAlpha: a } };
  },
});
