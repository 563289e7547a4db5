// A residual sublayer around a memory that a sequential rule keeps, as the published programs of this line lay it out.
import { argumentError, checkChoice, checkInteger, checkObject, type Tensor } from '../../core';
import { Dropout, hasForwardHooks, LayerNorm, Linear, Module } from '../../nn';
import { type CuSeqlens, type TensorOptions, zeros } from '../../ops';
import {
  type Placed,
  checkForward,
  checkStep,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stateDType,
} from '../common/mixer';

/** The states of a rule, by its names. */
export type MemoryState = { [name: string]: Tensor };

/** What the result of the memory is added to, and where the LayerNorm stands. */
export type Arrangement =
  /** x + f(LN(x)): the algorithmic and formal-language code. */
  | 'pre'
  /** LN(x + f(x)): the language-modelling code. */
  | 'post'
  /** LN(x) + f(LN(x)): its `pre_lnorm`, where the residual is the normed input. */
  | 'preNormed'
  /** LN(x) + f(x): the supervised code of the self-referential matrix. */
  | 'residualNormed'
  /** x + f(x) without a norm: its reinforcement-learning code. */
  | 'none';

const ARRANGEMENTS: readonly Arrangement[] = ['pre', 'post', 'preNormed', 'residualNormed', 'none'];

/** Sizes and arrangement of a sublayer. */
export interface SublayerOptions extends TensorOptions {
  /** Probability of dropout on the result, while training; 0 by default. */
  dropout?: number;
  /** Added to the variance in the LayerNorm; 1e-5 by default. */
  normEps?: number;
}

/** What a memory gets for a sequence: its states under the names of the rule's, where the text goes on. */
export interface MemoryOptions {
  state: MemoryState | null;
  outputState: boolean;
  cuSeqlens: CuSeqlens | null;
}

/** Base of the sublayers; a subclass says what the memory reads from x and which rule keeps it. */
export abstract class Sublayer extends Recurrent<MemoryState> {
  /** Its place is the arrangement's; null where that has none. */
  layer_norm: LayerNorm | null;
  /** Behind the output projection, while training. */
  drop: Dropout;

  constructor(
    /** Width of x. */
    readonly hiddenSize: number,
    /** Each has a memory of its own. */
    readonly numHeads: number,
    /** Where the norm and the residual stand. */
    readonly arrangement: Arrangement,
    options: SublayerOptions,
  ) {
    super();
    const name = this.constructor.name;
    checkInteger(name, 'hiddenSize', hiddenSize, 1);
    checkInteger(name, 'numHeads', numHeads, 1);
    if (hiddenSize % numHeads !== 0) {
      const expected = `a divisor of hiddenSize ${hiddenSize}`;
      throw argumentError('INVALID_ARGUMENT', name, 'numHeads', expected, String(numHeads));
    }
    checkChoice(name, 'arrangement', arrangement, ARRANGEMENTS);
    const { dropout = 0, normEps = 1e-5, ...where } = options;
    this.layer_norm = arrangement === 'none' ? null : new LayerNorm(hiddenSize, { eps: normEps, ...where });
    this.drop = new Dropout(dropout);
  }

  /** hiddenSize / numHeads */
  get headDim(): number {
    return this.hiddenSize / this.numHeads;
  }

  /** Shapes of the states of one sequence, by name. */
  protected abstract get stateShapes(): Record<string, readonly number[]>;

  /** The weight whose dtype and device the states follow. */
  protected abstract get reference(): Placed;

  /** x [B, T, hidden] through the memory and its read-out. */
  protected abstract memory(x: Tensor, options: MemoryOptions): SequenceResult<MemoryState>;

  /** One token x [B, hidden]; the state changes in place. By `memory`, where a subclass has no shorter way. */
  protected memoryStep(x: Tensor, state: MemoryState): Tensor {
    const { output, state: after } = this.memory(x.unsqueeze(1), { state, outputState: true, cuSeqlens: null });
    for (const [name, t] of Object.entries(state)) t.copy_(after![name]);
    return output.squeeze(1);
  }

  forward(x: Tensor, options: SequenceOptions<MemoryState> = {}): SequenceResult<MemoryState> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    let after: MemoryState | undefined;
    const output = this.arranged(x, (input) => {
      const result = this.memory(input, { state, outputState, cuSeqlens });
      after = result.state;
      return result.output;
    });
    return outputState ? { output, state: after } : { output };
  }

  step(x: Tensor, state: MemoryState): Tensor {
    checkStep(this, x, state);
    return this.arranged(x, (input) => this.memoryStep(input, state));
  }

  initialState(batch: number): MemoryState {
    const where = { device: this.reference.device, dtype: stateDType(this.reference) };
    const shapes = Object.entries(this.stateShapes);
    return Object.fromEntries(shapes.map(([name, shape]) => [name, zeros([batch, ...shape], where)]));
  }

  private arranged(x: Tensor, f: (x: Tensor) => Tensor): Tensor {
    const { arrangement, drop } = this;
    const norm = (t: Tensor): Tensor => this.layer_norm!.forward(t);
    const result = (t: Tensor): Tensor => drop.forward(f(t));
    switch (arrangement) {
      case 'pre':
        return x.add(result(norm(x)));
      case 'post':
        return norm(x.add(result(x)));
      case 'preNormed': {
        const normed = norm(x);
        return normed.add(result(normed));
      }
      case 'residualNormed':
        return norm(x).add(result(x));
      case 'none':
        return x.add(result(x));
    }
  }
}

/** The final states of a rule's result, under the names that its step has for them. */
export function statesAfter(result: Readonly<Record<string, Tensor>>): MemoryState {
  const finals = Object.entries(result).filter(([name]) => name.startsWith('final'));
  return Object.fromEntries(finals.map(([name, t]) => [name[5].toLowerCase() + name.slice(6), t.contiguous()]));
}

/** States under the names that a rule has for those before the first token. */
export function statesBefore(state: MemoryState | null, prefix = 'initial'): Record<string, Tensor> {
  const entries = Object.entries(state ?? {});
  if (prefix === '') return Object.fromEntries(entries);
  return Object.fromEntries(entries.map(([name, t]) => [`${prefix}${name[0].toUpperCase()}${name.slice(1)}`, t]));
}

/** x + W2 drop(relu(W1 LN(x))), the pre-norm feed-forward sublayer of the algorithmic code. */
export class FeedForwardSublayer extends Module {
  /** In front of both. */
  layer_norm: LayerNorm;
  /** The parts by their places in the published list: 0 and 3 are Linear. */
  ff_layers: { '0': Linear; '3': Linear };
  /** Behind the activation and behind the second, while training. */
  drop: Dropout;

  constructor(hiddenSize: number, width: number, options: SublayerOptions = {}) {
    super();
    checkObject('FeedForwardSublayer', 'options', options);
    const { dropout = 0, normEps = 1e-5, ...where } = options;
    this.layer_norm = new LayerNorm(hiddenSize, { eps: normEps, ...where });
    this.ff_layers = { '0': new Linear(hiddenSize, width, where), '3': new Linear(width, hiddenSize, where) };
    this.drop = new Dropout(dropout);
  }

  /** x [..., hidden] */
  forward(x: Tensor): Tensor {
    const { drop, ff_layers: parts } = this;
    const hidden = parts['0'].forward(this.layer_norm.forward(x)).relu();
    if (drop.p === 0 && !hasForwardHooks(drop)) return parts['3'].forward(hidden, { residual: x });
    return x.add(drop.forward(parts['3'].forward(drop.forward(hidden))));
  }
}
