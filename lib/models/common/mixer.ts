// What mixes tokens in a block: a sequence form for training and prompts, and a step form with a state.
import {
  argumentError,
  checkInteger,
  checkOptions,
  type Device,
  type DType,
  formatShape,
  type OptionNames,
  scope,
  type Tensor,
} from '../../core';
import { checkpoint, gradEnabled, noGrad } from '../../autograd';
import {
  checkStateLike,
  isKnown,
  isRows,
  type Pace,
  raggedState,
  remember,
  type Rows,
  type State,
  tensorsOf,
  withTensors,
} from '../../inference';
import { Module, ofRow } from '../../nn';
import { cat, checkCuSeqlens, checkFloat, checkTensor, type CuSeqlens } from '../../ops';

/**
 * What layers hand on to those above them beside x: tensors [B, T, ...], in a step [B, ...], by name. It lives for one pass
 * through the layers, each of which finds what those below have put in, and puts in its own.
 */
export type Beside = { [name: string]: Tensor };

/** What `forward` of a part with a state takes: where the text goes on from, and how sequences lie in the batch. */
export interface SequenceOptions<S extends State = State> {
  /** The state before the first token; that of an empty text by default. */
  state?: S | null;
  /** Also return the state after the last token. */
  outputState?: boolean;
  /** Packed sequences: B = 1 and N + 1 offsets; states are then those of N sequences. */
  cuSeqlens?: CuSeqlens | null;
  /** What the layers below have handed on, to which this one adds; nothing by default. */
  beside?: Beside;
}

const SEQUENCE: OptionNames<SequenceOptions> = { state: true, outputState: 'flag', cuSeqlens: true, beside: true };

/** Requires options of a sequence, and nothing else. */
export function checkSequence(where: string, options: SequenceOptions): void {
  checkOptions(where, options, SEQUENCE);
}

/** What `forward` of a part with a state returns. */
export interface SequenceResult<S extends State = State> {
  /** [B, T, hidden], for each token from what came before it and itself. */
  output: Tensor;
  /** After the last token, with `outputState` only; a new one, which the gradients reach. */
  state?: S;
}

/** A part of a model that carries a state through time. */
export abstract class Recurrent<S extends State = State> extends Module {
  /** x [B, T, hidden]; the given state stays as it is, gradients flow through it. */
  abstract forward(x: Tensor, options?: SequenceOptions<S>): SequenceResult<S>;

  /** One token x [B, hidden]; the state changes in place. Only inside noGrad. `beside` is that of `forward`. */
  abstract step(x: Tensor, state: S, beside?: Beside): Tensor;

  /** The state of `batch` empty texts. */
  abstract initialState(batch: number): S;

  /** Up to so many tokens a text may be read in pieces; what a longer one gives depends on where it is cut. Any by default. */
  get divisibleLength(): number {
    return Infinity;
  }

  /**
   * The state of `batch` empty texts that may come to differ in length: that of `initialState` where a dimension of each
   * tensor, or a list with a number for each, tells the texts apart; else one state for each text, in `rows`. `stepOf`
   * steps either.
   */
  raggedState(batch: number): State {
    const state = this.ragged(batch);
    // The state of a part may be that of its only part, which knows it.
    if (!isKnown(state)) remember(state, this, batch);
    return state;
  }

  /** `raggedState`, for parts whose own parts can do better. */
  protected ragged(batch: number): State {
    return raggedState((count) => this.initialState(count), batch);
  }

  /** How the numbers of a state go on while `step` reads a token at a time; null where the calls it makes do not grow evenly with them. */
  pace(_state: S): Pace | null {
    return null;
  }

  /** `step` of texts with a state each: one after the other, unless a part can do better. */
  stepRows(x: Tensor, rows: S[], beside: Beside = {}): Tensor {
    const besides = rows.map((_, i) => row(beside, i));
    const outputs = rows.map((state, i) => ofRow(i, () => this.step(x.slice(0, i, i + 1), state, besides[i])));
    for (const name of Object.keys(besides[0] ?? {})) beside[name] = cat(besides.map((each) => each[name]));
    return cat(outputs);
  }
}

function row(beside: Beside, i: number): Beside {
  return Object.fromEntries(Object.entries(beside).map(([name, t]) => [name, t.slice(0, i, i + 1)]));
}

/** `step` of a part, whether its state is one of all texts or has one for each. */
export function stepOf(part: Recurrent, x: Tensor, state: State, beside?: Beside): Tensor {
  return isRows(state) ? part.stepRows(x, (state as Rows).rows, beside) : part.step(x, state, beside);
}

/** Requires of a layer's `forward` x [B, T, hidden], known options, and a state of the layer's own form where one is given. */
export function checkForward<S extends State>(layer: Recurrent<S>, x: unknown, options: SequenceOptions<S>): void {
  const where = `${layer.constructor.name}.forward`;
  checkSequence(where, options);
  checkFloat(where, 'x', x);
  if (x.ndim !== 3) throw argumentError('SHAPE', where, 'x', '[B, T, hidden]', formatShape(x.shape));
  const { state = null, cuSeqlens = null } = options;
  const [B, T] = x.shape;
  if (cuSeqlens !== null) checkCuSeqlens(where, cuSeqlens, B, T);
  if (state === null) return;
  const sequences = cuSeqlens === null ? B : cuSeqlens.length - 1;
  noGrad(() => scope(() => checkStateLike(where, 'state', state, layer.initialState(sequences))));
}

/** Requires a state of `batch` texts, of the form that its owner's `initialState` has. */
export function checkState(where: string, owner: Pick<Recurrent, 'initialState'>, state: unknown, batch: number): void {
  if (isKnown(state, owner, batch)) return;
  noGrad(() => scope(() => checkStateLike(where, 'state', state, owner.initialState(batch))));
  remember(state as State, owner, batch);
}

/** Requires of a layer's `step` x [B, hidden] and a state of the layer's own form. */
export function checkStep(layer: Recurrent, x: unknown, state: unknown): void {
  const where = `${layer.constructor.name}.step`;
  checkFloat(where, 'x', x);
  if (x.ndim !== 2) throw argumentError('SHAPE', where, 'x', '[B, hidden]', formatShape(x.shape));
  checkState(where, layer, state, x.shape[0]);
}

/** Requires of a model without its head ids, known options, and a state of its own form where one is given. */
export function checkTokens(model: Recurrent, ids: unknown, options: SequenceOptions): void {
  checkSequence('forward', options);
  checkTensor('forward', 'ids', ids);
  const { state = null, cuSeqlens = null } = options;
  const sequences = cuSeqlens === null ? ids.shape[0] : cuSeqlens.length - 1;
  if (state !== null) checkState('forward', model, state, sequences);
}

/** The same of its `step`. */
export function checkToken(model: Recurrent, ids: unknown, state: unknown): void {
  checkTensor('step', 'ids', ids);
  checkState('step', model, state, ids.shape[0]);
}

/** Runs a part of a layer: what it made on the way is freed, but for what it handed on. */
export function partOf<S extends State>(
  run: () => SequenceResult<S>,
  { beside = {} }: SequenceOptions<S>,
): SequenceResult<S> {
  return scope(() => ({ ...run(), beside }));
}

/**
 * `forward` of a part of a model, whose activations are not kept where `checkpointing` says so and gradients are recorded: its
 * backward pass computes them again (Chen et al. 2016).
 */
export function forwardOf<S extends State>(
  part: Recurrent<S>,
  x: Tensor,
  options: SequenceOptions<S>,
  checkpointing: boolean,
): SequenceResult<S> {
  if (!checkpointing || !gradEnabled()) return part.forward(x, options);
  const { state = null, beside = {} } = options;
  let form: [S | null, Beside];
  const [output, ...after] = checkpoint(
    (input, ...tensors) => {
      const [before, handed] = withTensors<[S | null, Beside]>([state, beside], tensors);
      const result = part.forward(input, { ...options, state: before, beside: handed });
      form = [result.state ?? null, handed];
      return [result.output, ...tensorsOf(form)];
    },
    x,
    ...tensorsOf([state, beside]),
  );
  const [last, handed] = withTensors(form!, after);
  Object.assign(beside, handed);
  return { output, state: last ?? undefined };
}

/** `step` of a part without a form for one token, whose state is of tensors alone. */
export function stepByForward<S extends State>(part: Recurrent<S>, x: Tensor, state: S): Tensor {
  checkStep(part, x, state);
  const { output, state: after } = part.forward(x.unsqueeze(1), { state, outputState: true });
  const next = tensorsOf(after!);
  tensorsOf(state).forEach((t, i) => t.copy_(next[i]));
  return output.squeeze(1);
}

/** What tells where a layer computes and in which dtype: a projection, or a tensor. */
export interface Placed {
  readonly device: Device;
  readonly dtype: DType;
}

/** States are float32, beside float64 weights float64. */
export function stateDType(weight: Pick<Placed, 'dtype'>): DType {
  return weight.dtype === 'float64' ? 'float64' : 'float32';
}

/** Requires a number of heads that divides a whole. */
export function checkHeads(where: string, name: string, heads: number, whole: number): void {
  checkInteger(where, name, heads, 1);
  if (whole % heads !== 0) throw argumentError('INVALID_ARGUMENT', where, name, `a divisor of ${whole}`, String(heads));
}

/** [..., heads * D] -> [..., heads, D] */
export function splitHeads(x: Tensor, heads: number): Tensor {
  checkTensor('splitHeads', 'x', x);
  return x.reshape([...x.shape.slice(0, -1), heads, x.shape[x.ndim - 1] / heads]);
}

/** [..., heads, D] -> [..., heads * D] */
export function mergeHeads(x: Tensor): Tensor {
  checkTensor('mergeHeads', 'x', x);
  return x.reshape([...x.shape.slice(0, -2), x.shape[x.ndim - 2] * x.shape[x.ndim - 1]]);
}
