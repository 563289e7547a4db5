// The common part of mixers around a rule: from x to the operands of the rule, the rule, and its read-out, written once for
// whole sequences and for single tokens.
import { type DType, type Device, FastWeightsError, type Tensor } from '../../core';
import type { ShortConvolution } from '../../nn';
import { type CuSeqlens, needsFloat32, rope, toFloat32 } from '../../ops';
import { checkSequence, Recurrent, type SequenceOptions, type SequenceResult, stateDType } from './mixer';

/** What a rule keeps, by name; null where there is none of the name. */
export type Memories = { [name: string]: Tensor | null };

/** Beside its memories a mixer remembers the recent past. */
export type WithRecent<M extends Memories> = M & {
  /** The last W - 1 inputs of each convolution [B, D, W - 1]. */
  convolutions: { [name: string]: Tensor };
  /** Tokens so far. */
  position: number;
};

/** How the inputs of a rule look back in time: over a sequence, or at the state of a step. */
export interface Past {
  /** x [..., D] through a causal convolution. */
  convolve(name: string, convolution: ShortConvolution, x: Tensor): Tensor;
  /** x [..., H, K] turned by its position. */
  rotate(x: Tensor): Tensor;
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
  protected abstract get reference(): Tensor;

  /** Convolutions by the name of their state. */
  protected get convolutions(): Record<string, ShortConvolution | null> {
    return {};
  }

  /** x [..., hidden] to the rule's operands. */
  protected abstract inputs(x: Tensor, past: Past): I;

  /** The rule's output [..., HV, V] to [..., hidden]. */
  protected abstract readout(output: Tensor, x: Tensor): Tensor;

  /** The rule over sequences from given memories, empty where they are null; their new state when asked for. */
  protected abstract run(inputs: I, memories: M | null, options: RunOptions): { output: Tensor; memories?: M };

  /** The rule on one token; the memories change in place. */
  protected abstract runToken(inputs: I, memories: M): Tensor;

  /** The memories of `batch` empty texts. */
  protected abstract blank(batch: number, where: { device: Device; dtype: DType }): M;

  forward(x: Tensor, options: SequenceOptions<WithRecent<M>> = {}): SequenceResult<WithRecent<M>> {
    checkSequence('forward', options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const convolutions: Record<string, Tensor> = {};
    const position = state?.position ?? 0;
    const inputs = this.inputs(x, {
      convolve: (name, convolution, input) => {
        const initialState = state?.convolutions[name] ?? null;
        const result = convolution.forward(input, { initialState, outputFinalState: outputState, cuSeqlens });
        if (result.finalState) convolutions[name] = result.finalState.to(stateDType(this.reference));
        return result.output;
      },
      rotate: (input) => {
        if (cuSeqlens && (state || outputState)) {
          const message = 'rotary positions: packed sequences have no common position to go on from';
          throw new FastWeightsError('UNSUPPORTED', message, { argument: 'cuSeqlens' });
        }
        return rope(input, { offset: position, cuSeqlens });
      },
    });
    const { output, memories } = this.run(inputs, state, { outputFinalState: outputState, cuSeqlens });
    const result = this.readout(output.to(x.dtype), x);
    if (!memories) return { output: result };
    return { output: result, state: { ...memories, convolutions, position: position + x.shape[1] } };
  }

  step(x: Tensor, state: WithRecent<M>): Tensor {
    const inputs = this.inputs(x, {
      convolve: (name, convolution, input) => convolution.step(input, state.convolutions[name]),
      rotate: (input) => rope(input.unsqueeze(1), { offset: state.position }).squeeze(1),
    });
    const output = this.runToken(inputs, state);
    state.position++;
    return this.readout(output.to(x.dtype), x);
  }

  initialState(batch: number): WithRecent<M> {
    const { device } = this.reference;
    const convolutions: Record<string, Tensor> = {};
    for (const [name, convolution] of Object.entries(this.convolutions)) {
      if (convolution) convolutions[name] = convolution.initialState(batch);
    }
    const memories = this.blank(batch, { device, dtype: stateDType(this.reference) });
    return { ...memories, convolutions, position: 0 };
  }
}
