// Based: linear attention with the second-order Taylor expansion of the softmax (Arora et al. 2024; spec 0.1, 2.13.20).
import { definePolynomial } from './polynomial';

/**
 * o_t = sum over s <= t of (1 + x + x^2 / 2) v_s, x = scale q_t . k_s, over the sum of those scores + normalizeEps, or with
 * `normalize: false` undivided. q, k [B, T, H, K], v [B, T, HV, V]. The state [N, HV, P, V] has the P = 1 + K + K (K + 1) / 2
 * monomials of a key as its rows, the normaliser [N, HV, P] is their sum; a step takes it as `normalizer`.
 */
export const based = definePolynomial('based', 'taylor', (x) => x.square().mul(0.5).add(x).add(1));
