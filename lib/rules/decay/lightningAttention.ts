// Lightning attention: a fixed decay per head, slower in deeper layers (Qin et al. 2024; spec 2.13.2).
import { argumentError, checkInteger, type Tensor } from '../../core';
import { statisticsDtype, tensor } from '../../ops';
import { defineRule } from '../recurrence/define';

/** Options of `lightningAttention`; both are needed. */
export interface LightningOptions {
  /** The layer, counted from 0. */
  layerIndex: number;
  /** Layers of the model. */
  numLayers: number;
}

/** -(8 / H) (1 - layerIndex / numLayers) h for head h, repeated over the leading dimensions without memory. */
function decay(v: Tensor, { layerIndex, numLayers }: Partial<LightningOptions>): Tensor {
  const where = 'lightningAttention';
  const layers = checkInteger(where, 'numLayers', numLayers, 1);
  const layer = checkInteger(where, 'layerIndex', layerIndex, 0, layers - 1);
  const heads = v.shape[v.ndim - 2];
  if (heads === undefined) throw argumentError('SHAPE', where, 'v', '[B, T, HV, V]', `[${v.shape.join(', ')}]`);
  const gate = tensor(
    Float64Array.from({ length: heads }, (_, h) => -(8 / heads) * (1 - layer / layers) * h),
    { dtype: statisticsDtype(v), device: v.device },
  );
  return gate.expand([...v.shape.slice(0, -1)]);
}

/** S_t = exp(-(8 / H) (1 - layerIndex / numLayers) h) S_{t-1} + k_t v_t^T,  o_t = scale S_t^T q_t: head 0 never forgets. */
export const lightningAttention = defineRule<LightningOptions>({
  name: 'lightningAttention',
  gates: { layerIndex: true, numLayers: true },
  kind: {},
  lower: ({ q, k, v }, options) => ({ q, k, v, gate: decay(v, options) }),
});
