// norm(o) * silu(g) per head under the names of RetNet and GLA: `g_norm_swish_gate` where the program of the weights fused
// the two, `g_norm` otherwise.
import { checkObject, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, RMSNorm } from '../../nn';
import type { TensorOptions } from '../../ops';
import type { ConfigurationReader } from './configuration';
import { FastWeightMixer, type MemorySizes } from './fastWeightMixer';
import type { HeadSizes } from '../fla/skeleton';
import { type Placed, mergeHeads, splitHeads } from './mixer';

export interface OutputGateConfiguration extends HeadSizes {
  readonly hiddenSize: number;
  readonly normEps: number;
  readonly useOutputGate: boolean;
  /** Whether the norm is called `g_norm_swish_gate`. */
  readonly fusedGate: boolean;
}

export function readOutputGate(reader: ConfigurationReader): { useOutputGate: boolean; fusedGate: boolean } {
  const useOutputGate = reader.flag('use_output_gate', true);
  const swish = reader.choice('hidden_act', 'swish', ['swish', 'silu']) === 'swish';
  return { useOutputGate, fusedGate: useOutputGate && swish && reader.flag('fuse_norm', true) };
}

/** The projections of q, k, v and the gated read-out. */
export abstract class GatedOutputMixer<C extends OutputGateConfiguration> extends FastWeightMixer {
  q_proj: Linear;
  k_proj: Linear;
  v_proj: Linear;
  g_proj: Linear | null;
  g_norm_swish_gate: GatedRMSNorm | null;
  g_norm: RMSNorm | null;
  o_proj: Linear;

  constructor(
    readonly config: C,
    options: TensorOptions,
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, numKvHeads, keyDim, valueDim, normEps, useOutputGate, fusedGate } = config;
    const sizes: MemorySizes = { heads: numHeads, keyDim, valueDim };
    super(sizes);
    const bare = { bias: false, ...options };
    this.q_proj = new Linear(hiddenSize, numHeads * keyDim, bare);
    this.k_proj = new Linear(hiddenSize, numKvHeads * keyDim, bare);
    this.v_proj = new Linear(hiddenSize, numKvHeads * valueDim, bare);
    this.g_proj = useOutputGate ? new Linear(hiddenSize, numHeads * valueDim, bare) : null;
    this.g_norm_swish_gate = fusedGate ? new GatedRMSNorm(valueDim, { eps: normEps, ...options }) : null;
    this.g_norm = fusedGate ? null : new RMSNorm(valueDim, { eps: normEps, ...options });
    this.o_proj = new Linear(numHeads * valueDim, hiddenSize, bare);
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    return this.o_proj.forward(mergeHeads(this.gated(output, x)));
  }

  private gated(output: Tensor, x: Tensor): Tensor {
    const gate = this.g_proj && splitHeads(this.g_proj.forward(x), this.config.numHeads);
    if (this.g_norm_swish_gate) return this.g_norm_swish_gate.forward(output, gate!);
    const normed = this.g_norm!.forward(output);
    return gate ? normed.mul(gate.silu()) : normed;
  }
}
