// ReBased: linear attention with squared scores (Aksenov et al. 2024; spec 0.1, 2.13.20).
import { definePolynomial } from './polynomial';

/**
 * o_t = sum over s <= t of (scale q_t . k_s)^2 v_s, over the sum of those scores + normalizeEps, or with `normalize: false`
 * undivided. q, k [B, T, H, K], v [B, T, HV, V]; the affine layer norm that the paper puts before the products is not part of
 * it (`layerNorm`). The state [N, HV, P, V] has the P = K (K + 1) / 2 products of a key's channels as its rows, the normaliser
 * [N, HV, P] is their sum; a step takes it as `normalizer`. Scores of the past cancel in their sums over monomials (docs/precision.md).
 */
export const rebased = definePolynomial('rebased', 'square', (x) => x.square());
