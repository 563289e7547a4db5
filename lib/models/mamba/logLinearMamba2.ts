// Log-linear Mamba-2: Mamba-2 whose past lies in log T states (Guo et al. 2025; spec 2.13.18), in the layout of
// flash-linear-attention.
import { checkObject, type Tensor } from '../../core';
import { parameter, RMSNorm, SwiGLU } from '../../nn';
import { ones, type TensorOptions, toFloat32, zeros } from '../../ops';
import { logLinearAttention } from '../../rules';
import { type BlockParts, PreNormBlock } from '../common/block';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { initializeResidual } from '../common/initialize';
import type { EitherSpelling } from '../common/keys';
import {
  checkForward,
  checkStep,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
  stateDType,
} from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { defaultIntermediate } from '../fla/skeleton';
import { BackboneLM, MambaDecoder } from './backbone';
import { MAMBA2_FLA_KEYS, type Mamba2FlaConfiguration, type Mamba2FlaKeys, readMamba2Fla } from './mamba2Fla';
import { Mamba2Layer, type Mamba2Parts, type Mamba2Shape } from './mamba2Mixer';

/** Levels of the published program: texts of up to 2^14 tokens. */
const LEVELS = 15;

/** What a layer of log-linear Mamba-2 remembers. */
export type LogLinearState = {
  /** What lies at each level behind the last token [B, H, 15, K, V]. */
  memory: Tensor;
  /** The last inputs of the convolution [B, H V + 2 G K, convSize - 1]. */
  convolution: Tensor;
  /** Tokens so far of each sequence. */
  positions: number[];
};

type Operands = Parameters<typeof logLinearAttention.step>;

/**
 * Mamba-2 with a state for each block of tokens before the present one (Guo et al. 2025, "Log-Linear Attention"): blocks of 1, 2,
 * 4, ... tokens, read with weights softplus(L dl) that the present token sets. Texts of up to 2^14 tokens.
 */
export class LogLinearMamba2Mixer extends Mamba2Layer<LogLinearState> {
  /** Multiplies the weights of the levels before their softplus [H, 15]; ones at first. */
  L: Tensor;

  constructor(shape: Mamba2Shape, options: TensorOptions = {}) {
    checkObject(new.target.name, 'shape', shape);
    super(shape, shape.numHeads * LEVELS, options);
    this.L = parameter(ones([shape.numHeads, LEVELS], options));
  }

  forward(x: Tensor, options: SequenceOptions<LogLinearState> = {}): SequenceResult<LogLinearState> {
    checkForward(this, x, options);
    const { state = null, outputState: outputFinalState = false, cuSeqlens = null } = options;
    const { parts, convolution } = this.sequenceParts(x, state?.convolution ?? null, options);
    const [q, k, v, given] = this.operands(parts);
    const [B, T] = x.shape;
    const lengths = cuSeqlens
      ? Array.from({ length: cuSeqlens.length - 1 }, (_, n) => cuSeqlens[n + 1] - cuSeqlens[n])
      : new Array<number>(B).fill(T);
    const before = state?.positions ?? lengths.map(() => 0);
    const { output, finalState } = logLinearAttention(q, k, v, {
      ...given,
      initialState: state?.memory ?? null,
      position: before,
      outputFinalState,
      cuSeqlens,
    });
    const result = this.finish(output, parts, x);
    if (!finalState) return { output: result };
    const positions = before.map((p, n) => p + lengths[n]);
    return { output: result, state: { memory: finalState.contiguous(), convolution: convolution!, positions } };
  }

  step(x: Tensor, state: LogLinearState): Tensor {
    checkStep(this, x, state);
    const parts = this.partsOf(x, (mixed) => this.conv1d.step(mixed, state.convolution));
    const [q, k, v, given] = this.operands(parts);
    const options = { ...given, state: { state: state.memory }, position: state.positions };
    const output = logLinearAttention.step(q, k, v, options);
    state.positions = state.positions.map((p) => p + 1);
    return this.finish(output, parts, x);
  }

  initialState(batch: number): LogLinearState {
    const { numHeads, headDim, stateSize } = this.shape;
    const where = { device: this.out_proj.device, dtype: stateDType(this.out_proj) };
    return {
      memory: zeros([batch, numHeads, LEVELS, stateSize, headDim], where),
      convolution: this.conv1d.initialState(batch),
      positions: new Array<number>(batch).fill(0),
    };
  }

  /** Of the rule, all in float32 beside bfloat16. */
  private operands({ values, b, c, dt, extra }: Mamba2Parts): [Tensor, Tensor, Tensor, Omit<Operands[3], 'state'>] {
    const { numHeads, timeStepLimit } = this.shape;
    const steps = toFloat32(dt)
      .add(toFloat32(this.dt_bias))
      .softplus()
      .clamp(...timeStepLimit);
    const levelScales = toFloat32(splitHeads(extra, numHeads)).mul(toFloat32(this.L)).softplus();
    const gate = steps.mul(toFloat32(this.A_log).exp().neg());
    return [toFloat32(c), toFloat32(b), toFloat32(values).mul(steps.unsqueeze(-1)), { gate, levelScales, scale: 1 }];
  }

  private finish(read: Tensor, { values, z }: Mamba2Parts, x: Tensor): Tensor {
    const { skip } = this;
    const output = read.add(toFloat32(values).mul(toFloat32(skip.ndim === 1 ? skip.unsqueeze(1) : skip)));
    return this.readout(output.to(x.dtype), z);
  }
}

class LogLinearBlock extends PreNormBlock {
  mixer_norm: RMSNorm;
  mixer: LogLinearMamba2Mixer;
  mlp_norm: RMSNorm;
  mlp: SwiGLU;

  constructor({ hiddenSize, normEps, mixer }: Mamba2FlaConfiguration, options: TensorOptions) {
    super();
    this.mixer_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.mixer = new LogLinearMamba2Mixer(mixer, options);
    this.mlp_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    // The published program takes no width.
    this.mlp = new SwiGLU(hiddenSize, defaultIntermediate(hiddenSize, 4), options);
  }

  protected get parts(): BlockParts {
    return { mixerNorm: this.mixer_norm, mixer: this.mixer, feedForwardNorm: this.mlp_norm, feedForward: this.mlp };
  }
}

/**
 * Language model of `LogLinearMamba2Mixer` layers, each with a feed-forward, under the weight names of flash-linear-attention's
 * LogLinearMamba2ForCausalLM, `model_type` 'log_linear_mamba2'; 48 layers of width 2048 with 64 heads of 64 values and 128 keys by
 * default.
 */
export class LogLinearMamba2ForCausalLM extends BackboneLM<Mamba2FlaConfiguration> {
  constructor(
    input: EitherSpelling<Mamba2FlaKeys<'log_linear_mamba2'>> | PublishedConfiguration,
    options: TensorOptions = {},
  ) {
    const family = logLinearMamba2Family as unknown as ModelDefinition;
    const reader = ConfigurationReader.of(input, family);
    reader.supported('attnres_block_size', null, [null]);
    const config = readMamba2Fla(reader, family);
    const decoder = new MambaDecoder(config, () => new LogLinearBlock(config, options), options);
    super(config, decoder, options);
    if (!config.rescaleResidual) return;
    for (const { mixer, mlp } of decoder.layers) {
      for (const projection of [mixer.out_proj, mlp.down_proj]) {
        initializeResidual(projection, 2 * config.numHiddenLayers);
      }
    }
  }
}

export const logLinearMamba2Family: ModelDefinition<Mamba2FlaKeys<'log_linear_mamba2'>, 'log-linear-mamba2'> = {
  modelType: 'log_linear_mamba2',
  name: 'log-linear-mamba2',
  architecture: 'LogLinearMamba2ForCausalLM',
  description: 'log-linear Mamba-2: a state for each block of tokens, of growing lengths (Guo et al. 2025)',
  keys: MAMBA2_FLA_KEYS,
  configuration: ({ numHeads, headDim }) => ({ numHeads, headDim: 2 * headDim, stateSize: headDim }),
  model: LogLinearMamba2ForCausalLM,
};
