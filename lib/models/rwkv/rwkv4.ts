// RWKV-4 in the layout of transformers (Peng et al. 2023, "RWKV: Reinventing RNNs for the Transformer Era"; spec 2.13.20).
import type { OptionNames, Tensor } from '../../core';
import { Embedding, LayerNorm, Linear, parameter } from '../../nn';
import { full, layerNorm, type TensorOptions, tokenShift, tokenShiftStep, zeros } from '../../ops';
import { rwkv4 } from '../../rules';
import { Decoder } from '../common/block';
import { CausalLM, type WeightNames } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { decayOptions } from '../common/initialize';
import type { CommonKeys, Count, EitherSpelling } from '../common/keys';
import { checkSequence, Recurrent, type SequenceOptions, type SequenceResult, stateDType } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { ChannelMix, RwkvBlock, type RwkvParts } from './block';
import { assign, likeOrthogonal, uniform } from './parts';

export interface Rwkv4Keys extends CommonKeys<'rwkv'> {
  /** Channels of the average, hiddenSize by default. */
  attentionHiddenSize?: Count;
  /** Width of the feed-forward, 4 * hiddenSize by default. */
  intermediateSize?: Count;
  /** Added to the variance in the LayerNorms of the blocks, 1e-5 by default. */
  layerNormEpsilon?: Count;
  /**
   * In evaluation mode the published program halves what passes between the blocks every so many of them, 6 by default, 0 for
   * never. All that sees it are the LayerNorms, whose epsilon counts four times as much from then on.
   */
  rescaleEvery?: Count;
  /** Changes nothing here: no length of a text is refused. It is saved again. */
  contextLength?: Count;
}

const KEYS: OptionNames<Omit<Rwkv4Keys, keyof CommonKeys>> = {
  attentionHiddenSize: true,
  intermediateSize: true,
  layerNormEpsilon: true,
  rescaleEvery: true,
  contextLength: true,
};

/** What `RwkvForCausalLM` reads from its keys, with the defaults filled in. */
export interface Rwkv4Configuration extends Configuration {
  /** Channels of the average. */
  readonly channels: number;
  /** Width of the feed-forward. */
  readonly intermediateSize: number;
  /** Added to the variance in the LayerNorms of the blocks. */
  readonly normEps: number;
  /** Blocks between two halvings in evaluation mode; 0 for none. */
  readonly rescaleEvery: number;
}

function readConfiguration(input: object): Rwkv4Configuration {
  const reader = ConfigurationReader.of(input, rwkv4Family);
  const common = reader.common(rwkv4Family, { vocabSize: 50277, hiddenSize: 4096, numHiddenLayers: 32 });
  return {
    ...common,
    channels: reader.size('attention_hidden_size', common.hiddenSize),
    intermediateSize: reader.size('intermediate_size', 4 * common.hiddenSize),
    normEps: reader.number('layer_norm_epsilon', 1e-5),
    rescaleEvery: reader.count('rescale_every', 6),
  };
}

/** 1 - mu of what the token before has in a mix, of which mu [1, 1, D] is the share of x: x mu + (x + delta) (1 - mu). */
const mixOf = (x: Tensor, delta: Tensor, mu: Tensor): Tensor => x.add(delta.mul(mu.reshape(-1).neg().add(1)));

/** Share of channel n of D, to a power, as the shares of new weights grow. */
const shares = (D: number, power: number, more = 0): number[] =>
  Array.from({ length: D }, (_, n) => (n / D) ** power + more);

/** What a layer of RWKV-4 remembers: the states of the rule [B, channels], and its last input [B, hidden]. */
type Rwkv4State = { shift: Tensor; numerator: Tensor; denominator: Tensor; max: Tensor };

/**
 * sigmoid(receptance) times an average of the values so far, weighted by exponentials of keys and age, each of the three of a mix
 * of the token with the one before it.
 */
export class RWKV4Attention extends Recurrent<Rwkv4State> {
  /** Log of the decay's rate in every channel [channels]; float32 also in a bfloat16 model, like `time_first`. */
  time_decay: Tensor;
  /** Added to the key of the present token [channels]. */
  time_first: Tensor;
  /** How much of x, against the token before, is in key, value and receptance: [1, 1, hiddenSize] each. */
  time_mix_key: Tensor;
  time_mix_value: Tensor;
  time_mix_receptance: Tensor;
  /** Weights [channels, hiddenSize]. */
  key: Linear;
  value: Linear;
  receptance: Linear;
  /** [hiddenSize, channels] */
  output: Linear;

  constructor(
    readonly config: Rwkv4Configuration,
    /** From 0. */
    readonly layer: number,
    options: TensorOptions = {},
  ) {
    super();
    const { hiddenSize, channels } = config;
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...options });
    const mix = (): Tensor => parameter(zeros([1, 1, hiddenSize], options));
    this.time_decay = parameter(zeros([channels], decayOptions(options)));
    this.time_first = parameter(zeros([channels], decayOptions(options)));
    [this.time_mix_key, this.time_mix_value, this.time_mix_receptance] = [mix(), mix(), mix()];
    this.key = linear(hiddenSize, channels);
    this.value = linear(hiddenSize, channels);
    this.receptance = linear(hiddenSize, channels);
    this.output = linear(channels, hiddenSize);
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['time_decay', 'time_first'];
  }

  private inputs(x: Tensor, delta: Tensor): Parameters<typeof rwkv4>[0] {
    return {
      k: this.key.forward(mixOf(x, delta, this.time_mix_key)),
      v: this.value.forward(mixOf(x, delta, this.time_mix_value)),
      timeDecay: this.time_decay,
      timeFirst: this.time_first,
    };
  }

  private readout(average: Tensor, x: Tensor, delta: Tensor): Tensor {
    const receptance = this.receptance.forward(mixOf(x, delta, this.time_mix_receptance)).sigmoid();
    return this.output.forward(receptance.mul(average));
  }

  forward(x: Tensor, options: SequenceOptions<Rwkv4State> = {}): SequenceResult<Rwkv4State> {
    checkSequence('forward', options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const shifted = tokenShift(x, {
      initialState: state && state.shift,
      outputFinalState: outputState,
      cuSeqlens,
    });
    const before = state && {
      initialNumerator: state.numerator,
      initialDenominator: state.denominator,
      initialMax: state.max,
    };
    const averaged = rwkv4(
      { ...this.inputs(x, shifted.output), ...before },
      { outputFinalState: outputState, cuSeqlens },
    );
    const output = this.readout(averaged.output, x, shifted.output);
    if (!outputState) return { output };
    const { finalNumerator, finalDenominator, finalMax } = averaged;
    const shift = shifted.finalState!.to(stateDType(this.output.weight));
    const after = { shift, numerator: finalNumerator!, denominator: finalDenominator!, max: finalMax! };
    return { output, state: after };
  }

  step(x: Tensor, { shift, ...state }: Rwkv4State): Tensor {
    const delta = tokenShiftStep(x, { state: shift });
    return this.readout(rwkv4.step(this.inputs(x, delta), { state }), x, delta);
  }

  initialState(batch: number): Rwkv4State {
    const { hiddenSize, channels } = this.config;
    const { weight } = this.output;
    const where = { device: weight.device, dtype: stateDType(weight) };
    return {
      shift: zeros([batch, hiddenSize], where),
      numerator: zeros([batch, channels], where),
      denominator: zeros([batch, channels], where),
      max: full([batch, channels], -1e38, where),
    };
  }

  /** As published. */
  initialize(): void {
    const { layer } = this;
    const { hiddenSize, channels, numHiddenLayers: layers } = this.config;
    const depth = layer / Math.max(1, layers - 1);
    const left = 1 - layer / layers;
    const each = (f: (share: number, n: number) => number): number[] =>
      Array.from({ length: channels }, (_, n) => f(n / Math.max(1, channels - 1), n));
    assign(this.time_decay, each((share) => 8 * share ** (0.7 + 1.3 * depth) - 5));
    assign(this.time_first, each((_, n) => Math.log(0.3) + 0.5 * (((n + 1) % 3) - 1)));
    assign(this.time_mix_key, shares(hiddenSize, left));
    assign(this.time_mix_value, shares(hiddenSize, left, 0.3 * depth));
    assign(this.time_mix_receptance, shares(hiddenSize, 0.5 * left));
  }
}

/** sigmoid(receptance) value(relu(key)^2), where key and receptance see a mix of x with the token before. */
export class RWKV4FeedForward extends ChannelMix {
  /** How much of x, against the token before, is in key and receptance: [1, 1, hiddenSize] each. */
  time_mix_key: Tensor;
  time_mix_receptance: Tensor;
  /** [intermediateSize, hiddenSize] */
  key: Linear;
  /** [hiddenSize, hiddenSize] */
  receptance: Linear;
  /** [hiddenSize, intermediateSize] */
  value: Linear;

  constructor(
    readonly config: Rwkv4Configuration,
    /** From 0. */
    readonly layer: number,
    options: TensorOptions = {},
  ) {
    const { hiddenSize, intermediateSize } = config;
    super(hiddenSize);
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...options });
    this.time_mix_key = parameter(zeros([1, 1, hiddenSize], options));
    this.time_mix_receptance = parameter(zeros([1, 1, hiddenSize], options));
    this.key = linear(hiddenSize, intermediateSize);
    this.receptance = linear(hiddenSize, hiddenSize);
    this.value = linear(intermediateSize, hiddenSize);
  }

  protected get reference(): Tensor {
    return this.value.weight;
  }

  protected mixed(x: Tensor, delta: Tensor): Tensor {
    const value = this.value.forward(this.key.forward(mixOf(x, delta, this.time_mix_key)).relu().square());
    return this.receptance.forward(mixOf(x, delta, this.time_mix_receptance)).sigmoid().mul(value);
  }

  /** As published. */
  initialize(): void {
    const left = 1 - this.layer / this.config.numHiddenLayers;
    assign(this.time_mix_key, shares(this.hiddenSize, left));
    assign(this.time_mix_receptance, shares(this.hiddenSize, left));
  }
}

/** A LayerNorm of what the published program has halved `halvings` times in evaluation mode. */
class HalvedNorm extends LayerNorm {
  constructor(
    dim: number,
    private readonly halvings: number,
    options: TensorOptions & { eps: number },
  ) {
    super(dim, options);
  }

  override forward(x: Tensor): Tensor {
    if (this.training) return super.forward(x);
    return layerNorm(x, this.weight, this.bias, { eps: this.eps * 4 ** this.halvings });
  }
}

class Rwkv4Block extends RwkvBlock {
  pre_ln: LayerNorm | null;
  ln1: LayerNorm;
  ln2: LayerNorm;
  attention: RWKV4Attention;
  feed_forward: RWKV4FeedForward;

  constructor(config: Rwkv4Configuration, layer: number, options: TensorOptions) {
    super();
    const { hiddenSize, normEps: eps, rescaleEvery } = config;
    const halvings = rescaleEvery === 0 ? 0 : Math.floor(layer / rescaleEvery);
    this.pre_ln = layer === 0 ? new LayerNorm(hiddenSize, { eps, ...options }) : null;
    this.ln1 = new HalvedNorm(hiddenSize, halvings, { eps, ...options });
    this.ln2 = new HalvedNorm(hiddenSize, halvings, { eps, ...options });
    this.attention = new RWKV4Attention(config, layer, options);
    this.feed_forward = new RWKV4FeedForward(config, layer, options);
  }

  protected get parts(): RwkvParts {
    const { pre_ln: first, ln1: mixerNorm, attention: mixer, ln2: feedForwardNorm, feed_forward: feedForward } = this;
    return { first, mixerNorm, mixer, feedForwardNorm, feedForward };
  }
}

class Rwkv4Decoder extends Decoder {
  embeddings: Embedding;
  blocks: Rwkv4Block[];
  ln_out: LayerNorm;

  constructor(config: Rwkv4Configuration, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, rescaleEvery } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.blocks = Array.from({ length: numHiddenLayers }, (_, i) => new Rwkv4Block(config, i, options));
    const halvings = rescaleEvery === 0 ? 0 : Math.floor(numHiddenLayers / rescaleEvery);
    // The configuration's epsilon is that of the blocks alone.
    this.ln_out = new HalvedNorm(hiddenSize, halvings, { eps: 1e-5, ...options });
  }

  get tokens(): Embedding {
    return this.embeddings;
  }

  get layers(): Rwkv4Block[] {
    return this.blocks;
  }

  get norm(): LayerNorm {
    return this.ln_out;
  }
}

/**
 * Language model of `RWKV4Attention` layers under the weight names of transformers' RwkvForCausalLM, `model_type` 'rwkv'; 32
 * layers of width 4096 by default. New weights are those of the published programs, whatever `initializerRange` is, but normal
 * where they have orthogonal matrices.
 */
export class RwkvForCausalLM extends CausalLM<Rwkv4Configuration> {
  constructor(input: EitherSpelling<Rwkv4Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new Rwkv4Decoder(config, options), options);
    for (const [, module] of this.namedModules()) {
      if (module instanceof RWKV4Attention || module instanceof RWKV4FeedForward) module.initialize();
      else if (module instanceof Linear) {
        const [to, from] = module.weight.shape;
        likeOrthogonal(module.weight, (module === this.lm_head ? 0.5 : 1) * Math.max(1, to / from) ** 0.5);
      }
    }
    uniform(this.model.tokens.weight, 1e-4);
  }

  override get weightNames(): WeightNames {
    return { backbone: 'rwkv', head: 'head' };
  }
}

export const rwkv4Family: ModelDefinition<Rwkv4Keys, 'rwkv4'> = {
  modelType: 'rwkv',
  name: 'rwkv4',
  architecture: 'RwkvForCausalLM',
  description: 'RWKV-4: averages of values, weighted by keys and age (Peng et al. 2023)',
  keys: KEYS,
  configuration: ({ intermediateSize = null }) => ({ intermediateSize }),
  model: RwkvForCausalLM,
};
