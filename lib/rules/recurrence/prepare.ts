// What happens to q and k before any rule sees them: feature map and L2 norm.
import type { Tensor } from '../../core';
import { type FeatureMapOptions, l2Norm, mapFeatures } from '../../ops';

/** phi(q), phi(k), then x / sqrt(sum x^2 + 1e-6) when asked for. */
export function prepareKeys<T extends { q: Tensor; k: Tensor }>(
  inputs: T,
  options: FeatureMapOptions & { qkL2Norm?: boolean },
): T {
  let { q, k } = inputs;
  if ((options.featureMap ?? null) !== null || options.sumNorm)
    [q, k] = [mapFeatures(q, options), mapFeatures(k, options)];
  if (options.qkL2Norm) [q, k] = [l2Norm(q), l2Norm(k)];
  return q === inputs.q && k === inputs.k ? inputs : { ...inputs, q, k };
}
