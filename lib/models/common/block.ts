// Blocks and stacks of them: pre-norm residual blocks under the names that published weights have, and the decoder around them.
import { scope, type Tensor } from '../../core';
import { atOnce, type Stages, type State } from '../../inference';
import { type Embedding, hasForwardHooks, type Module } from '../../nn';
import { checkSequence, forwardOf, Recurrent, type SequenceOptions, type SequenceResult } from './mixer';

/** A module from a tensor to a tensor of the same shape. */
export interface Pointwise extends Module {
  /** x [..., dim]; each vector along the last dimension on its own. */
  forward(x: Tensor): Tensor;
}

/** The feed-forward of a block; adds `residual` to its result. */
export interface FeedForward extends Module {
  forward(x: Tensor, residual: Tensor): Tensor;
}

/** The parts of a block, whatever they are called among the weights. */
export interface BlockParts {
  /** In front of the mixer only: the residual goes round both. */
  mixerNorm: Pointwise;
  /** The part that sees other tokens: a fast-weight mixer or softmax attention. The state of the block is its state. */
  mixer: Recurrent;
  /** In front of the feed-forward, behind the first residual. */
  feedForwardNorm: Pointwise;
  /** Works on each token alone, and adds the second residual itself. */
  feedForward: FeedForward;
}

/** What sees other tokens, then what works on each alone; the state of the block is that of the first. */
export abstract class Block extends Recurrent {
  /** The part that sees other tokens, with its residual. */
  abstract mix(x: Tensor, options: SequenceOptions): SequenceResult;

  /** `mix` of one token x [B, hidden]; the state changes in place. Only inside noGrad. */
  abstract mixStep(x: Tensor, state: State): Tensor;

  /** The part that works on each token alone, with its residual. */
  abstract feedForward(x: Tensor): Tensor;

  forward(x: Tensor, options: SequenceOptions = {}): SequenceResult {
    const { output, state } = this.mix(x, options);
    return { output: this.feedForward(output), state };
  }

  step(x: Tensor, state: State): Tensor {
    return this.feedForward(this.mixStep(x, state));
  }
}

/** x + mixer(norm(x)), then x + feedForward(norm(x)). */
export abstract class PreNormBlock extends Block {
  protected abstract get parts(): BlockParts;

  /** x + mixer(norm(x)) */
  mix(x: Tensor, options: SequenceOptions): SequenceResult {
    const { mixerNorm, mixer } = this.parts;
    const { output, state } = mixer.forward(mixerNorm.forward(x), options);
    return { output: x.add(output), state };
  }

  mixStep(x: Tensor, state: State): Tensor {
    const { mixerNorm, mixer } = this.parts;
    return x.add(mixer.step(mixerNorm.forward(x), state));
  }

  initialState(batch: number): State {
    return this.parts.mixer.initialState(batch);
  }

  /** x + feedForward(norm(x)) */
  feedForward(x: Tensor): Tensor {
    const { feedForwardNorm, feedForward } = this.parts;
    return feedForward.forward(feedForwardNorm.forward(x), x);
  }
}

/** From token ids to hidden vectors. */
export abstract class Backbone extends Recurrent {
  /** The table of token vectors, under its name among the weights. */
  abstract get tokens(): Embedding;

  /** Whether the activations of each layer are computed again in the backward pass instead of kept. */
  gradientCheckpointing = false;

  /** How many stages about equal in work there are. */
  get stageCount(): number {
    return 1;
  }

  /** `forward` in stages. */
  *stages(ids: Tensor, options: SequenceOptions = {}): Stages<SequenceResult> {
    return this.forward(ids, options);
  }

  /** `step` in stages. */
  *stepStages(ids: Tensor, state: State): Stages<Tensor> {
    return this.step(ids, state);
  }
}

/** Embedding, blocks, final norm. */
export abstract class Decoder extends Backbone {
  /** From the embedding up; the state of the decoder is the list of theirs. */
  abstract layers: Block[];
  /** Behind the last block; null where the family has none. */
  abstract norm: Pointwise | null;

  override get stageCount(): number {
    return 2 * this.layers.length + 1;
  }

  /** ids [B, T] */
  forward(ids: Tensor, options: SequenceOptions = {}): SequenceResult {
    return atOnce(this.stages(ids, options));
  }

  /** ids [B] */
  step(ids: Tensor, state: State): Tensor {
    return atOnce(this.stepStages(ids, state));
  }

  /** Handles that were made on the way are freed at once; the tape keeps what the backward pass needs. */
  override *stages(ids: Tensor, options: SequenceOptions = {}): Stages<SequenceResult> {
    checkSequence('forward', options);
    const { state = null, ...rest } = options;
    const before = state as State[] | null;
    const states: State[] = [];
    let x = this.tokens.forward(ids);
    for (const [i, layer] of this.layers.entries()) {
      const given = { ...rest, state: before?.[i] ?? null };
      if (this.gradientCheckpointing || hasForwardHooks(layer)) {
        const whole = scope(() => forwardOf(layer, x, given, this.gradientCheckpointing));
        x.dispose();
        x = whole.output;
        if (whole.state !== undefined) states.push(whole.state);
        yield [x, states];
        continue;
      }
      const mixed = scope(() => layer.mix(x, given));
      x.dispose();
      x = mixed.output;
      if (mixed.state !== undefined) states.push(mixed.state);
      yield [x, states];
      const output = scope(() => layer.feedForward(x));
      x.dispose();
      x = output;
      yield [x, states];
    }
    return { output: this.finish(x), state: options.outputState ? states : undefined };
  }

  override *stepStages(ids: Tensor, state: State): Stages<Tensor> {
    const states = state as State[];
    let x = this.tokens.forward(ids);
    for (const [i, layer] of this.layers.entries()) {
      x = layer.mixStep(x, states[i]);
      yield x;
      x = layer.feedForward(x);
      yield x;
    }
    return this.finish(x);
  }

  initialState(batch: number): State {
    return this.layers.map((layer) => layer.initialState(batch));
  }

  private finish(x: Tensor): Tensor {
    return this.norm ? this.norm.forward(x) : x;
  }
}
