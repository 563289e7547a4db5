// Qwen3-Next: Gated DeltaNet, every fourth layer gated softmax attention, and sparse experts (Qwen 2025).
import type { Tensor } from '../../core';
import { Linear } from '../../nn';
import { cat, split, type TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import { mergeHeads, splitHeads } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { ZeroCentredRMSNorm } from '../common/zeroCentredNorm';
import { HybridDecoder } from './decoder';
import { QWEN_KEYS, QwenBlock, type QwenConfiguration, type QwenKeys, qwenSizes, readQwen } from './qwen';
import { QwenDeltaNet, type QwenLinearShape, type QwenProjections } from './qwenDeltaNet';
import {
  expertsLayoutOf,
  QWEN_EXPERT_KEYS,
  type QwenExpertKeys,
  qwenExpertSizes,
  readQwenExperts,
} from './qwenExperts';

export interface Qwen3NextKeys extends QwenKeys<'qwen3_next'>, QwenExpertKeys {
  /** Every so many-th layer has experts, 1 by default. */
  decoderSparseStep?: Count;
  /** Layers, counted from 0, that have none in any case. */
  mlpOnlyLayers?: readonly number[] | null;
  /** Whether the weights of a token's experts are divided by their sum, true by default. */
  normTopkProb?: Flag;
}

function readConfiguration(input: object): QwenConfiguration {
  const reader = ConfigurationReader.of(input, qwen3NextFamily);
  const step = reader.size('decoder_sparse_step', 1);
  const sizes = { vocabSize: 151936, hiddenSize: 2048, numHiddenLayers: 48, intermediateSize: 5632 };
  const heads = { numHeads: 16, numKvHeads: 2, headDim: 256 };
  const experts = readQwenExperts(
    reader,
    { count: 512, perToken: 10, layout: 'separate' },
    reader.flag('norm_topk_prob', true),
  );
  return readQwen(reader, qwen3NextFamily, { ...sizes, ...heads }, ({ numHiddenLayers }) => {
    const dense = new Set(reader.layers('mlp_only_layers', numHiddenLayers));
    return (layer) => (dense.has(layer) || (layer + 1) % step !== 0 ? null : experts);
  });
}

/** The projections of a key head lie together: its query, its key, and values and gates of the value heads that it serves. */
class GroupedDeltaNet extends QwenDeltaNet {
  in_proj_qkvz: Linear;
  in_proj_ba: Linear;

  constructor(shape: QwenLinearShape, options: TensorOptions) {
    super(shape, options);
    const { hiddenSize, keyHeads, keyDim, valueHeads, valueDim } = shape;
    const bare = { bias: false, ...options };
    this.in_proj_qkvz = new Linear(hiddenSize, 2 * (keyHeads * keyDim + valueHeads * valueDim), bare);
    this.in_proj_ba = new Linear(hiddenSize, 2 * valueHeads, bare);
  }

  protected project(x: Tensor): QwenProjections {
    const { keyHeads, keyDim, valueHeads, valueDim } = this.shape;
    const served = valueHeads / keyHeads;
    const values = served * valueDim;
    const grouped = splitHeads(this.in_proj_qkvz.forward(x), keyHeads);
    const [q, k, v, z] = split(grouped, [keyDim, keyDim, values, values], -1);
    const [b, a] = split(splitHeads(this.in_proj_ba.forward(x), keyHeads), [served, served], -1);
    return {
      qkv: cat([q, k, v].map(mergeHeads), -1),
      z: splitHeads(mergeHeads(z), valueHeads),
      b: mergeHeads(b),
      a: mergeHeads(a),
    };
  }
}

/**
 * Qwen3-Next under the weight names of transformers' Qwen3NextForCausalLM, `model_type` 'qwen3_next'; 48 layers of width 2048
 * with 512 experts by default. Layers for the prediction of several tokens (`mtp.`) are left out.
 */
export class Qwen3NextForCausalLM extends CausalLM<QwenConfiguration> {
  constructor(input: EitherSpelling<Qwen3NextKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const makeLinear = (): QwenDeltaNet => new GroupedDeltaNet(config.linear, options);
    const { hiddenSize, rmsNormEps: eps } = config;
    const decoder = new HybridDecoder(
      config,
      (layer) => new QwenBlock(config, layer, makeLinear, options),
      () => new ZeroCentredRMSNorm(hiddenSize, { eps, ...options }),
      options,
    );
    super(config, decoder, options);
  }
}

export const qwen3NextFamily: ModelDefinition<Qwen3NextKeys, 'qwen3-next'> = {
  modelType: 'qwen3_next',
  name: 'qwen3-next',
  architecture: 'Qwen3NextForCausalLM',
  description: 'Qwen3-Next: Gated DeltaNet, gated softmax attention and sparse experts (Qwen 2025)',
  keys: { ...QWEN_KEYS, ...QWEN_EXPERT_KEYS, decoderSparseStep: true, mlpOnlyLayers: true, normTopkProb: 'flag' },
  configuration: (sizes) => ({ ...qwenSizes(sizes), ...qwenExpertSizes(sizes) }),
  fromWeights: expertsLayoutOf,
  ignored: /^mtp\./,
  model: Qwen3NextForCausalLM,
};
