// Blocks and stacks of them: pre-norm residual blocks under the names that checkpoints use, and the decoder around them.
import { scope, type Tensor } from '../core';
import type { State } from '../inference';
import { type Embedding, type Module } from '../nn';
import { checkSequence, Recurrent, type SequenceOptions, type SequenceResult } from './mixer';

/** A module from a tensor to a tensor of the same shape. */
export interface Pointwise extends Module {
  forward(x: Tensor): Tensor;
}

/** The feed-forward of a block; adds `residual` to its result. */
export interface FeedForward extends Module {
  forward(x: Tensor, residual: Tensor): Tensor;
}

/** The parts of a block, whatever they are called in the checkpoint. */
export interface BlockParts {
  mixerNorm: Pointwise;
  mixer: Recurrent;
  feedForwardNorm: Pointwise;
  feedForward: FeedForward;
}

/** x + mixer(norm(x)), then x + feedForward(norm(x)). */
export abstract class Block extends Recurrent {
  protected abstract get parts(): BlockParts;

  forward(x: Tensor, options: SequenceOptions = {}): SequenceResult {
    const { mixerNorm, mixer } = this.parts;
    const { output, state } = mixer.forward(mixerNorm.forward(x), options);
    return { output: this.feedForward(x.add(output)), state };
  }

  step(x: Tensor, state: State): Tensor {
    const { mixerNorm, mixer } = this.parts;
    return this.feedForward(x.add(mixer.step(mixerNorm.forward(x), state)));
  }

  initialState(batch: number): State {
    return this.parts.mixer.initialState(batch);
  }

  private feedForward(x: Tensor): Tensor {
    const { feedForwardNorm, feedForward } = this.parts;
    return feedForward.forward(feedForwardNorm.forward(x), x);
  }
}

/** From token ids to hidden vectors. */
export abstract class Backbone extends Recurrent {
  /** The table of token vectors, under its name in the checkpoint. */
  abstract get tokens(): Embedding;
}

/** Embedding, blocks, final norm. */
export abstract class Decoder extends Backbone {
  abstract layers: Block[];
  abstract norm: Pointwise | null;

  /** ids [B, T]. Handles that were made on the way are freed at once; the tape keeps what the backward pass needs. */
  forward(ids: Tensor, options: SequenceOptions = {}): SequenceResult {
    checkSequence('forward', options);
    const { state = null, ...rest } = options;
    const before = state as State[] | null;
    const states: State[] = [];
    let x = this.tokens.forward(ids);
    for (const [i, layer] of this.layers.entries()) {
      const result = scope(() => layer.forward(x, { ...rest, state: before?.[i] ?? null }));
      x.dispose();
      x = result.output;
      if (result.state !== undefined) states.push(result.state);
    }
    return { output: this.finish(x), state: options.outputState ? states : undefined };
  }

  /** ids [B] */
  step(ids: Tensor, state: State): Tensor {
    const states = state as State[];
    let x = this.tokens.forward(ids);
    for (const [i, layer] of this.layers.entries()) x = layer.step(x, states[i]);
    return this.finish(x);
  }

  initialState(batch: number): State {
    return this.layers.map((layer) => layer.initialState(batch));
  }

  private finish(x: Tensor): Tensor {
    return this.norm ? this.norm.forward(x) : x;
  }
}
