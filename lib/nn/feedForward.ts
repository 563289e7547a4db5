// Feed-forward parts of a block.
import { checkOptions, type Tensor } from '../core';
import { feedForward, swiglu } from '../ops';
import { hasForwardHooks } from './hooks';
import { BIAS, type BiasOptions, Linear } from './layers';
import { Module } from './module';

/** down(silu(gate x) * up x), without biases unless asked for (Shazeer 2020). */
export class SwiGLU extends Module {
  /** [hidden, dim] */
  gate_proj: Linear;
  /** [hidden, dim] */
  up_proj: Linear;
  /** [dim, hidden] */
  down_proj: Linear;

  constructor(dim: number, hidden: number, options: BiasOptions = {}) {
    super();
    checkOptions('SwiGLU', options, BIAS);
    const { bias = false, ...where } = options;
    this.gate_proj = new Linear(dim, hidden, { bias, ...where });
    this.up_proj = new Linear(dim, hidden, { bias, ...where });
    this.down_proj = new Linear(hidden, dim, { bias, ...where });
  }

  /** `residual` is added to the result. */
  forward(x: Tensor, residual: Tensor | null = null): Tensor {
    const { gate_proj, up_proj, down_proj } = this;
    if (
      [gate_proj, up_proj, down_proj].some(
        (part) => part.bias || part.adapter || part.quantized || hasForwardHooks(part),
      )
    ) {
      return down_proj.forward(swiglu(gate_proj.forward(x), up_proj.forward(x)), { residual });
    }
    return feedForward(x, { gate: gate_proj.weight, up: up_proj.weight, down: down_proj.weight }, residual);
  }
}
