// Retention: linear attention with a fixed decay per head (Sun et al. 2023; spec 2.13.2).
import type { Tensor } from '../../core';
import { statisticsDtype, tensor } from '../../ops';
import { defineRule } from '../recurrence/define';

/** log(1 - 2^(-5 - h)) for head h, repeated over the leading dimensions without memory. */
function decay(k: Tensor): Tensor {
  const heads = k.shape[k.ndim - 2];
  const gate = tensor(
    Float64Array.from({ length: heads }, (_, h) => Math.log1p(-(2 ** (-5 - h)))),
    { dtype: statisticsDtype(k), device: k.device },
  );
  return gate.expand(k.shape.slice(0, -1));
}

/** S_t = gamma_h S_{t-1} + k_t v_t^T with gamma_h = 1 - 2^(-5 - h),  o_t = scale S_t^T q_t. Rotary positions are not part of it. */
export const retention = defineRule<object>({
  name: 'retention',
  gates: {},
  kind: {},
  lower: ({ q, k, v }) => ({ q, k, v, gate: decay(k) }),
});
