// The common part of mixers around a rule: from x to the operands of the rule, the rule, and its read-out, written once for
// whole sequences and for single tokens.
import { type DType, type Device, FastWeightsError, type Tensor } from '../../core';
import { countToken, joins, noteUse, type Pace, remember, type State } from '../../inference';
import type { ShortConvolution } from '../../nn';
import {
  type CuSeqlens,
  needsFloat32,
  rope,
  type RopeOptions,
  toFloat32,
  tokenShift,
  tokenShiftStep,
  zeros,
} from '../../ops';
import {
  type Placed,
  type Beside,
  checkForward,
  checkStep,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stateDType,
} from './mixer';

/** What a rule keeps, by name; null where there is none of the name. */
export type Memories = { [name: string]: Tensor | null };

/** Beside its memories a mixer remembers the recent past. */
export type WithRecent<M extends Memories> = M & {
  /** The last W - 1 inputs of each convolution [B, D, W - 1], and the last one of each shift [B, D]. */
  convolutions: { [name: string]: Tensor };
  /** Tokens so far; of texts that differ in length, a number for each. */
  position: number | number[];
};

function after(position: number | number[], tokens: number): number | number[] {
  return typeof position === 'number' ? position + tokens : position.map((each) => each + tokens);
}

/** How the inputs of a rule look back in time: over a sequence, or at the state of a step. */
export interface Past {
  /** x [..., D] through a causal convolution; x itself where there is none. */
  convolve(name: string, convolution: ShortConvolution | null, x: Tensor): Tensor;
  /** The token before x [..., D], less x. */
  shift(name: string, x: Tensor): Tensor;
  /** x [..., H, K] turned by its position; angles and pairs are those of `rope` unless told otherwise. */
  rotate(x: Tensor, rotation?: Pick<RopeOptions, 'base' | 'frequencies' | 'interleaved'>): Tensor;
  /** What the layers below have handed on, to which this one adds. */
  readonly beside: Beside;
}

/** What a rule over sequences is asked for, beside its operands. */
export interface RunOptions {
  outputFinalState: boolean;
  cuSeqlens: CuSeqlens | null;
}

/** Where the device does not compute in bfloat16, the norms of a rule need not round either. */
export function computable(t: Tensor): Tensor {
  return needsFloat32(t) ? toFloat32(t) : t;
}

/** Base of mixers around a rule with operands I and memories M. */
export abstract class RuleMixer<I, M extends Memories> extends Recurrent<WithRecent<M>> {
  /** The weight whose dtype and device the states follow. */
  protected abstract get reference(): Placed;

  /** Convolutions by the name of their state. */
  protected get convolutions(): Record<string, ShortConvolution | null> {
    return {};
  }

  /** Widths of what is shifted, by the name of its state. */
  protected get shifts(): Record<string, number> {
    return {};
  }

  /** x [..., hidden] to the rule's operands. */
  protected abstract inputs(x: Tensor, past: Past): I;

  /** The rule's output [..., HV, V] to [..., hidden]; `inputs` are what the rule was given. */
  protected abstract readout(output: Tensor, x: Tensor, inputs: I): Tensor;

  /** The rule over sequences from given memories, empty where they are null; their new state when asked for. */
  protected abstract run(inputs: I, memories: M | null, options: RunOptions): { output: Tensor; memories?: M };

  /** The rule on one token; the memories change in place. */
  protected abstract runToken(inputs: I, memories: M): Tensor;

  /** The memories of `batch` empty texts. */
  protected abstract blank(batch: number, where: { device: Device; dtype: DType }): M;

  forward(x: Tensor, options: SequenceOptions<WithRecent<M>> = {}): SequenceResult<WithRecent<M>> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null, beside = {} } = options;
    const convolutions: Record<string, Tensor> = {};
    const position = state?.position ?? 0;
    let turned = false;
    const looking = (
      name: string,
    ): { initialState: Tensor | null; outputFinalState: boolean; cuSeqlens: typeof cuSeqlens } => ({
      initialState: state?.convolutions[name] ?? null,
      outputFinalState: outputState,
      cuSeqlens,
    });
    const keep = (name: string, { output, finalState }: { output: Tensor; finalState?: Tensor }): Tensor => {
      if (finalState) convolutions[name] = finalState.to(stateDType(this.reference));
      return output;
    };
    const inputs = this.inputs(x, {
      convolve: (name, convolution, input) =>
        convolution ? keep(name, convolution.forward(input, looking(name))) : input,
      shift: (name, input) => keep(name, tokenShift(input, looking(name))),
      beside,
      rotate: (input, rotation) => {
        turned = true;
        if (cuSeqlens && (state || outputState)) {
          const message = 'rotary positions: packed sequences have no common position to go on from';
          throw new FastWeightsError('UNSUPPORTED', message, { argument: 'cuSeqlens' });
        }
        return rope(input, { offset: position, cuSeqlens, ...rotation });
      },
    });
    const { output, memories } = this.run(inputs, state, { outputFinalState: outputState, cuSeqlens });
    const result = this.readout(output.to(x.dtype), x, inputs);
    if (!memories) return { output: result };
    const next = { ...memories, convolutions, position: after(position, x.shape[1]) };
    noteUse(this, turned);
    remember(next, this, cuSeqlens ? cuSeqlens.length - 1 : x.shape[0]);
    return { output: result, state: next };
  }

  step(x: Tensor, state: WithRecent<M>, beside: Beside = {}): Tensor {
    checkStep(this, x, state);
    let turned = false;
    const inputs = this.inputs(x, {
      convolve: (name, convolution, input) => convolution?.step(input, state.convolutions[name]) ?? input,
      shift: (name, input) => tokenShiftStep(input, { state: state.convolutions[name] }),
      beside,
      rotate: (input, rotation) => {
        turned = true;
        return rope(input.unsqueeze(1), { offset: state.position, ...rotation }).squeeze(1);
      },
    });
    const output = this.runToken(inputs, state);
    countToken(this, state, turned);
    return this.readout(output.to(x.dtype), x, inputs);
  }

  initialState(batch: number): WithRecent<M> {
    const where = { device: this.reference.device, dtype: stateDType(this.reference) };
    const convolutions: Record<string, Tensor> = {};
    for (const [name, convolution] of Object.entries(this.convolutions)) {
      if (convolution) convolutions[name] = convolution.initialState(batch);
    }
    for (const [name, width] of Object.entries(this.shifts)) convolutions[name] = zeros([batch, width], where);
    return { ...this.blank(batch, where), convolutions, position: 0 };
  }

  override pace(): Pace {
    return { each: { position: 1 }, tokens: Infinity };
  }

  protected override ragged(batch: number): State {
    const memories = (count: number): State => ({ ...this.initialState(count), position: null });
    if (!joins(memories)) return super.ragged(batch);
    return { ...this.initialState(batch), position: new Array<number>(batch).fill(0) };
  }
}
