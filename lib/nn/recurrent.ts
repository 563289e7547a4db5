// Recurrent layers: RNN and LSTM under PyTorch's names, e-LSTM under those of its authors. Sequences, packed ones, one token.
import { checkChoice, checkInteger, checkNumber, checkOptions, type OptionNames, type Tensor } from '../core';
import {
  cat,
  checkFloat,
  checkShapesByName,
  type CuSeqlens,
  rand,
  randn,
  TENSOR_OPTIONS,
  type TensorOptions,
  zeros,
} from '../ops';
import { elstm, lstm, rnn } from '../rules';
import { BIAS, type BiasOptions, Linear } from './layers';
import { Module, parameter } from './module';

/** What a layer carries from token to token, [layers, B, D] each. */
export type RecurrentState<N extends string> = { [K in N]: Tensor };

/** Options of `forward` of recurrent layers. */
export interface RecurrentOptions<N extends string> {
  /** Before the first token; zeros by default. */
  state?: RecurrentState<N> | null;
  /** Also return the state after the last token, false by default. */
  outputState?: boolean;
  /** Packed sequences: B = 1 and N + 1 offsets; states are then those of N sequences. */
  cuSeqlens?: CuSeqlens | null;
}

const OVER: OptionNames<RecurrentOptions<string>> = { state: true, outputState: 'flag', cuSeqlens: true };

/** What `forward` of recurrent layers returns. */
export interface RecurrentResult<N extends string> {
  /** [B, T, D] */
  output: Tensor;
  /** With `outputState`. */
  state?: RecurrentState<N>;
}

type Results = Record<string, Tensor>;
type Rule = ((inputs: never, options: never) => object) & { step(inputs: never, options: never): Tensor };

const capital = (name: string): string => name[0].toUpperCase() + name.slice(1);

/** Layers that run on a rule. */
export abstract class RecurrentLayer<N extends string> extends Module {
  /** Names of the states. */
  protected abstract readonly states: readonly N[];
  /** The rule that it runs on. */
  protected abstract readonly rule: Rule;
  /** Options of the rule. */
  protected abstract readonly settings: object;

  constructor(
    /** I: numbers per token. */
    readonly inputSize: number,
    /** D: numbers per token in the output and in each state. */
    readonly hiddenSize: number,
    /** How many layers lie one upon the other. */
    readonly numLayers: number,
  ) {
    super();
  }

  /** The weights under the names of the rule's inputs. */
  protected abstract weights(): Results;

  /** x [B, T, I]; the given state stays as it is, gradients flow through it. */
  forward(x: Tensor, options: RecurrentOptions<N> = {}): RecurrentResult<N> {
    checkOptions<object>(this.constructor.name, options, OVER);
    const { state = null, outputState = false, cuSeqlens } = options;
    if (state !== null) this.checkState('forward', x, state, cuSeqlens ?? null);
    const initial = this.states.map((name) => [`initial${capital(name)}`, state && this.toRule(state[name])] as const);
    const run = this.rule as unknown as (inputs: object, options: object) => Results;
    const inputs = { x, ...this.weights(), ...Object.fromEntries(initial) };
    const result = run(inputs, { ...this.settings, cuSeqlens, outputFinalState: outputState });
    if (!outputState) return { output: result.output };
    const finals = this.states.map((name) => [name, this.fromRule(result[`final${capital(name)}`])]);
    return { output: result.output, state: Object.fromEntries(finals) as RecurrentState<N> };
  }

  /** One token x [B, I]: [B, D]; the state changes in place. Only inside noGrad. */
  step(x: Tensor, state: RecurrentState<N>): Tensor {
    this.checkState('step', x, state, null);
    const own = Object.fromEntries(this.states.map((name) => [name, this.toRule(state[name])]));
    const run = this.rule.step as unknown as (inputs: object, options: object) => Tensor;
    return run({ x, ...this.weights() }, { ...this.settings, state: own });
  }

  /** The state of `batch` empty sequences: zeros. */
  initialState(batch: number): RecurrentState<N> {
    const [{ device, dtype }] = Object.values(this.weights());
    const where = { device, dtype: dtype === 'float64' ? dtype : ('float32' as const) };
    const empty = (): Tensor => zeros([this.numLayers, batch, this.hiddenSize], where);
    return Object.fromEntries(this.states.map((name) => [name, empty()])) as RecurrentState<N>;
  }

  /** Requires the states of this layer, and of no other kind. */
  private checkState(method: string, x: unknown, state: unknown, cuSeqlens: CuSeqlens | null): void {
    const where = `${this.constructor.name}.${method}`;
    checkFloat(where, 'x', x);
    const shape = [this.numLayers, cuSeqlens ? cuSeqlens.length - 1 : x.shape[0], this.hiddenSize];
    checkShapesByName(where, 'state', state, Object.fromEntries(this.states.map((name) => [name, shape])));
  }

  /** A state [layers, B, D] as the rule has it, and back. */
  protected toRule(state: Tensor): Tensor {
    return state;
  }

  protected fromRule(state: Tensor): Tensor {
    return state;
  }
}

/** Options of `RNN` and `LSTM`. */
export interface LayersOptions extends BiasOptions {
  /** 1 by default. */
  numLayers?: number;
}

/** Options of `RNN`. */
export interface RNNOptions extends LayersOptions {
  /** What the sum goes through: 'tanh' by default. */
  nonlinearity?: 'tanh' | 'relu';
}

const LAYERS: OptionNames<LayersOptions> = { ...BIAS, numLayers: true };
const RNN_OPTIONS: OptionNames<RNNOptions> = { ...LAYERS, nonlinearity: true };

/** Weights weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l1, ..., all uniform in +-1/sqrt(D). */
abstract class NumberedLayers<N extends string> extends RecurrentLayer<N> {
  [weight: `${'weight' | 'bias'}_${'ih' | 'hh'}_l${number}`]: Tensor;

  constructor(
    inputSize: number,
    hiddenSize: number,
    gates: number,
    { numLayers = 1, bias = true, ...where }: LayersOptions,
  ) {
    super(inputSize, hiddenSize, numLayers);
    const bound = hiddenSize ** -0.5;
    const draw = (...shape: number[]): Tensor => parameter(rand(shape, { ...where, low: -bound, high: bound }));
    for (let l = 0; l < numLayers; l++) {
      this[`weight_ih_l${l}`] = draw(gates * hiddenSize, l === 0 ? inputSize : hiddenSize);
      this[`weight_hh_l${l}`] = draw(gates * hiddenSize, hiddenSize);
      if (!bias) continue;
      this[`bias_ih_l${l}`] = draw(gates * hiddenSize);
      this[`bias_hh_l${l}`] = draw(gates * hiddenSize);
    }
  }

  protected weights(): Results {
    const named = Array.from({ length: this.numLayers }, (_, l) => [
      [`weightIh${l}`, this[`weight_ih_l${l}`]],
      [`weightHh${l}`, this[`weight_hh_l${l}`]],
      [`biasIh${l}`, this[`bias_ih_l${l}`]],
      [`biasHh${l}`, this[`bias_hh_l${l}`]],
    ]);
    return Object.fromEntries(named.flat().filter(([, t]) => t !== undefined)) as Results;
  }
}

function checkSizes(where: string, inputSize: number, hiddenSize: number, numLayers: number): void {
  checkInteger(where, 'inputSize', inputSize, 1);
  checkInteger(where, 'hiddenSize', hiddenSize, 1);
  checkInteger(where, 'numLayers', numLayers, 1);
}

/** Elman's network, `rnn`, with PyTorch's names: x [B, T, I] to [B, T, D] of the last layer; the state is `hidden`. */
export class RNN extends NumberedLayers<'hidden'> {
  protected readonly states = ['hidden'] as const;
  protected readonly rule = rnn;
  protected readonly settings: object;

  constructor(inputSize: number, hiddenSize: number, options: RNNOptions = {}) {
    checkOptions('RNN', options, RNN_OPTIONS);
    checkSizes('RNN', inputSize, hiddenSize, options.numLayers ?? 1);
    const { nonlinearity = 'tanh', ...rest } = options;
    checkChoice('RNN', 'nonlinearity', nonlinearity, ['tanh', 'relu']);
    super(inputSize, hiddenSize, 1, rest);
    this.settings = { activation: nonlinearity, layers: this.numLayers };
  }
}

/** `lstm` with PyTorch's names and order of gates: x [B, T, I] to [B, T, D]; the states are `hidden` and `cell`. */
export class LSTM extends NumberedLayers<'hidden' | 'cell'> {
  protected readonly states = ['hidden', 'cell'] as const;
  protected readonly rule = lstm;
  protected readonly settings = { layers: this.numLayers };

  constructor(inputSize: number, hiddenSize: number, options: LayersOptions = {}) {
    checkOptions('LSTM', options, LAYERS);
    checkSizes('LSTM', inputSize, hiddenSize, options.numLayers ?? 1);
    super(inputSize, hiddenSize, 4, options);
  }
}

/** Options of `ELSTM`. */
export interface ELSTMOptions extends TensorOptions {
  /** Added to the bias of f at first: 0 by default. */
  forgetBias?: number;
}

const ELSTM_OPTIONS: OptionNames<ELSTMOptions> = { ...TENSOR_OPTIONS, forgetBias: true };

/**
 * `elstm` with the names of its authors' `QuasiLSTMlayer` (IDSIA/rtrl-elstm): x [B, T, I] to [B, T, D]; the state is `cell`.
 * Weights of z and f are N(0, 0.1) at first.
 */
export class ELSTM extends RecurrentLayer<'cell'> {
  /** [D, I] */
  wm_z: Tensor;
  /** [D, I] */
  wm_f: Tensor;
  /** [1, D], of the cell before. */
  wv_z: Tensor;
  /** [1, D], of the cell before. */
  wv_f: Tensor;
  /** [1, D] */
  bias_z: Tensor;
  /** [1, D] */
  bias_f: Tensor;
  /** The output gate, of the input and the new cell. */
  out_gate_linear: Linear;
  protected readonly states = ['cell'] as const;
  protected readonly rule = elstm;
  protected readonly settings = {};

  constructor(inputSize: number, hiddenSize: number, options: ELSTMOptions = {}) {
    checkOptions('ELSTM', options, ELSTM_OPTIONS);
    checkSizes('ELSTM', inputSize, hiddenSize, 1);
    super(inputSize, hiddenSize, 1);
    const { forgetBias = 0, ...where } = options;
    checkNumber('ELSTM', 'forgetBias', forgetBias);
    const draw = (rows: number, columns: number, mean = 0): Tensor =>
      parameter(randn([rows, columns], { ...where, mean, std: 0.1 }));
    this.wm_z = draw(hiddenSize, inputSize);
    this.wm_f = draw(hiddenSize, inputSize);
    this.wv_z = draw(1, hiddenSize);
    this.wv_f = draw(1, hiddenSize);
    this.bias_z = draw(1, hiddenSize);
    this.bias_f = draw(1, hiddenSize, forgetBias);
    this.out_gate_linear = new Linear(inputSize + hiddenSize, hiddenSize, where);
  }

  protected weights(): Results {
    const { wm_z, wm_f, wv_z, wv_f, bias_z, bias_f } = this;
    const vector = (t: Tensor): Tensor => t.squeeze(0);
    return {
      weightZ: wm_z,
      weightF: wm_f,
      peepholeZ: vector(wv_z),
      peepholeF: vector(wv_f),
      biasZ: vector(bias_z),
      biasF: vector(bias_f),
    };
  }

  override forward(x: Tensor, options: RecurrentOptions<'cell'> = {}): RecurrentResult<'cell'> {
    const { output: cells, ...rest } = super.forward(x, options);
    return { output: this.gated(x, cells), ...rest };
  }

  override step(x: Tensor, state: RecurrentState<'cell'>): Tensor {
    return this.gated(x, super.step(x, state));
  }

  /** The output gate feeds nothing back: it comes after all cells. */
  private gated(x: Tensor, cells: Tensor): Tensor {
    return cells.mul(this.out_gate_linear.forward(cat([x, cells], -1)).sigmoid());
  }

  protected override toRule(state: Tensor): Tensor {
    return state.squeeze(0);
  }

  protected override fromRule(state: Tensor): Tensor {
    return state.unsqueeze(0);
  }
}
