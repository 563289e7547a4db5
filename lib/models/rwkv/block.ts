// Blocks of RWKV: two pre-norm parts, both of which look at the token before, so that both have a state.
import type { Tensor } from '../../core';
import type { Stages } from '../../inference';
import { tokenShift, tokenShiftStep, zeros } from '../../ops';
import { Layer, type Pointwise } from '../common/block';
import {
  type Placed,
  type Beside,
  checkForward,
  checkStep,
  partOf,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stepOf,
  stateDType,
} from '../common/mixer';
import type { State } from '../../inference';

/** What a block remembers. */
export type RwkvState = {
  /** That of the mixer. */
  mixer: State;
  /** The last input of the feed-forward [B, hidden]. */
  feedForward: Tensor;
};

/** A feed-forward that sees the token before, too ("channel mixing", Peng et al. 2023); its state is the last x [B, hidden]. */
export abstract class ChannelMix extends Recurrent<Tensor> {
  constructor(
    /** Width of x. */
    readonly hiddenSize: number,
  ) {
    super();
  }

  /** The weight whose dtype and device the state follows. */
  protected abstract get reference(): Placed;

  /** x [..., hidden], and what the token before it was, less x. */
  protected abstract mixed(x: Tensor, delta: Tensor): Tensor;

  forward(x: Tensor, options: SequenceOptions<Tensor> = {}): SequenceResult<Tensor> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const before = { initialState: state, outputFinalState: outputState, cuSeqlens };
    const { output: delta, finalState } = tokenShift(x, before);
    return { output: this.mixed(x, delta), state: finalState?.to(stateDType(this.reference)) };
  }

  step(x: Tensor, state: Tensor): Tensor {
    checkStep(this, x, state);
    return this.mixed(x, tokenShiftStep(x, { state }));
  }

  initialState(batch: number): Tensor {
    const { device } = this.reference;
    return zeros([batch, this.hiddenSize], { device, dtype: stateDType(this.reference) });
  }
}

/** The parts of a block, whatever they are called among the weights. */
export interface RwkvParts {
  /** What it gives takes the place of x; in the first block, null in the others. */
  first: Pointwise | null;
  /** In front of the mixer only: the residual goes round both. */
  mixerNorm: Pointwise;
  /** Its state is the first part of the block's. */
  mixer: Recurrent;
  /** In front of the feed-forward, behind the first residual. */
  feedForwardNorm: Pointwise;
  /** Its state is the second part. */
  feedForward: ChannelMix;
}

/** x + part(norm(x)) */
function residual<S extends State>(
  x: Tensor,
  norm: Pointwise,
  part: Recurrent<S>,
  options: SequenceOptions<S>,
): SequenceResult<S> {
  const { output, state } = part.forward(norm.forward(x), options);
  return { output: x.add(output), state };
}

/** x + mixer(norm(x)), then x + feedForward(norm(x)). */
export abstract class RwkvBlock extends Layer {
  protected abstract get parts(): RwkvParts;

  *stages(x: Tensor, options: SequenceOptions): Stages<SequenceResult> {
    const { state = null, ...rest } = options as SequenceOptions<RwkvState>;
    const { first, mixerNorm, mixer, feedForwardNorm, feedForward } = this.parts;
    const mixed = partOf(
      () => residual(first ? first.forward(x) : x, mixerNorm, mixer, { ...rest, state: state && state.mixer }),
      options,
    );
    yield [mixed.output, mixed.state ?? null];
    const fed = partOf(
      () => residual(mixed.output, feedForwardNorm, feedForward, { ...rest, state: state && state.feedForward }),
      options as SequenceOptions<Tensor>,
    );
    mixed.output.dispose();
    const after = fed.state && { mixer: mixed.state!, feedForward: fed.state };
    return { output: fed.output, state: after };
  }

  *stepStages(x: Tensor, state: State, beside: Beside): Stages<Tensor> {
    const { mixer: own, feedForward: last } = state as RwkvState;
    const { first, mixerNorm, mixer, feedForwardNorm, feedForward } = this.parts;
    const stream = first ? first.forward(x) : x;
    const mixed = stream.add(stepOf(mixer, mixerNorm.forward(stream), own, beside));
    yield mixed;
    return mixed.add(feedForward.step(feedForwardNorm.forward(mixed), last));
  }

  initialState(batch: number): RwkvState {
    const { mixer, feedForward } = this.parts;
    return { mixer: mixer.initialState(batch), feedForward: feedForward.initialState(batch) };
  }

  protected override ragged(batch: number): State {
    const { mixer, feedForward } = this.parts;
    return { mixer: mixer.raggedState(batch), feedForward: feedForward.initialState(batch) };
  }
}
