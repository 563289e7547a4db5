// The causal language model around a backbone: head, loss, sessions and generation.
import { sha256 } from '../../platform';
import { noGrad } from '../../autograd';
import type { WeightFormat } from '../../backends';
import {
  argumentError,
  checkInstance,
  checkObject,
  checkOptions,
  describe,
  type Device,
  FastWeightsError,
  formatShape,
  type OptionNames,
  scope,
  type Tensor,
} from '../../core';
import {
  atOnce,
  embed,
  type EmbedOptions,
  type GeneratedToken,
  type GenerateOptions,
  type HiddenRead,
  isRows,
  type Read,
  type RecurrentModel,
  type SamplingOptions,
  Session,
  type SessionOptions,
  type Stages,
  type State,
  type TokenIds,
} from '../../inference';
import { Linear, Module, quantizeModel } from '../../nn';
import {
  cat,
  checkCuSeqlens,
  checkIndices,
  checkShape,
  crossEntropy,
  type CuSeqlens,
  full,
  linearCrossEntropy,
  type TensorOptions,
} from '../../ops';
import {
  adapterChanges,
  type AdaptedModel,
  adapterNames,
  loadAdapter,
  mixedStages,
  unloadAdapter,
  withAdapter,
} from './adapted';
import { Backbone } from './block';
import type { Configuration } from './configuration';
import { type GenerationDefaults, generationOf } from './generation';
import { initializeNormal } from './initialize';
import { checkState, Recurrent, type SequenceOptions, stepOf } from './mixer';
import { type Padding, readPadding } from './padding';
import { type SaveOptions, savePretrained } from './pretrained';

/** Options of `CausalLM.forward`. */
export interface ForwardOptions<L extends Labels = Labels, S extends boolean = boolean, Z extends boolean = boolean> {
  /** int32 like the ids: position t predicts the label of t + 1. -100 counts for nothing. */
  labels?: L;
  /** The `state` of an earlier call, to go on from. */
  state?: State | null;
  /**
   * Also return the `state` after the last token, false by default. Softmax attention, HQLT, RetNet and what learns in chunks
   * (TTT, Titans, LaCT) have none for packed or padded batches (UNSUPPORTED).
   */
  outputState?: S;
  /**
   * Whether the `logits` are returned, true by default. Without them the loss takes some rows of logits at a time
   * (`linearCrossEntropy`): all of them, several times as large as everything else where the vocabulary is, are never in memory.
   */
  outputLogits?: Z;
  /** Packed sequences: B = 1 and N + 1 offsets. */
  cuSeqlens?: CuSeqlens | null;
  /**
   * bool or int32 [B, T], 0 for padding, which may stand on either side. Every sequence gets exactly what it gets alone: padded
   * tokens are not read, written or counted as positions or labels, and their logits are 0.
   */
  attentionMask?: Tensor | null;
}

type Labels = Tensor | null | undefined;

const FORWARD: OptionNames<ForwardOptions> = {
  labels: true,
  state: true,
  outputState: 'flag',
  outputLogits: 'flag',
  cuSeqlens: true,
  attentionMask: true,
};

/**
 * logits [B, T, vocabulary] unless they are not wanted; with labels the `loss` [1], the mean over those that count; when asked
 * for the `state` that the next tokens go on from.
 */
export type ForwardResult<L extends Labels = Labels, S extends boolean = boolean, Z extends boolean = true> = ([
  Z,
] extends [true]
  ? { logits: Tensor }
  : { logits?: Tensor }) &
  ([L] extends [Tensor] ? { loss: Tensor } : { loss?: Tensor }) &
  ([S] extends [true] ? { state: State } : { state?: State });

type AnyResult = ForwardResult<Labels, boolean, boolean>;

/** What a family calls the two parts of its models among the weights. */
export interface WeightNames {
  /** 'model' in most. */
  readonly backbone: string;
  /** 'lm_head' in most. */
  readonly head: string;
}

const WEIGHT_NAMES: WeightNames = { backbone: 'model', head: 'lm_head' };

/** Labels that the loss leaves out. */
const IGNORED = -100;

/** Tokens of a prompt that are read at once. */
const LONGEST_SLICE = 512;
/** Products of weights and tokens in one stage on `js`, which computes some hundred million in a second. */
const STAGE_PRODUCTS = 4e6;

/**
 * Base of the language models: a backbone from ids to hidden vectors, the head, the loss of the next token, and
 * generation. New Linear and Embedding weights are normal with deviation `initializerRange`.
 */
export abstract class CausalLM<C extends Configuration = Configuration> extends Module implements RecurrentModel {
  /** Everything below the head; its weights are saved under `model.`, or under what `weightNames` says. */
  model: Backbone;
  /**
   * From hidden vectors to logits, weight [vocabSize, hiddenSize], no bias; the tensor of the embedding itself where
   * `tieWordEmbeddings` is set.
   */
  lm_head: Linear;
  /** What `generate` goes by unless told otherwise. */
  generation: GenerationDefaults;
  /** Up to so many tokens all layers may read a text in pieces. */
  readonly divisibleLength: number;

  constructor(
    /** As the family read it, defaults filled in; what was given stands in `config.source`. */
    readonly config: C,
    backbone: Backbone,
    options: TensorOptions,
  ) {
    super();
    const where = new.target.name;
    checkObject(where, 'config', config);
    checkObject(where, 'config.source', config.source);
    checkInstance(where, 'backbone', backbone, Backbone);
    this.generation = generationOf(config);
    this.model = backbone;
    this.lm_head = new Linear(config.hiddenSize, config.vocabSize, { bias: false, ...options });
    if (config.tieWordEmbeddings) {
      this.lm_head.weight.dispose();
      this.lm_head.weight = backbone.tokens.weight;
    }
    initializeNormal(this, config.initializerRange);
    const lengths = [...this.namedModules()].map(([, part]) =>
      part instanceof Recurrent ? part.divisibleLength : Infinity,
    );
    this.divisibleLength = Math.min(...lengths);
  }

  /** The names of `model` and `lm_head` in checkpoints. */
  get weightNames(): WeightNames {
    return WEIGHT_NAMES;
  }

  protected override *memberProperties(): Generator<[string, unknown]> {
    const { backbone, head } = this.weightNames;
    for (const [key, value] of super.memberProperties()) {
      yield [key === 'model' ? backbone : key === 'lm_head' ? head : key, value];
    }
  }

  /** From hidden vectors [..., hiddenSize] to logits [..., vocabSize]. */
  protected logitsOf(hidden: Tensor): Tensor {
    return this.lm_head.forward(hidden);
  }

  /**
   * Whether layers compute their activations again in the backward pass instead of keeping them, false by default: less
   * memory for about a third more work, the same losses and gradients (Chen et al. 2016). For any model, at any time.
   */
  get gradientCheckpointing(): boolean {
    return this.model.gradientCheckpointing;
  }

  set gradientCheckpointing(on: boolean) {
    if (typeof on !== 'boolean') {
      throw argumentError('INVALID_ARGUMENT', 'model', 'gradientCheckpointing', 'true or false', describe(on));
    }
    this.model.gradientCheckpointing = on;
  }

  /** Width of the logits; ids from 0 to one less are known. */
  get vocabSize(): number {
    return this.config.vocabSize;
  }

  /** That of the head, without a search: sessions ask for every token. */
  override get device(): Device {
    return this.lm_head.device;
  }

  get stopTokens(): readonly number[] {
    return this.generation.stopTokens;
  }

  get sampling(): SamplingOptions {
    return this.generation.sampling;
  }

  /** ids int32 [B, T] to logits, and to the loss when labels are given. */
  forward<L extends Labels = undefined, S extends boolean = false, Z extends boolean = true>(
    ids: Tensor,
    options: ForwardOptions<L, S, Z> = {},
  ): ForwardResult<L, S, Z> {
    checkOptions<ForwardOptions>('forward', options, FORWARD);
    const { labels = null, state = null, outputState = false, cuSeqlens = null }: ForwardOptions = options;
    const { attentionMask = null, outputLogits = true }: ForwardOptions = options;
    this.checkIds('forward', 'ids', ids);
    if (attentionMask !== null && cuSeqlens !== null) {
      throw argumentError('INVALID_ARGUMENT', 'forward', 'attentionMask', 'left out with cuSeqlens', 'both');
    }
    if (labels !== null) {
      this.checkIds('forward', 'labels', labels);
      checkShape('forward', 'labels', labels, ids.shape, 'batch, time like ids');
    }
    const [batch, tokens] = ids.shape;
    if (cuSeqlens !== null) checkCuSeqlens('forward', cuSeqlens, batch, tokens);
    if (state !== null) {
      const sequences = cuSeqlens === null ? batch : cuSeqlens.length - 1;
      checkState('forward', this.model, state, sequences);
    }
    return scope(() => {
      const padding = attentionMask && readPadding('forward', attentionMask, ids);
      const result = padding
        ? this.withoutPadding(ids, labels, { state, outputState }, outputLogits, padding)
        : this.compute(ids, labels, { state, outputState, cuSeqlens }, outputLogits);
      return result as ForwardResult<L, S, Z>;
    });
  }

  private compute(ids: Tensor, labels: Tensor | null, options: SequenceOptions, outputLogits: boolean): AnyResult {
    const { outputState, cuSeqlens = null } = options;
    const hidden = this.model.forward(ids, options);
    const result: AnyResult = {};
    if (outputLogits) result.logits = this.logitsOf(hidden.output);
    if (labels) {
      const targets = nextLabels(labels, cuSeqlens);
      result.loss = result.logits
        ? crossEntropy(result.logits, targets, { ignoreIndex: IGNORED })
        : this.lossOf(hidden.output, targets, 'mean');
    }
    if (outputState) result.state = hidden.state;
    return result;
  }

  /** The cross entropy of the logits of hidden vectors, which are in memory all at once only where the head asks for it. */
  private lossOf(hidden: Tensor, targets: Tensor, reduction: 'mean' | 'sum'): Tensor {
    const { lm_head } = this;
    const options = { ignoreIndex: IGNORED, reduction };
    const plain = this.logitsOf === CausalLM.prototype.logitsOf && lm_head.isPlain;
    return plain
      ? linearCrossEntropy(hidden, lm_head.weight, targets, options)
      : crossEntropy(this.logitsOf(hidden), targets, options);
  }

  /**
   * The sum of the cross entropies [1] for ids int32 [B, T] and targets int32 [B, T], what each position is to predict, -100
   * for nothing: what a step of training needs. Its logits are never all in memory, see `outputLogits` of `forward`.
   */
  targetLoss(ids: Tensor, targets: Tensor): Tensor {
    const where = 'targetLoss';
    this.checkIds(where, 'ids', ids);
    this.checkIds(where, 'targets', targets);
    checkShape(where, 'targets', targets, ids.shape, 'batch, time like ids');
    return scope(() => {
      if (this.forward === CausalLM.prototype.forward)
        return this.lossOf(this.model.forward(ids).output, targets, 'sum');
      // Hooks, and classes that compute otherwise, see every call.
      return crossEntropy(this.forward(ids).logits, targets, { ignoreIndex: IGNORED, reduction: 'sum' });
    });
  }

  private withoutPadding(
    ids: Tensor,
    labels: Tensor | null,
    options: SequenceOptions,
    outputLogits: boolean,
    padding: Padding,
  ): AnyResult {
    const { cuSeqlens, pack, unpack } = padding;
    try {
      const result = this.compute(pack(ids), labels && pack(labels), { ...options, cuSeqlens }, outputLogits);
      return result.logits ? { ...result, logits: unpack(result.logits) } : result;
    } catch (error) {
      if (!(error instanceof FastWeightsError) || error.argument !== 'cuSeqlens') throw error;
      // The caller gave no offsets.
      throw new FastWeightsError(error.code, `forward: with attentionMask: ${error.message}`, {
        argument: 'attentionMask',
        cause: error,
      });
    }
  }

  initialState(batch: number): State {
    return this.model.initialState(batch);
  }

  raggedState(batch: number): State {
    return this.model.raggedState(batch);
  }

  /** What states depend on: not the weights, and not where a text begins and ends. */
  get identity(): string {
    const {
      source: _,
      architecture: __,
      initializerRange: ___,
      eosTokenId: ____,
      fractions: _____,
      ...rest
    } = this.config;
    const { dropout: ______, ...sizes } = rest as typeof rest & { dropout?: number };
    const text = JSON.stringify(sizes, (_, value: unknown) => (value instanceof Map ? [...value] : value));
    const hash = sha256();
    hash.update(new TextEncoder().encode(text));
    return `${this.config.modelType} ${hash.hex()}`;
  }

  /** Native devices compute beside this thread; on `js` a stage of a slice is to take a millisecond or two. */
  get promptSlice(): number {
    if (this.device !== 'js') return LONGEST_SLICE;
    const tokens = (STAGE_PRODUCTS * this.model.stageCount) / this.parameterCount;
    return Math.min(LONGEST_SLICE, 2 ** Math.max(0, Math.floor(Math.log2(tokens))));
  }

  /** What a layer computes of a token depends on its weights, its input and its state; hooks and dropout do as they like. */
  get repeatsSteps(): boolean {
    const { dropout = 0 } = this.config as { dropout?: number };
    return !this.runsHooks && !(this.training && dropout > 0);
  }

  /** Layers with a slot for adapters compute otherwise than those without, also for texts that have none. */
  get revision(): number {
    return adapterChanges(this);
  }

  prefill(ids: Tensor, state: State): Read {
    return noGrad(() => scope(() => atOnce(this.stages(ids, state))));
  }

  step(ids: Tensor, state: State): Tensor {
    return noGrad(() => scope(() => atOnce(this.stages(ids, state)).logits));
  }

  /** Between its stages other work of the thread may run. Only inside noGrad. */
  *stages(ids: Tensor, state: State): Stages<Read> {
    const { hidden, state: after } = yield* this.hiddenStages(ids, state);
    const last = hidden.ndim === 2 ? hidden : hidden.slice(1, -1).squeeze(1);
    // A state that changes in place is its owner's.
    yield after === state ? last : [last, after];
    return { logits: this.logitsOf(last), state: after };
  }

  /**
   * The several-token form of `stages`, with the logits [B, last, vocabulary] after each of the last so many tokens: what
   * speculation verifies guesses with. Only inside noGrad.
   */
  *verifyStages(ids: Tensor, state: State, last: number): Stages<Read> {
    const { hidden, state: after } = yield* this.hiddenStages(ids, state);
    const seen = hidden.slice(1, -last);
    yield [seen, after];
    return { logits: this.logitsOf(seen), state: after };
  }

  /**
   * `stages` up to the head: hidden vectors [B, T, hidden] of ids int32 [B, T], and [B, hidden] of ids [B], for which the state
   * changes in place.
   */
  *hiddenStages(ids: Tensor, state: State): Stages<HiddenRead> {
    const where = 'step';
    checkIndices(where, 'ids', ids, this.model.tokens.weight);
    if (ids.ndim !== 1 && ids.ndim !== 2) {
      throw argumentError('SHAPE', where, 'ids', '[B] or [B, T]', formatShape(ids.shape));
    }
    if (!isRows(state)) checkState(where, this.model, state, ids.shape[0]);
    if (ids.ndim === 1) {
      const hidden = isRows(state) ? stepOf(this.model, ids, state) : yield* this.model.stepStages(ids, state);
      return { hidden, state };
    }
    const { output, state: after } = yield* this.model.stages(ids, { state, outputState: true });
    return { hidden: output, state: after! };
  }

  /**
   * The embedding [hidden] of a text, ids int32 [1, T] or a list: the mean of the hidden vectors behind the last norm, or the
   * last one, by default of length 1. Long texts are read in slices, with turns for everything else in this thread.
   */
  embed(ids: TokenIds, options: EmbedOptions = {}): Promise<Float32Array> {
    return embed('embed', this, ids, options);
  }

  /**
   * Keeps the weights of projections in bfloat16 or in 8 bits from now on, for inference: decoding one text reads all of them
   * for every token, and takes as long as that. Sums stay float32, embeddings, norms, convolutions and what a rule reads as
   * they are. 'int8' has a scale per output: a weight is off by 1 / 254 of its row's largest at most; 'bfloat16': by 2^-8 of
   * itself. docs/quantization.md says what that costs in logits. A head that shares its matrix with the embedding gets one
   * of its own. The model must be float32 (DTYPE), not quantised yet (UNSUPPORTED), and its weights finite (INVALID_ARGUMENT). What
   * it was before is gone: it is not trained (GRAPH), saved or cast (UNSUPPORTED) any more. An error on the way says so where some
   * projections are packed by then: the model computes with these and the others as they are, and a second call goes on with the
   * rest. `fromPretrained` does the same with its option `weights`, one tensor at a time.
   */
  quantize(weights: WeightFormat): this {
    quantizeModel('quantize', this, weights);
    return this;
  }

  /**
   * Reads an adapter in the layout of peft and gives it a name, for inference beside others: it is not part of the model's parameters, and is
   * neither trained nor saved with it. What goes through it costs the product with the base weights, which all texts of a batch share,
   * and the two thin ones of its own. Texts without an adapter come through the same kernels from then on, in bits that may differ from before.
   * Layers of experts, and those whose weight is read elsewhere, cannot be adapted text by text (UNSUPPORTED); settings of peft that
   * are not computed here are UNSUPPORTED, too, and layers with an adapter of their own INVALID_ARGUMENT.
   */
  loadAdapter(name: string, dir: string): Promise<AdaptedModel> {
    return loadAdapter(this, name, dir);
  }

  /** Frees the adapter of a name; what would go on through it throws DISPOSED. */
  unloadAdapter(name: string): void {
    unloadAdapter(this, name);
  }

  /** The names of the adapters that are loaded. */
  get adapterNames(): readonly string[] {
    return adapterNames(this);
  }

  /** The model with the adapter of a name. */
  withAdapter(name: string): AdaptedModel {
    return withAdapter(this, name);
  }

  /** The model with the adapter whose states have this `identity`; undefined where none is loaded. */
  identified(identity: string): AdaptedModel | undefined {
    return this.adapterNames.map((name) => this.withAdapter(name)).find((each) => each.identity === identity);
  }

  /** `stages` of ids int32 [B], one token of each of several texts, which may have different adapters. Only inside noGrad. */
  mixedStages(ids: Tensor, state: State, models: readonly RecurrentModel[]): Stages<Read> {
    return mixedStages(this, ids, state, models);
  }

  /** A conversation that tokens are fed into; `dispose` it when it is done. `history` is what `rollback` needs. */
  createSession(options: SessionOptions = {}): Session {
    return new Session(this, options);
  }

  /**
   * Continues one sequence token by token, with dropout where the model has some and is in training mode; without options as the folder's generation_config.json says. As with the
   * `generate` of a session everything is settled by the call; what is wrong with its arguments is thrown by the first
   * `next`.
   */
  generate(ids: TokenIds, options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, void, undefined> {
    const session = this.createSession();
    try {
      return thenDispose(session, session.generate(ids, options));
    } catch (error) {
      session.dispose();
      return refusing(error);
    }
  }

  /**
   * Writes config.json, generation_config.json and the weights into a folder, as the Python libraries read them; adapters
   * (`addLora`) beside them in the layout of peft, but not those that are merged into the weights.
   */
  savePretrained(dir: string, options: SaveOptions = {}): Promise<void> {
    return savePretrained(dir, this, options);
  }

  private checkIds(where: string, argument: string, ids: Tensor): void {
    checkIndices(where, argument, ids, this.model.tokens.weight);
    if (ids.ndim !== 2) throw argumentError('SHAPE', where, argument, '[B, T]', formatShape(ids.shape));
  }
}

async function* refusing(error: unknown): AsyncGenerator<GeneratedToken, void, undefined> {
  throw error;
}

/** The tokens of a session that nothing else goes on with. */
function thenDispose(
  session: Session,
  tokens: AsyncGenerator<GeneratedToken, void, undefined>,
): AsyncGenerator<GeneratedToken, void, undefined> {
  const all = (async function* () {
    try {
      yield* tokens;
    } finally {
      session.dispose();
    }
  })();
  // What ends before its first token runs nothing of a generator.
  const { return: finish, throw: fail } = all;
  all.return = (value) => finish.call(all, value).finally(() => session.dispose());
  all.throw = (error) => fail.call(all, error).finally(() => session.dispose());
  return all;
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
