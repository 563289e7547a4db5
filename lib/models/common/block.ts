// Blocks and stacks of them: pre-norm residual blocks under the names that published weights have, and the decoder around them.
import { scope, type Tensor } from '../../core';
import { atOnce, isRows, type Stages, type State } from '../../inference';
import { type Embedding, hasForwardHooks, type Module } from '../../nn';
import {
  type Beside,
  checkForward,
  checkStep,
  checkToken,
  checkTokens,
  forwardOf,
  partOf,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stepOf,
} from './mixer';

/** A module from a tensor to a tensor of the same shape. */
export interface Pointwise extends Module {
  /** x [..., dim]; each vector along the last dimension on its own. */
  forward(x: Tensor): Tensor;
}

/** The feed-forward of a block; adds `residual` to its result. */
export interface FeedForward extends Module {
  forward(x: Tensor, residual: Tensor): Tensor;
}

/** The parts of a block without a feed-forward, whatever they are called among the weights. */
export interface MixerParts {
  /** In front of the mixer only: the residual goes round both. */
  mixerNorm: Pointwise;
  /** The part that sees other tokens: a fast-weight mixer or softmax attention. The state of the block is its state. */
  mixer: Recurrent;
}

/** The parts of a block with one. */
export interface BlockParts extends MixerParts {
  /** In front of the feed-forward, behind the first residual. */
  feedForwardNorm: Pointwise;
  /** Works on each token alone, and adds the second residual itself. */
  feedForward: FeedForward;
}

/** A layer of a decoder, in stages between which other work may run. */
export abstract class Layer extends Recurrent {
  /** `forward` in stages about equal in work; what was made on the way is freed, x stays. */
  abstract stages(x: Tensor, options: SequenceOptions): Stages<SequenceResult>;

  /** `step` in stages. */
  abstract stepStages(x: Tensor, state: State, beside: Beside): Stages<Tensor>;

  forward(x: Tensor, options: SequenceOptions = {}): SequenceResult {
    checkForward(this, x, options);
    return atOnce(this.stages(x, options));
  }

  step(x: Tensor, state: State, beside: Beside = {}): Tensor {
    checkStep(this, x, state);
    return atOnce(this.stepStages(x, state, beside));
  }
}

/** What sees other tokens, then what works on each alone; the state of the block is that of the first. */
export abstract class Block extends Layer {
  /** The part that sees other tokens, with its residual. */
  abstract mix(x: Tensor, options: SequenceOptions): SequenceResult;

  /** `mix` of one token x [B, hidden]; the state changes in place. Only inside noGrad. */
  abstract mixStep(x: Tensor, state: State, beside: Beside): Tensor;

  /** The part that works on each token alone, with its residual. */
  abstract feedForward(x: Tensor): Tensor;

  *stages(x: Tensor, options: SequenceOptions): Stages<SequenceResult> {
    const { output, state } = partOf(() => this.mix(x, options), options);
    yield [output, state ?? null];
    const fed = scope(() => this.feedForward(output));
    output.dispose();
    return { output: fed, state };
  }

  *stepStages(x: Tensor, state: State, beside: Beside): Stages<Tensor> {
    const mixed = this.mixStep(x, state, beside);
    yield mixed;
    return this.feedForward(mixed);
  }
}

/** x + mixer(norm(x)), and nothing that works on each token alone. */
export abstract class MixerBlock extends Block {
  protected abstract get parts(): MixerParts;

  /** x + mixer(norm(x)) */
  mix(x: Tensor, options: SequenceOptions): SequenceResult {
    const { mixerNorm, mixer } = this.parts;
    const { output, state } = mixer.forward(mixerNorm.forward(x), options);
    return { output: x.add(output), state };
  }

  mixStep(x: Tensor, state: State, beside: Beside): Tensor {
    const { mixerNorm, mixer } = this.parts;
    return x.add(stepOf(mixer, mixerNorm.forward(x), state, beside));
  }

  /** There is none: a handle of its own, as from any operator. */
  feedForward(x: Tensor): Tensor {
    return x.another();
  }

  initialState(batch: number): State {
    return this.parts.mixer.initialState(batch);
  }

  protected override ragged(batch: number): State {
    return this.parts.mixer.raggedState(batch);
  }
}

/** x + mixer(norm(x)), then x + feedForward(norm(x)). */
export abstract class PreNormBlock extends MixerBlock {
  protected abstract override get parts(): BlockParts;

  /** x + feedForward(norm(x)) */
  override feedForward(x: Tensor): Tensor {
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

/** Stages amid work that goes on with more than they do. */
function* amid<R>(stages: Stages<R>, more: State): Stages<R> {
  for (;;) {
    const { done, value } = stages.next();
    if (done) return value;
    yield [value, more];
  }
}

/** Embedding, blocks, final norm. */
export abstract class Decoder extends Backbone {
  /** From the embedding up; the state of the decoder is the list of theirs. */
  abstract layers: Layer[];
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
    checkTokens(this, ids, options);
    const { state = null, ...rest } = options;
    const before = state as State[] | null;
    const states: State[] = [];
    const beside: Beside = {};
    let x = this.tokens.forward(ids);
    for (const [i, layer] of this.layers.entries()) {
      const given = { ...rest, state: before?.[i] ?? null, beside };
      const whole = this.gradientCheckpointing || hasForwardHooks(layer);
      const result = whole
        ? partOf(() => forwardOf(layer, x, given, this.gradientCheckpointing), given)
        : yield* amid(layer.stages(x, given), [x, states, beside]);
      x.dispose();
      x = result.output;
      if (result.state !== undefined) states.push(result.state);
      yield [x, states, beside];
    }
    return { output: this.finish(x), state: options.outputState ? states : undefined };
  }

  override *stepStages(ids: Tensor, state: State): Stages<Tensor> {
    checkToken(this, ids, state);
    const states = state as State[];
    const beside: Beside = {};
    let x = this.tokens.forward(ids);
    for (const [i, layer] of this.layers.entries()) {
      const state = states[i];
      x = isRows(state) ? stepOf(layer, x, state, beside) : yield* amid(layer.stepStages(x, state, beside), [beside]);
      yield [x, beside];
    }
    return this.finish(x);
  }

  initialState(batch: number): State {
    return this.layers.map((layer) => layer.initialState(batch));
  }

  protected override ragged(batch: number): State {
    return this.layers.map((layer) => layer.raggedState(batch));
  }

  private finish(x: Tensor): Tensor {
    return this.norm ? this.norm.forward(x) : x;
  }
}
