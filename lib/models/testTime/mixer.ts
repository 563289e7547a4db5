// The common part of the layers whose memory learns at test time: from x to the operands of a rule that walks chunks, the rule,
// its read-out, and the state, which says how far into a chunk a text has come.
import { FastWeightsError, type Tensor } from '../../core';
import type { ShortConvolution } from '../../nn';
import { type CuSeqlens, rope, zeros } from '../../ops';
import type { Past } from '../common/fastWeightMixer';
import {
  type Placed,
  type Beside,
  checkForward,
  checkStep,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stateDType,
} from '../common/mixer';

/** What such a layer remembers. */
export type TestTimeState = {
  /** The states of the rule by its names, [B, H, ...]. */
  memory: { [name: string]: Tensor };
  /** The last W - 1 inputs of each convolution [B, D, W - 1]. */
  convolutions: { [name: string]: Tensor };
  /** Tokens of the chunk that the text stopped in. */
  inChunk: number;
};

type Tensors = { [name: string]: Tensor };

/** What a rule takes beside q, k and v. */
interface RuleOptions {
  position: number;
  outputFinalState?: boolean;
  cuSeqlens?: CuSeqlens | null;
}

/** A rule that walks chunks, as far as a mixer uses it. */
export interface ChunkedRule {
  (q: Tensor, k: Tensor, v: Tensor, options: RuleOptions): { output: Tensor };
  step(q: Tensor, k: Tensor, v: Tensor, options: { position: number; state: Tensors }): Tensor;
}

/** How such a layer looks back in time. */
export type ChunkedPast = Pick<Past, 'convolve' | 'rotate' | 'beside'>;

/** Operands of the rule: q, k, v [..., H, *] and its further inputs. */
export type Operands = { q: Tensor; k: Tensor; v: Tensor } & Tensors;

/** Base of the layers; a subclass says what x becomes, which rule learns, and what is read out. */
export abstract class TestTimeMixer extends Recurrent<TestTimeState> {
  protected abstract readonly rule: ChunkedRule;
  /** Its options. */
  protected abstract readonly settings: object;
  /** Tokens of a chunk. */
  protected abstract readonly chunk: number;
  /** Base of the rotary positions. */
  protected readonly ropeTheta: number = 10000;

  /** The rule's states before the first token, by name: what `initial` follows in its options, and a value [H, ...]. */
  protected abstract starts(): { [name: string]: [ending: string, value: Tensor] };

  /** Convolutions by the name of their state. */
  protected get convolutions(): Record<string, ShortConvolution | null> {
    return {};
  }

  /** The weight whose dtype and device the states follow. */
  protected abstract get reference(): Placed;

  /** x [..., hidden] to the rule's operands. */
  protected abstract inputs(x: Tensor, past: ChunkedPast): Operands;

  /** The rule's output [..., H, V] to [..., hidden]; `operands` are what the rule was given. */
  protected abstract readout(output: Tensor, x: Tensor, operands: Operands): Tensor;

  forward(x: Tensor, options: SequenceOptions<TestTimeState> = {}): SequenceResult<TestTimeState> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null, beside = {} } = options;
    if (cuSeqlens && (state || outputState)) {
      const message = 'memories in chunks: packed sequences have no common place in a chunk to go on from';
      throw new FastWeightsError('UNSUPPORTED', message, { argument: 'cuSeqlens' });
    }
    const convolutions: Tensors = {};
    const position = state?.inChunk ?? 0;
    const operands = this.inputs(x, {
      convolve: (name, convolution, input) => {
        if (!convolution) return input;
        const initialState = state?.convolutions[name] ?? null;
        const result = convolution.forward(input, { initialState, outputFinalState: outputState, cuSeqlens });
        if (result.finalState) convolutions[name] = result.finalState.to(stateDType(this.reference));
        return result.output;
      },
      rotate: (input) => this.turned(input, position, cuSeqlens),
      beside,
    });
    const { q, k, v, ...rest } = operands;
    const starts = Object.entries(this.starts());
    const N = cuSeqlens ? cuSeqlens.length - 1 : x.shape[0];
    const initial = starts.map(([name, [ending, value]]): [string, Tensor] => [
      `initial${ending}`,
      state?.memory[name] ?? value.unsqueeze(0).expand(N, ...value.shape),
    ]);
    const call = { ...rest, ...this.settings, ...Object.fromEntries(initial), position, cuSeqlens };
    const result = this.rule(q, k, v, { ...call, outputFinalState: outputState }) as { output: Tensor } & Tensors;
    const output = this.readout(result.output.to(x.dtype), x, operands);
    if (!outputState) return { output };
    const memory = Object.fromEntries(
      starts.map(([name, [ending]]) => [name, result[`final${ending}`].to(stateDType(this.reference)).contiguous()]),
    );
    return { output, state: { memory, convolutions, inChunk: (position + x.shape[1]) % this.chunk } };
  }

  step(x: Tensor, state: TestTimeState, beside: Beside = {}): Tensor {
    checkStep(this, x, state);
    const operands = this.inputs(x, {
      convolve: (name, convolution, input) => convolution?.step(input, state.convolutions[name]) ?? input,
      rotate: (input) => this.turned(input.unsqueeze(1), state.inChunk, null).squeeze(1),
      beside,
    });
    const { q, k, v, ...rest } = operands;
    const call = { ...rest, ...this.settings, state: state.memory, position: state.inChunk };
    const output = this.rule.step(q, k, v, call);
    state.inChunk = (state.inChunk + 1) % this.chunk;
    return this.readout(output.to(x.dtype), x, operands);
  }

  initialState(batch: number): TestTimeState {
    const dtype = stateDType(this.reference);
    const convolutions: Tensors = {};
    for (const [name, convolution] of Object.entries(this.convolutions)) {
      if (convolution) convolutions[name] = convolution.initialState(batch);
    }
    const starts = Object.entries(this.starts()).map(([name, [, value]]): [string, Tensor] => {
      const own = value.detach();
      return [name, zeros([batch, ...own.shape], { device: own.device, dtype }).add(own.to(dtype))];
    });
    return { memory: Object.fromEntries(starts), convolutions, inChunk: 0 };
  }

  /** x [B, T, H, D] turned by its place in a chunk, in neighbouring pairs. */
  private turned(x: Tensor, offset: number, cuSeqlens: CuSeqlens | null): Tensor {
    return rope(x, { base: this.ropeTheta, offset, modulo: this.chunk, interleaved: true, cuSeqlens });
  }
}
