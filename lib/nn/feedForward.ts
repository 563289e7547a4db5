// Feed-forward parts of a block.
import type { Tensor } from '../core';
import { swiglu, type TensorOptions } from '../ops';
import { Linear } from './layers';
import { Module } from './module';

/** down(silu(gate x) * up x), without biases unless asked for (Shazeer 2020). */
export class SwiGLU extends Module {
  gate_proj: Linear;
  up_proj: Linear;
  down_proj: Linear;

  constructor(dim: number, hidden: number, options: { bias?: boolean } & TensorOptions = {}) {
    super();
    const { bias = false, ...where } = options;
    this.gate_proj = new Linear(dim, hidden, { bias, ...where });
    this.up_proj = new Linear(dim, hidden, { bias, ...where });
    this.down_proj = new Linear(hidden, dim, { bias, ...where });
  }

  forward(x: Tensor): Tensor {
    return this.down_proj.forward(swiglu(this.gate_proj.forward(x), this.up_proj.forward(x)));
  }
}
