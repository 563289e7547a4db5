// Parameter-free feature maps under the names that configurations use.
import type { Tensor } from '../core';
import { elu1 } from '../ops';

/** Activations by their name in a configuration. */
export const ACTIVATIONS = {
  identity: (x: Tensor): Tensor => x,
  relu: (x: Tensor): Tensor => x.relu(),
  silu: (x: Tensor): Tensor => x.silu(),
  swish: (x: Tensor): Tensor => x.silu(),
  elu: (x: Tensor): Tensor => elu1(x),
};

export type ActivationName = keyof typeof ACTIVATIONS;
