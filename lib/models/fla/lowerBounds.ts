// What HGRN and HGRN2 have in common: decays with learned lower bounds that rise from layer to layer (Qin et al. 2023).
import type { Tensor } from '../../core';
import { parameter } from '../../nn';
import { type TensorOptions, toFloat32, zeros } from '../../ops';
import type { Recurrent } from '../common/mixer';
import { type FlaConfiguration, FlaDecoder } from './skeleton';

/** The lower bounds of a layer's decays, one for each channel, in [0, 1); null where there are none. */
export type LowerBound = () => Tensor | null;

/** Below it float32 has no numbers of full precision; the logarithm of a decay stays finite. */
const LEAST_DECAY = 1e-37;

/** log f and 1 - f of decays f = lower + (1 - lower) sigmoid(x), x [..., D], in float32 where x is bfloat16. */
export function boundedDecay(x: Tensor, lower: Tensor | null): { gate: Tensor; forgotten: Tensor } {
  const logits = toFloat32(x);
  // 1 - exp(gate), without its cancellation.
  const forgotten = logits.neg().sigmoid();
  if (!lower) return { gate: logits.logSigmoid(), forgotten };
  const rest = lower.neg().add(1);
  const gate = logits.sigmoid().mul(rest).add(lower).maximum(LEAST_DECAY).log();
  return { gate, forgotten: forgotten.mul(rest) };
}

/** A decoder whose layers share a table of lower bounds. */
export class LowerBoundedDecoder extends FlaDecoder {
  /** [numHiddenLayers, D], zeros at first; null without `useLowerBound`. */
  lower_bounds: Tensor | null;

  constructor(
    config: FlaConfiguration & { readonly useLowerBound: boolean },
    /** D, decays of a layer. */
    width: number,
    makeMixer: (lowerBound: LowerBound) => Recurrent,
    options: TensorOptions,
  ) {
    super(config, (layer) => makeMixer(() => this.lowerBound(layer)), options);
    this.lower_bounds = config.useLowerBound ? parameter(zeros([config.numHiddenLayers, width], options)) : null;
  }

  /** The sum of the table's softmax over the layers from the second to this one; the first has none. */
  private lowerBound(layer: number): Tensor | null {
    if (layer === 0 || !this.lower_bounds) return null;
    return toFloat32(this.lower_bounds)
      .softmax(0)
      .slice(0, 1, layer + 1)
      .sum(0);
  }
}
