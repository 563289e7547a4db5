// What the recurrent baselines share: embedding, layers whose states stand side by side, head.
import type { Tensor } from '../../core';
import { checkpoint, gradEnabled } from '../../autograd';
import { Embedding, parameter, RecurrentLayer } from '../../nn';
import { cat, rand, type TensorOptions, zeros } from '../../ops';
import type { lstm, rnn } from '../../rules';
import { Backbone } from '../common/block';
import type { Configuration } from '../common/configuration';
import { checkToken, checkTokens, type SequenceOptions, type SequenceResult, stateDType } from '../common/mixer';

/** A layer under the names of PyTorch's cells, all weights uniform in +-1/sqrt(D). */
export class CellLayer<N extends string> extends RecurrentLayer<N> {
  /** [G D, D], G vectors of pre-activations. */
  weight_ih: Tensor;
  /** [G D, D] */
  weight_hh: Tensor;
  /** [G D] */
  bias_ih: Tensor;
  /** [G D] */
  bias_hh: Tensor;

  constructor(
    dim: number,
    gates: number,
    protected readonly states: readonly N[],
    protected readonly rule: typeof rnn | typeof lstm,
    protected readonly settings: object,
    options: TensorOptions,
  ) {
    super(dim, dim, 1);
    const bound = dim ** -0.5;
    const draw = (shape: number[]): Tensor => parameter(rand(shape, { ...options, low: -bound, high: bound }));
    this.weight_ih = draw([gates * dim, dim]);
    this.weight_hh = draw([gates * dim, dim]);
    this.bias_ih = draw([gates * dim]);
    this.bias_hh = draw([gates * dim]);
  }

  protected weights(): Record<string, Tensor> {
    return { weightIh0: this.weight_ih, weightHh0: this.weight_hh, biasIh0: this.bias_ih, biasHh0: this.bias_hh };
  }
}

/** States of all layers, [layers, B, D] each. */
type Memory<N extends string> = { [K in N]: Tensor };

/** Embedding and layers one upon the other; N are the names of their states. */
export class RecurrentBackbone<N extends string> extends Backbone {
  embeddings: Embedding;
  layers: RecurrentLayer<N>[];

  constructor(
    readonly config: Configuration,
    private readonly states: readonly N[],
    layer: (dim: number) => RecurrentLayer<N>,
    options: TensorOptions,
  ) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, () => layer(hiddenSize));
  }

  get tokens(): Embedding {
    return this.embeddings;
  }

  forward(ids: Tensor, options: SequenceOptions = {}): SequenceResult {
    checkTokens(this, ids, options);
    const { cuSeqlens = null, outputState } = options;
    const batch = cuSeqlens ? cuSeqlens.length - 1 : ids.shape[0];
    const initial = (options.state ?? this.initialState(batch)) as Memory<N>;
    const run = (x: Tensor, ...before: Tensor[]): Tensor[] => {
      let output = x;
      const after = this.layers.map((layer, l) => {
        const own = this.states.map((name, i) => [name, before[i].slice(0, l, l + 1)] as const);
        const state = Object.fromEntries(own) as Memory<N>;
        const result = layer.forward(output, { state, outputState: true, cuSeqlens });
        output = result.output;
        return result.state!;
      });
      return [output, ...this.states.map((name) => cat(after.map((state) => state[name])))];
    };
    const inputs = [this.embeddings.forward(ids), ...this.states.map((name) => initial[name])] as const;
    const [output, ...after] =
      this.gradientCheckpointing && gradEnabled() ? checkpoint(run, ...inputs) : run(...inputs);
    if (!outputState) return { output };
    return { output, state: Object.fromEntries(this.states.map((name, i) => [name, after[i]])) };
  }

  step(ids: Tensor, state: Memory<N>): Tensor {
    checkToken(this, ids, state);
    let output = this.embeddings.forward(ids);
    this.layers.forEach((layer, l) => {
      const own = this.states.map((name) => [name, state[name].slice(0, l, l + 1)] as const);
      output = layer.step(output, Object.fromEntries(own) as Memory<N>);
    });
    return output;
  }

  initialState(batch: number): Memory<N> {
    const { weight } = this.embeddings;
    const { hiddenSize, numHiddenLayers } = this.config;
    const where = { device: weight.device, dtype: stateDType(weight) };
    const empty = (): Tensor => zeros([numHiddenLayers, batch, hiddenSize], where);
    return Object.fromEntries(this.states.map((name) => [name, empty()])) as Memory<N>;
  }
}

/** 2 layers of width 256 by default. */
export const RECURRENT_SIZES = { vocabSize: 32000, hiddenSize: 256, numHiddenLayers: 2 };
