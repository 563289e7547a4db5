// OLMo Hybrid: Gated DeltaNet with norms in front, and softmax attention with norms behind (Ai2 2025; spec 2.13.9).
import type { OptionNames, Tensor } from '../../core';
import type { State } from '../../inference';
import { partOfSources, type TensorSource } from '../../io';
import { RMSNorm, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Attention, type AttentionShape } from '../common/attention';
import { Block, type BlockParts, PreNormBlock } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type JsonObject, PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling, Flag } from '../common/keys';
import { type Recurrent, type SequenceOptions, type SequenceResult, stepOf } from '../common/mixer';
import type { Entries } from '../common/pretrained';
import type { ModelDefinition } from '../common/registry';
import { readRopeSection, readRotation } from '../common/rotary';
import type { Rotation } from '../common/rotation';
import type { GatedDeltaSizes } from '../fla/gatedDelta';
import { GatedDeltaNet } from '../fla/gatedDeltaNet';
import {
  everyNth,
  HYBRID_KEYS,
  type HybridConfiguration,
  type HybridKeys,
  readAttentionShape,
  readLayerTypes,
} from './configuration';
import { HybridDecoder } from './decoder';

/** Sizes of the linear attention. */
interface LinearKeys {
  linearConvKernelDim?: Count;
  linearKeyHeadDim?: Count;
  linearValueHeadDim?: Count;
  linearNumKeyHeads?: Count;
  linearNumValueHeads?: Count;
  linearAllowNegEigval?: Flag;
}

const LINEAR_KEYS: OptionNames<LinearKeys> = {
  linearConvKernelDim: true,
  linearKeyHeadDim: true,
  linearValueHeadDim: true,
  linearNumKeyHeads: true,
  linearNumValueHeads: true,
  linearAllowNegEigval: 'flag',
};

export interface OlmoHybridKeys extends HybridKeys<'olmo_hybrid'>, LinearKeys {}

/** What `OlmoHybridForCausalLM` reads from its keys, with the defaults filled in. */
export interface OlmoHybridConfiguration extends HybridConfiguration {
  /** Of the layers of softmax attention. */
  readonly attention: AttentionShape;
  /** Of the layers of linear attention. */
  readonly linear: GatedDeltaSizes;
}

/** Whatever rms_norm_eps says. */
const OUTPUT_NORM_EPS = 1e-5;

function readLinear(reader: ConfigurationReader, hiddenSize: number, attentionHeads: number): GatedDeltaSizes {
  const numHeads = reader.size('linear_num_key_heads', attentionHeads);
  const numValueHeads = reader.size('linear_num_value_heads', attentionHeads);
  reader.divides(numValueHeads, 'linear_num_key_heads', numHeads);
  const keyDim = reader.size('linear_key_head_dim', Math.floor((0.75 * hiddenSize) / numHeads));
  return {
    hiddenSize,
    numHeads,
    numValueHeads,
    keyDim,
    valueDim: reader.size('linear_value_head_dim', 2 * keyDim),
    convSize: reader.size('linear_conv_kernel_dim', 4),
    allowNegEigval: reader.flag('linear_allow_neg_eigval', true),
    normEps: OUTPUT_NORM_EPS,
  };
}

/** A rope_theta of null turns nothing; without any parameters the usual angles do. */
function readRotary(reader: ConfigurationReader, headDim: number): Rotation {
  if (readRopeSection(reader)?.source.rope_theta === null) return { frequencies: [] };
  return readRotation(reader, headDim, { length: 65536 });
}

function readConfiguration(input: object): OlmoHybridConfiguration {
  const reader = ConfigurationReader.of(input, olmoHybridFamily);
  const sizes = { vocabSize: 100352, hiddenSize: 3840, numHiddenLayers: 32 };
  const common = reader.common(olmoHybridFamily, sizes);
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  const { hiddenSize, numHiddenLayers: layers } = common;
  const rmsNormEps = reader.number('rms_norm_eps', 1e-6);
  const heads = { numHeads: 30, numKvHeads: null, headDim: null };
  const attention = readAttentionShape(reader, hiddenSize, heads, {
    rotation: (headDim) => readRotary(reader, headDim),
    qkNorm: { over: 'projection', eps: rmsNormEps, zeroCentred: false },
  });
  return {
    ...common,
    layerTypes: readLayerTypes(reader, layers, everyNth(Math.min(4, layers))),
    intermediateSize: reader.size('intermediate_size', 11008),
    rmsNormEps,
    attention,
    linear: readLinear(reader, hiddenSize, attention.numHeads),
  };
}

class LinearBlock extends PreNormBlock {
  attention_layer_norm: RMSNorm;
  linear_attn: GatedDeltaNet;
  feedforward_layer_norm: RMSNorm;
  mlp: SwiGLU;

  constructor(
    { hiddenSize, intermediateSize, rmsNormEps: eps, linear }: OlmoHybridConfiguration,
    options: TensorOptions,
  ) {
    super();
    this.attention_layer_norm = new RMSNorm(hiddenSize, { eps, ...options });
    this.linear_attn = new GatedDeltaNet({ ...linear, useGate: true }, options);
    this.feedforward_layer_norm = new RMSNorm(hiddenSize, { eps, ...options });
    this.mlp = new SwiGLU(hiddenSize, intermediateSize, options);
  }

  protected get parts(): BlockParts {
    return {
      mixerNorm: this.attention_layer_norm,
      mixer: this.linear_attn,
      feedForwardNorm: this.feedforward_layer_norm,
      feedForward: this.mlp,
    };
  }
}

/** x + norm(attention(x)), then x + norm(mlp(x)). */
class AttentionBlock extends Block {
  self_attn: Attention;
  post_attention_layernorm: RMSNorm;
  mlp: SwiGLU;
  post_feedforward_layernorm: RMSNorm;

  constructor(config: OlmoHybridConfiguration, options: TensorOptions) {
    super();
    const { hiddenSize, intermediateSize, rmsNormEps: eps } = config;
    this.self_attn = new Attention(config.attention, options);
    this.post_attention_layernorm = new RMSNorm(hiddenSize, { eps, ...options });
    this.mlp = new SwiGLU(hiddenSize, intermediateSize, options);
    this.post_feedforward_layernorm = new RMSNorm(hiddenSize, { eps, ...options });
  }

  private get mixer(): Recurrent {
    return this.self_attn;
  }

  mix(x: Tensor, options: SequenceOptions): SequenceResult {
    const { output, state } = this.mixer.forward(x, options);
    return { output: x.add(this.post_attention_layernorm.forward(output)), state };
  }

  mixStep(x: Tensor, state: State): Tensor {
    const output = stepOf(this.mixer, x, state);
    return x.add(this.post_attention_layernorm.forward(output));
  }

  initialState(batch: number): State {
    return this.self_attn.initialState(batch);
  }

  protected override ragged(batch: number): State {
    return this.self_attn.raggedState(batch);
  }

  feedForward(x: Tensor): Tensor {
    return x.add(this.post_feedforward_layernorm.forward(this.mlp.forward(x)));
  }
}

/**
 * OLMo Hybrid under the weight names of its published files, `model_type` 'olmo_hybrid'; 32 layers of width 3840 by default,
 * of which every fourth is softmax attention.
 */
export class OlmoHybridForCausalLM extends CausalLM<OlmoHybridConfiguration> {
  constructor(input: EitherSpelling<OlmoHybridKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const { hiddenSize, layerTypes, rmsNormEps: eps } = config;
    const decoder = new HybridDecoder(
      config,
      (layer) =>
        layerTypes[layer] === 'linear_attention'
          ? new LinearBlock(config, options)
          : new AttentionBlock(config, options),
      () => new RMSNorm(hiddenSize, { eps, ...options }),
      options,
    );
    super(config, decoder, options);
  }
}

/**
 * Files that transformers 5 has saved again hold equal thirds of the three convolutions one after the other, and call the
 * first norm of an attention layer `feedforward_layer_norm`.
 */
function fromFolder(entries: Entries, json: JsonObject): Entries {
  const { linear, layerTypes } = readConfiguration(new PublishedConfiguration(json));
  const found = new Map(entries);
  layerTypes.forEach((type, i) => {
    const layer = `model.layers.${i}.`;
    if (type === 'full_attention') {
      const other = `${layer}feedforward_layer_norm.weight`;
      const norm = found.get(other);
      if (norm && found.delete(other)) found.set(`${layer}post_attention_layernorm.weight`, norm);
      return;
    }
    const names = ['q', 'k', 'v'].map((part) => `${layer}linear_attn.${part}_conv1d.weight`);
    const stored = names.flatMap((name) => found.get(name) ?? []);
    if (stored.length === 3) splitConvolutions(stored, linear).forEach((part, j) => found.set(names[j], part));
  });
  return found;
}

function splitConvolutions(stored: readonly TensorSource[], linear: GatedDeltaSizes): readonly TensorSource[] {
  const keys = linear.numHeads * linear.keyDim;
  const widths = [keys, keys, linear.numValueHeads * linear.valueDim];
  const kernel = stored[0].shape.slice(1);
  const rows = stored.reduce((sum, { shape }) => sum + shape[0], 0);
  if (stored.every(({ shape }, i) => shape[0] === widths[i]) || rows !== widths.reduce((a, b) => a + b, 0))
    return stored;
  const step = kernel.reduce((a, b) => a * b, 1);
  let row = 0;
  return stored.map(({ name }, i) => {
    const part = partOfSources(name, stored, row * step, [widths[i], ...kernel]);
    row += widths[i];
    return part;
  });
}

export const olmoHybridFamily: ModelDefinition<OlmoHybridKeys, 'olmo-hybrid'> = {
  modelType: 'olmo_hybrid',
  name: 'olmo-hybrid',
  architecture: 'OlmoHybridForCausalLM',
  description: 'OLMo Hybrid: Gated DeltaNet with negative eigenvalues and softmax attention (Ai2 2025)',
  keys: { ...HYBRID_KEYS, ...LINEAR_KEYS } satisfies OptionNames<Omit<OlmoHybridKeys, keyof CommonKeys>>,
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numAttentionHeads: numHeads,
    linearKeyHeadDim: headDim,
    linearValueHeadDim: headDim,
    intermediateSize: feedForward,
  }),
  fromFolder,
  model: OlmoHybridForCausalLM,
};
