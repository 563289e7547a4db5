// The causal language model around a backbone: head, loss, sessions and generation.
import { noGrad } from '../autograd';
import { argumentError, checkOptions, formatShape, type OptionNames, scope, type Tensor } from '../core';
import {
  checkStateLike,
  type GeneratedToken,
  type GenerateOptions,
  type RecurrentModel,
  type SamplingOptions,
  Session,
  type State,
  type TokenIds,
} from '../inference';
import { Linear, Module } from '../nn';
import {
  cat,
  checkCuSeqlens,
  checkIndices,
  checkShape,
  crossEntropy,
  type CuSeqlens,
  full,
  type TensorOptions,
} from '../ops';
import type { Backbone } from './block';
import type { Configuration } from './configuration';
import { type GenerationDefaults, generationOf } from './generation';
import { initializeNormal } from './initialize';
import { type SaveOptions, savePretrained } from './pretrained';

export interface ForwardOptions<L extends Labels = Labels, S extends boolean = boolean> {
  /** int32 like the ids: position t predicts the label of t + 1. -100 counts for nothing. */
  labels?: L;
  /** The `state` of an earlier call, to go on from. */
  state?: State | null;
  outputState?: S;
  /** Packed sequences: B = 1 and N + 1 offsets. */
  cuSeqlens?: CuSeqlens | null;
}

type Labels = Tensor | null | undefined;

const FORWARD: OptionNames<ForwardOptions> = { labels: true, state: true, outputState: 'flag', cuSeqlens: true };

/**
 * logits [B, T, vocabulary]; with labels the `loss` [1], the mean over those that count; when asked for the `state` that
 * the next tokens go on from.
 */
export type ForwardResult<L extends Labels = Labels, S extends boolean = boolean> = { logits: Tensor } & ([L] extends [
  Tensor,
]
  ? { loss: Tensor }
  : { loss?: Tensor }) &
  ([S] extends [true] ? { state: State } : { state?: State });

export interface SessionOptions {
  /** Number of sequences, 1 by default. */
  batch?: number;
  /** Whether `rollback` is wanted, true by default; without it nothing grows. */
  history?: boolean;
}

const SESSION: OptionNames<SessionOptions> = { batch: true, history: 'flag' };

/** Labels that the loss leaves out. */
const IGNORED = -100;

export abstract class CausalLM<C extends Configuration = Configuration> extends Module implements RecurrentModel {
  model: Backbone;
  lm_head: Linear;
  /** What `generate` goes by unless told otherwise. */
  generation: GenerationDefaults;

  constructor(
    readonly config: C,
    backbone: Backbone,
    options: TensorOptions,
  ) {
    super();
    this.generation = generationOf(config);
    this.model = backbone;
    this.lm_head = new Linear(config.hiddenSize, config.vocabSize, { bias: false, ...options });
    if (config.tieWordEmbeddings) {
      this.lm_head.weight.dispose();
      this.lm_head.weight = backbone.tokens.weight;
    }
    initializeNormal(this, config.initializerRange);
  }

  get vocabSize(): number {
    return this.config.vocabSize;
  }

  get stopTokens(): readonly number[] {
    return this.generation.stopTokens;
  }

  get sampling(): SamplingOptions {
    return this.generation.sampling;
  }

  /** ids int32 [B, T] to logits, and to the loss when labels are given. */
  forward<L extends Labels = undefined, S extends boolean = false>(
    ids: Tensor,
    options: ForwardOptions<L, S> = {},
  ): ForwardResult<L, S> {
    checkOptions<ForwardOptions>('forward', options, FORWARD);
    const { labels = null, state = null, outputState = false, cuSeqlens = null }: ForwardOptions = options;
    this.checkIds('ids', ids);
    if (labels !== null) {
      this.checkIds('labels', labels);
      checkShape('forward', 'labels', labels, ids.shape, 'batch, time like ids');
    }
    const [batch, tokens] = ids.shape;
    if (cuSeqlens !== null) checkCuSeqlens('forward', cuSeqlens, batch, tokens);
    if (state !== null) {
      const sequences = cuSeqlens === null ? batch : cuSeqlens.length - 1;
      noGrad(() => scope(() => checkStateLike('forward', 'state', state, this.initialState(sequences))));
    }
    return scope(() => {
      const hidden = this.model.forward(ids, { state, outputState, cuSeqlens });
      const logits = this.lm_head.forward(hidden.output);
      const result: { logits: Tensor; loss?: Tensor; state?: State } = { logits };
      if (labels) result.loss = crossEntropy(logits, nextLabels(labels, cuSeqlens), { ignoreIndex: IGNORED });
      if (outputState) result.state = hidden.state;
      return result as ForwardResult<L, S>;
    });
  }

  initialState(batch: number): State {
    return this.model.initialState(batch);
  }

  prefill(ids: Tensor, state: State): { logits: Tensor; state: State } {
    return noGrad(() =>
      scope(() => {
        const hidden = this.model.forward(ids, { state, outputState: true });
        const last = hidden.output.slice(1, -1).squeeze(1);
        return { logits: this.lm_head.forward(last), state: hidden.state! };
      }),
    );
  }

  step(ids: Tensor, state: State): Tensor {
    return noGrad(() => scope(() => this.lm_head.forward(this.model.step(ids, state))));
  }

  /** A state that tokens are fed into; `dispose` it when it is done. Without `history` nothing grows, but no `rollback`. */
  createSession(options: SessionOptions = {}): Session {
    checkOptions('createSession', options, SESSION);
    return new Session(this, options.batch, options.history ?? undefined);
  }

  /** Continues one sequence token by token; without options as the folder's generation_config.json says. */
  async *generate(ids: TokenIds, options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, void, undefined> {
    const session = this.createSession({ history: false });
    try {
      yield* session.generate(ids, options);
    } finally {
      session.dispose();
    }
  }

  /** Writes config.json, generation_config.json and the weights into a folder, as the Python libraries read them. */
  savePretrained(dir: string, options: SaveOptions = {}): Promise<void> {
    return savePretrained(dir, this, this.stateDict(), options);
  }

  private checkIds(argument: string, ids: Tensor): void {
    checkIndices('forward', argument, ids, this.lm_head.weight);
    if (ids.ndim !== 2) throw argumentError('SHAPE', 'forward', argument, '[B, T]', formatShape(ids.shape));
  }
}

/** The label of the next token at every position, none at the end of a sequence. */
function nextLabels(labels: Tensor, cuSeqlens: CuSeqlens | null): Tensor {
  const [B, T] = labels.shape;
  const bounds = cuSeqlens ?? [0, T];
  const end = full([B, 1], IGNORED, { dtype: 'int32', device: labels.device });
  const parts: Tensor[] = [];
  for (let n = 0; n + 1 < bounds.length; n++) {
    if (bounds[n + 1] > bounds[n]) parts.push(labels.slice(1, bounds[n] + 1, bounds[n + 1]), end);
  }
  return parts.length > 0 ? cat(parts, 1) : labels;
}
