// The layers of RWKV-4: an average of values and a feed-forward, both of mixes of a token with the one before it (Peng et al. 2023,
// "RWKV: Reinventing RNNs for the Transformer Era"; spec 2.13.20).
import { checkObject, type Tensor } from '../../core';
import { Linear, parameter } from '../../nn';
import { checkTensorOptions, full, type TensorOptions, tokenShift, tokenShiftStep, zeros } from '../../ops';
import { rwkv4 } from '../../rules';
import type { Configuration } from '../common/configuration';
import { decayOptions } from '../common/initialize';
import {
  type Placed,
  checkForward,
  checkStep,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stateDType,
} from '../common/mixer';
import { ChannelMix } from './block';
import { along, assign } from './parts';

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

/** 1 - mu of what the token before has in a mix, of which mu [1, 1, D] is the share of x: x mu + (x + delta) (1 - mu). */
const mixOf = (x: Tensor, delta: Tensor, mu: Tensor): Tensor => x.add(delta.mul(mu.reshape(-1).neg().add(1)));

/** Share of channel n of D, to a power, as the shares of new weights grow. */
const shares = (D: number, power: number, more = 0): number[] => along(D, (_, n) => (n / D) ** power + more);

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
  /** How much of x, against the token before, is in the key [1, 1, hiddenSize]. */
  time_mix_key: Tensor;
  /** The same of the value. */
  time_mix_value: Tensor;
  /** The same of the receptance. */
  time_mix_receptance: Tensor;
  /** [channels, hiddenSize] */
  key: Linear;
  /** [channels, hiddenSize] */
  value: Linear;
  /** [channels, hiddenSize] */
  receptance: Linear;
  /** [hiddenSize, channels] */
  output: Linear;

  constructor(
    /** Of the model. */
    readonly config: Rwkv4Configuration,
    /** From 0. */
    readonly layer: number,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'config', config);
    checkTensorOptions(new.target.name, options);
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
    checkForward(this, x, options);
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
    const shift = shifted.finalState!.to(stateDType(this.output));
    const after = { shift, numerator: finalNumerator!, denominator: finalDenominator!, max: finalMax! };
    return { output, state: after };
  }

  step(x: Tensor, state: Rwkv4State): Tensor {
    checkStep(this, x, state);
    const { shift, ...averages } = state;
    const delta = tokenShiftStep(x, { state: shift });
    return this.readout(rwkv4.step(this.inputs(x, delta), { state: averages }), x, delta);
  }

  initialState(batch: number): Rwkv4State {
    const { hiddenSize, channels } = this.config;
    const where = { device: this.output.device, dtype: stateDType(this.output) };
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
    const decay = along(channels, (share) => 8 * share ** (0.7 + 1.3 * depth) - 5);
    const first = along(channels, (_, n) => Math.log(0.3) + 0.5 * (((n + 1) % 3) - 1));
    assign(this.time_decay, decay);
    assign(this.time_first, first);
    assign(this.time_mix_key, shares(hiddenSize, left));
    assign(this.time_mix_value, shares(hiddenSize, left, 0.3 * depth));
    assign(this.time_mix_receptance, shares(hiddenSize, 0.5 * left));
  }
}

/** sigmoid(receptance) value(relu(key)^2), where key and receptance see a mix of x with the token before. */
export class RWKV4FeedForward extends ChannelMix {
  /** How much of x, against the token before, is in the key [1, 1, hiddenSize]. */
  time_mix_key: Tensor;
  /** The same of the receptance. */
  time_mix_receptance: Tensor;
  /** [intermediateSize, hiddenSize] */
  key: Linear;
  /** [hiddenSize, hiddenSize] */
  receptance: Linear;
  /** [hiddenSize, intermediateSize] */
  value: Linear;

  constructor(
    /** Of the model. */
    readonly config: Rwkv4Configuration,
    /** From 0. */
    readonly layer: number,
    options: TensorOptions = {},
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, intermediateSize } = config;
    super(hiddenSize);
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...options });
    this.time_mix_key = parameter(zeros([1, 1, hiddenSize], options));
    this.time_mix_receptance = parameter(zeros([1, 1, hiddenSize], options));
    this.key = linear(hiddenSize, intermediateSize);
    this.receptance = linear(hiddenSize, hiddenSize);
    this.value = linear(intermediateSize, hiddenSize);
  }

  protected get reference(): Placed {
    return this.value;
  }

  protected mixed(x: Tensor, delta: Tensor): Tensor {
    const value = this.value.forward(
      this.key
        .forward(mixOf(x, delta, this.time_mix_key))
        .relu()
        .square(),
    );
    return this.receptance
      .forward(mixOf(x, delta, this.time_mix_receptance))
      .sigmoid()
      .mul(value);
  }

  /** As published. */
  initialize(): void {
    const left = 1 - this.layer / this.config.numHiddenLayers;
    assign(this.time_mix_key, shares(this.hiddenSize, left));
    assign(this.time_mix_receptance, shares(this.hiddenSize, left));
  }
}
