// xLSTM, the language model of mLSTM layers, in the layout of transformers (Beck et al. 2024, 2025; spec 2.13.3).
import type { Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { Embedding, Linear, Module, parameter, RMSNorm } from '../../nn';
import { randn, split, swiglu, type TensorOptions, zeros } from '../../ops';
import { type BlockParts, Decoder, PreNormBlock } from '../common/block';
import { CausalLM, type WeightNames } from '../common/causalLM';
import type { PublishedConfiguration } from '../common/configuration';
import type { EitherSpelling } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { readXlstm, XLSTM_KEYS, type XlstmConfiguration, type XlstmKeys } from './configuration';
import { MlstmLayer, softCap } from './mlstmLayer';

/** down(silu(gate x) * up x), gate and up as one weight with `fused`. */
class XlstmFeedForward extends Module {
  proj_up_gate: Linear | null;
  proj_up: Linear | null;
  proj_up_gate_z: Linear | null;
  proj_down: Linear;

  constructor({ hiddenSize, intermediateSize, useBias: bias, fused }: XlstmConfiguration, options: TensorOptions) {
    super();
    const up = (rows: number): Linear => new Linear(hiddenSize, rows, { bias, ...options });
    this.proj_up_gate = fused ? null : up(intermediateSize);
    this.proj_up = fused ? null : up(intermediateSize);
    this.proj_up_gate_z = fused ? up(2 * intermediateSize) : null;
    this.proj_down = new Linear(intermediateSize, hiddenSize, { bias, ...options });
  }

  forward(x: Tensor, residual: Tensor): Tensor {
    const width = this.proj_down.inFeatures;
    const [gate, up] = this.proj_up_gate_z
      ? split(this.proj_up_gate_z.forward(x), [width, width], -1)
      : [this.proj_up_gate!.forward(x), this.proj_up!.forward(x)];
    return this.proj_down.forward(swiglu(gate, up), { residual });
  }
}

/** RMSNorm, with a bias behind it where `useBias` says so. */
class XlstmNorm extends RMSNorm {
  bias: Tensor | null;

  constructor({ hiddenSize, normEps: eps, useBias }: XlstmConfiguration, options: TensorOptions) {
    super(hiddenSize, { eps, ...options });
    this.bias = useBias ? parameter(zeros([hiddenSize], options)) : null;
  }

  override forward(x: Tensor): Tensor {
    const y = super.forward(x);
    return this.bias ? y.add(this.bias) : y;
  }
}

class XlstmBlock extends PreNormBlock {
  norm_mlstm: XlstmNorm;
  mlstm_layer: MlstmLayer;
  norm_ffn: XlstmNorm;
  ffn: XlstmFeedForward;

  constructor(config: XlstmConfiguration, options: TensorOptions) {
    super();
    this.norm_mlstm = new XlstmNorm(config, options);
    this.mlstm_layer = new MlstmLayer(config, options);
    this.norm_ffn = new XlstmNorm(config, options);
    this.ffn = new XlstmFeedForward(config, options);
  }

  protected get parts(): BlockParts {
    const { norm_mlstm: mixerNorm, mlstm_layer: mixer, norm_ffn: feedForwardNorm, ffn: feedForward } = this;
    return { mixerNorm, mixer, feedForwardNorm, feedForward };
  }
}

class XlstmDecoder extends Decoder {
  embeddings: Embedding;
  blocks: XlstmBlock[];
  out_norm: RMSNorm;

  constructor(config: XlstmConfiguration, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, normEps } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.blocks = Array.from({ length: numHiddenLayers }, () => new XlstmBlock(config, options));
    this.out_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
  }

  get tokens(): Embedding {
    return this.embeddings;
  }

  get layers(): XlstmBlock[] {
    return this.blocks;
  }

  get norm(): RMSNorm {
    return this.out_norm;
  }
}

/**
 * Language model of mLSTM layers under the weight names of transformers' xLSTMForCausalLM (xLSTM 7B, Beck et al. 2025),
 * `model_type` 'xlstm'; 32 blocks of width 4096 with 8 heads of 256 keys and 512 values by default. Weights are drawn as
 * published: deviation sqrt(2 / (5 width)), of the two projections back to the stream 2 / (blocks sqrt(width)).
 */
export class xLSTMForCausalLM extends CausalLM<XlstmConfiguration> {
  constructor(input: EitherSpelling<XlstmKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readXlstm(input, xlstmFamily);
    const decoder = new XlstmDecoder(config, options);
    super(config, decoder, options);
    const std = 2 / (config.numHiddenLayers * Math.sqrt(config.hiddenSize));
    for (const { mlstm_layer: layer, ffn } of decoder.blocks) {
      layer.initializeGates();
      for (const { weight } of [layer.out_proj, ffn.proj_down]) {
        const { dtype, device } = weight;
        noGrad(() => weight.copy_(randn(weight.shape, { dtype, device, std })));
      }
    }
  }

  override get weightNames(): WeightNames {
    return { backbone: 'backbone', head: 'lm_head' };
  }

  protected override logitsOf(hidden: Tensor): Tensor {
    return softCap(super.logitsOf(hidden), this.config.outputLogitSoftCap);
  }
}

export const xlstmFamily: ModelDefinition<XlstmKeys, 'xlstm'> = {
  modelType: 'xlstm',
  name: 'xlstm',
  architecture: 'xLSTMForCausalLM',
  description: 'xLSTM: a matrix memory with exponential gates and a normaliser (Beck et al. 2024)',
  keys: XLSTM_KEYS,
  configuration: ({ numHeads, feedForward }) => ({ numHeads, intermediateSize: feedForward }),
  model: xLSTMForCausalLM,
};
