// A conversation with a model: a state that tokens are fed into, and ways to copy it and to go back.
import {
  argumentError,
  checkInteger,
  checkOptions,
  checkString,
  describe,
  FastWeightsError,
  type Tensor,
} from '../core';
import { keepSettings, type KeptSettings } from '../ops';
import {
  checkIsSignal,
  checkMessageEnds,
  type Conversation,
  generate,
  type GeneratedToken,
  type GenerateOptions,
  NOTHING,
  type Plan,
  planOf,
} from './generate';
import { columns } from './history';
import { checkedIds, joinIds } from './ids';
import { Memory } from './memory';
import { checkModel, type RecurrentModel, type TokenIds } from './model';
import { type Call, ModelReader, type Reader } from './reader';
import { checkPrefixCache, type PrefixCache, type PrefixPath, type PrefixUse } from './prefix/prefixCache';
import { Repetition } from './repetition';
import { RollbackWindow } from './rollbackWindow';
import type { SamplingOptions } from './sampling';
import { PROMPT, type PromptOptions, READ, type ReadOptions, SESSION, type SessionOptions } from './sessionOptions';
import { Snapshot } from './snapshot';
import { guesserOf } from './speculation/guessers';
import { Speculation } from './speculation/speculation';
import { checkSignal } from './turns';

/**
 * Reads tokens for a batch of sequences and keeps what the model remembers of them. A fast-weight state takes the same
 * memory at every length; a key-value cache grows with it, or with its window. The session owns its state: `dispose` it.
 *
 * A token that `generate` has yielded belongs to the conversation from then on, however the generation ends: `length`,
 * snapshots, forks and `rollback` count it, and it is read before whatever is fed next; not so those of several `samples`.
 *
 * One thing at a time: while a generation is under way, also between its tokens, or `read` or `rollback`, every other
 * call that would change the session throws INVALID_ARGUMENT at once. Only `dispose` comes through; what was under way
 * then throws DISPOSED. `snapshot` and `fork` copy the state as far as it has come, between the tokens of a generation
 * and between the slices of a prompt; only while a single token is being read they throw, too. What they copy is shared
 * until one of those that hold it reads a single token, which moves to a copy first, in the time that the copy takes.
 */
export class Session {
  /** Number of sequences. */
  readonly batch: number;
  private memory: Memory;
  private readonly reader: Reader;
  /** The call that is under way. */
  private call: Pick<Call, 'where' | 'settings' | 'key'> | null = null;
  /** Of the single tokens that it reads alone. */
  private readonly repetition: Repetition;
  /** What the last prompt had from the cache. */
  private prefixUse: PrefixUse | null = null;
  private readonly prefixCache: PrefixCache | null;
  private readonly prefixOwner: string;
  private readonly history: boolean;
  private readonly rollbackWindow: number;

  constructor(
    private readonly model: RecurrentModel,
    options: SessionOptions = {},
    /** @internal What it goes on from, and how it reads. */
    inner?: { memory?: Memory; reader?: Reader },
  ) {
    const where = 'createSession';
    checkModel(where, model);
    checkOptions(where, options, SESSION);
    this.batch = checkInteger(where, 'batch', options.batch ?? 1, 1);
    this.history = options.history ?? false;
    this.rollbackWindow = checkInteger(where, 'rollbackWindow', options.rollbackWindow ?? 0);
    this.prefixCache = options.prefixCache ? checkPrefixCache(where, options.prefixCache, model) : null;
    if (this.prefixCache && this.batch !== 1) {
      throw argumentError('INVALID_ARGUMENT', where, 'prefixCache', 'left out with several sequences', 'a PrefixCache');
    }
    this.prefixOwner = options.prefixOwner ?? '';
    checkString(where, 'prefixOwner', this.prefixOwner);
    this.reader = inner?.reader ?? new ModelReader(model);
    this.repetition = Repetition.ofText(model);
    const from = options.from ?? null;
    this.memory = inner?.memory ?? (from === null ? this.emptyMemory() : this.memoryFrom(where, 'from', from));
  }

  /** Tokens so far, per sequence; those yielded last are among them. */
  get length(): number {
    return this.memory.length;
  }

  /** Ids of the tokens so far, of one sequence with `history`; null of others. */
  get ids(): Int32Array | null {
    return this.batch === 1 ? this.memory.ids : null;
  }

  /**
   * Ids of the tokens of one sequence that were yielded and that the state has not read yet: that of a snapshot is the one before
   * them. The next call reads them first.
   */
  get unread(): Int32Array {
    return Int32Array.from(this.memory.unread);
  }

  /**
   * What the last prompt of `generate` or `read` had from the session's `prefixCache`; null before the first one, and without a
   * cache.
   */
  get prefix(): PrefixUse | null {
    return this.prefixUse;
  }

  /** Ids of this model are below it. */
  get vocabSize(): number {
    return this.model.vocabSize;
  }

  /** Tokens that end a text of this model. */
  get stopTokens(): readonly number[] {
    return this.model.stopTokens;
  }

  /** How this model draws tokens unless the caller says otherwise. */
  get sampling(): SamplingOptions | undefined {
    return this.model.sampling;
  }

  /**
   * Reads tokens (int32 [B, T], or a list for a batch of one) and returns the logits [B, vocabulary] after the last one.
   * Several tokens go through the parallel form at once, a single one through the step form. Where the parallel form
   * throws, the session is as it was.
   */
  feed(tokens: TokenIds): Tensor {
    this.checkFree('feed');
    const ids = this.checkedIds('feed', tokens);
    const { memory, model, batch, repetition } = this;
    repetition.look();
    if (memory.unread.length > 0) memory.read('feed', model, 1, Int32Array.from(memory.unread), repetition);
    memory.read('feed', model, batch, ids, repetition);
    memory.sampler = null;
    return memory.giveLogits(batch);
  }

  /**
   * The same for long texts: in slices, with turns for everything else in this thread. Aborted, or after an error, the
   * session has read the slices before, as `length` tells.
   */
  async read(tokens: TokenIds, options: PromptOptions = {}): Promise<Tensor> {
    this.checkFree('read');
    const ids = this.checkedIds('read', tokens);
    checkOptions('read', options, PROMPT);
    checkIsSignal('read', options.signal);
    const { signal, messageEnds = [] } = options;
    checkMessageEnds('read', messageEnds, ids.length);
    return this.during('read', async () => {
      await this.readPrompt('read', ids, signal, messageEnds);
      return this.memory.giveLogits(this.batch);
    });
  }

  /**
   * Feeds a prompt in slices and yields the tokens that follow, one by one; ends when as many were yielded as asked for,
   * at a stop token, or with an ABORTED error, at the latest after the token at hand. The prompt may be empty where there
   * is something to go on from: a generation goes on as if it had not ended, also one that was aborted, and after `feed`,
   * `read`, `rollback` or `restore` the next token is the one after the last that was read.
   *
   * Of several `samples` none belongs to the conversation: they go on from copies of the state after the prompt.
   *
   * A generation whose session, or a snapshot of it, is gone on with by `resume` draws the tokens that it would have drawn.
   *
   * Everything is settled by the call: its arguments, the seed, the precision of products and the checks of values.
   *
   * On native devices most tokens of a model whose state does not grow are read by the calls that an earlier one made, with the same
   * bits in less time; so are single tokens of `feed` and `read`, and guesses. Weights that change in place count at once; a part that
   * is put in the place of another one while a text is written counts from the next call on, or once the other one's
   * tensors are disposed. The session keeps the memory between those calls, less than its state as a rule, so long as it is
   * among the last 16 of the thread that recorded any.
   */
  generate(prompt: TokenIds, options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, void, undefined> {
    const where = 'generate';
    this.checkFree(where);
    if (this.batch !== 1) throw argumentError('INVALID_ARGUMENT', where, 'ids', 'one sequence', `${this.batch}`);
    const { unread, hasLogits } = this.memory;
    const ids = this.checkedIds(where, prompt, unread.length > 0 || hasLogits);
    return this.tokens(ids, planOf(options, this.model, ids, this.memory.sampler), keepSettings());
  }

  private async *tokens(
    prompt: Int32Array,
    plan: Plan,
    settings: KeptSettings,
  ): AsyncGenerator<GeneratedToken, void, undefined> {
    const where = 'generate';
    this.checkFree(where);
    this.begin(where, settings);
    try {
      checkSignal(where, plan.signal);
      const context = plan.speculate ? this.context(prompt) : NOTHING;
      if (plan.samples === 1) yield* generate(this.conversation(where, this, plan, context), prompt, plan);
      else {
        await this.readPrompt(where, prompt, plan.signal, plan.messageEnds);
        for (let i = 0; i < plan.samples; i++) yield* this.sample(where, plan, i, context);
      }
    } finally {
      this.call = null;
    }
  }

  /** One of several texts, from a copy of the state. */
  private async *sample(
    where: string,
    plan: Plan,
    index: number,
    context: Int32Array,
  ): AsyncGenerator<GeneratedToken, void, undefined> {
    // Nobody takes anything back there.
    const { model, batch } = this;
    const fork = new Session(model, { batch }, { memory: this.memory.copy(where), reader: this.reader });
    fork.call = this.call;
    try {
      yield* generate(fork.conversation(where, this, plan, context), NOTHING, plan, index);
    } finally {
      fork.dispose();
    }
  }

  /** This session as generation sees it, so long as `owner`, the one that the caller has, lives. */
  private conversation(where: string, owner: Session, plan: Plan, context: Int32Array): Conversation {
    const { signal, messageEnds } = plan;
    const guesser =
      plan.speculate &&
      guesserOf(plan.speculate, this.model, (draft, rollbackWindow) => new Session(draft, { rollbackWindow }));
    const speculation = guesser && new Speculation(guesser, plan.speculate!.maxGuesses, context, plan);
    return {
      speculation,
      listen: async (ids) => {
        owner.memory.checkAlive(where);
        let values = ids.length === 0 && speculation ? await this.readAhead(where, speculation, signal) : null;
        if (values === null) {
          await this.readPrompt(where, ids, signal, messageEnds);
          values = await this.memory.logitValues();
        }
        owner.memory.checkAlive(where);
        checkSignal(where, signal);
        return values;
      },
      say: (id, sampler) => {
        this.memory.say(id, sampler, this.repetition);
        speculation?.heard(id);
      },
      end: () => {
        this.memory.dropAhead();
        speculation?.dispose();
      },
    };
  }

  /** What guesses may go by: the ids of a history, else those that the last generation counted, then the prompt. */
  private context(prompt: Int32Array): Int32Array {
    const { history, sampler, unread } = this.memory;
    return history ? joinIds(history.ids, unread, prompt) : joinIds(sampler?.ids ?? unread, prompt);
  }

  /** The logits after the last token, by a call that reads guesses beyond it as well; null where nothing is guessed. */
  private async readAhead(
    where: string,
    speculation: Speculation,
    signal?: AbortSignal,
  ): Promise<ArrayLike<number> | null> {
    const { memory } = this;
    if (memory.ahead) return memory.ahead.logits;
    if (memory.unread.length === 0) return null;
    if (!this.divisible(speculation.maxGuesses)) return null;
    const guesses = await speculation.guess(memory.unread.length, this.call!.settings, signal);
    if (guesses.length === 0) return null;
    await this.reader.readAhead(memory, guesses, this.callInTurns(where, signal));
    return memory.ahead!.logits;
  }

  /**
   * A copy of the present state, which `restore` takes any number of times, and which can be saved; it holds what the next
   * draw of a generation depends on, too, for `resume`.
   */
  snapshot(): Snapshot {
    return new Snapshot(this.model, this.batch, this.memory.copy('snapshot'));
  }

  /** Goes back (or forth) to a snapshot of this session or of another one of the same model and batch. */
  restore(snapshot: Snapshot): void {
    this.checkFree('restore');
    this.replace(this.memoryFrom('restore', 'snapshot', snapshot));
  }

  /** A second session that goes on from here on its own. */
  fork(): Session {
    const { model, batch, history, rollbackWindow, prefixOwner } = this;
    const prefixCache = this.prefixCache ?? undefined;
    const memory = this.memory.copy('fork');
    memory.window = this.memory.window?.copy('fork') ?? null;
    const options = { batch, history, rollbackWindow, prefixCache, prefixOwner };
    return new Session(model, options, { memory, reader: this.reader });
  }

  /**
   * Forgets the last n tokens. A fast-weight update cannot be undone. Up to `rollbackWindow` tokens the state before them
   * is still there and is taken back, whatever is behind it, in constant time; but what one call read of many tokens (a
   * `feed`, a slice of a prompt) has states before and after it only, and a snapshot that is restored brings none: the
   * window fills with what is read from then on. A fork has its own window with the same states.
   *
   * Everywhere else a session with `history` reads the tokens before the n again, by the same calls and therefore with the
   * same bits, in the time that reading everything but the n tokens takes; without a history it throws UNSUPPORTED. Aborted,
   * or after an error, the session is as it was; n = 0 puts a session right that an error left in the middle of a token.
   * What one `feed` read of many tokens is read again in one call, too: it rests, and can be aborted, between the halves of
   * a layer only; `read` such texts instead, in slices. The token yielded last goes at once, whatever the options.
   */
  async rollback(n: number, options: ReadOptions = {}): Promise<void> {
    const where = 'rollback';
    this.checkFree(where);
    checkInteger(where, 'n', n, 0, this.length);
    checkOptions(where, options, READ);
    checkIsSignal(where, options.signal);
    const { tokens, failed, unread, sampler } = this.memory;
    if (n === 0 && !failed) return;
    const keep = this.length - n;
    if (keep < tokens || failed) await this.goBack(where, Math.min(keep, tokens), options.signal);
    this.memory.leave(unread.slice(0, Math.max(0, keep - tokens)), n === 0 ? sampler : null);
  }

  /** Frees the state. */
  dispose(): void {
    this.memory.dispose();
    this.repetition.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** To the state of the first so many tokens. */
  private async goBack(where: string, tokens: number, signal?: AbortSignal): Promise<void> {
    checkSignal(where, signal);
    const back = this.memory.takeBack(tokens);
    if (back) return this.replace(back);
    const { history } = this.memory;
    if (history === null) {
      const reason = this.history
        ? 'the snapshot that was restored has no history'
        : 'this session was made without history: true';
      const window = this.rollbackWindow > 0 ? `no state of ${tokens} tokens is in the window, and ` : '';
      throw new FastWeightsError('UNSUPPORTED', `${where}: ${window}${reason}`, { argument: 'n' });
    }
    const calls = history.calls(this.batch, tokens);
    await this.during(where, () => this.readAgain(where, calls, signal));
  }

  private emptyMemory(history = this.history): Memory {
    const memory = Memory.empty(this.model, this.batch, history);
    memory.window = this.newWindow();
    return memory;
  }

  private memoryFrom(where: string, argument: string, snapshot: unknown): Memory {
    if (!(snapshot instanceof Snapshot)) {
      throw argumentError('INVALID_ARGUMENT', where, argument, 'made by snapshot()', describe(snapshot));
    }
    const memory = snapshot.memoryFor(where, argument, this.model, this.batch);
    memory.window = this.newWindow();
    if (!this.history) memory.history = null;
    return memory;
  }

  private newWindow(): RollbackWindow | null {
    return this.rollbackWindow > 0 ? new RollbackWindow(this.rollbackWindow) : null;
  }

  private async readAgain(where: string, calls: Iterable<Int32Array>, signal?: AbortSignal): Promise<void> {
    const memory = this.emptyMemory(true);
    try {
      for (const ids of calls) {
        await this.readInTurns(where, memory, ids, signal);
        await this.reader.settled(memory);
      }
      this.memory.checkAlive(where);
      checkSignal(where, signal);
      this.replace(memory);
    } catch (error) {
      memory.dispose();
      throw error;
    }
  }

  /** Reads what was said last, then ids; the logits after the last one are there. */
  private async readPrompt(
    where: string,
    ids: Int32Array,
    signal: AbortSignal | undefined,
    messageEnds: readonly number[],
  ): Promise<void> {
    // There may be nothing to read.
    this.memory.check(where, this.model);
    const { unread } = this.memory;
    if (unread.length > 0) await this.readInTurns(where, this.memory, Int32Array.from(unread), signal);
    const path = ids.length > 0 ? this.findPrefix(where, ids, messageEnds) : null;
    try {
      await this.readSlices(where, ids, path, signal);
    } finally {
      path?.end();
    }
    if (!this.memory.hasLogits) throw argumentError('INVALID_ARGUMENT', where, 'ids', 'at least one token', 'none');
  }

  private async readSlices(
    where: string,
    ids: Int32Array,
    path: PrefixPath | null,
    signal?: AbortSignal,
  ): Promise<void> {
    const { memory } = this;
    const tokens = ids.length / this.batch;
    const slice = this.divisible(tokens) ? this.slice : tokens;
    const from = path?.use.reusedTokens ?? 0;
    let at = from;
    for (const end of path?.cuts(from, slice) ?? cuts(tokens, slice)) {
      if (at > from) await this.reader.settled(memory);
      await this.readInTurns(where, memory, columns(ids, this.batch, at, end), signal);
      memory.sampler = null;
      path?.offer(memory);
      at = end;
    }
  }

  /** The way of the prompt that begins the conversation through the cache, whose state is taken where there is one. */
  private findPrefix(where: string, ids: Int32Array, messageEnds: readonly number[]): PrefixPath | null {
    const { prefixCache, memory } = this;
    if (!prefixCache) return null;
    const reason = memory.length > 0 ? 'begun' : this.divisible(ids.length) ? null : 'whole';
    if (reason) {
      this.prefixUse = { promptTokens: ids.length, matchedTokens: 0, reusedTokens: 0, reason };
      return null;
    }
    const adapter = this.model.base ? this.model.identity! : '';
    const path = prefixCache.begin(this.prefixOwner, adapter, ids, messageEnds);
    this.prefixUse = path.use;
    const found = path.take(where);
    if (!found) return path;
    found.history = memory.history;
    let at = 0;
    for (const end of path.cuts(0, this.slice)) {
      if (end > found.tokens) break;
      found.history = found.history?.append(ids.subarray(at, end)) ?? null;
      at = end;
    }
    [found.window, memory.window] = [memory.window, null];
    this.replace(found);
    return path;
  }

  /** Whether so many more tokens may be read in pieces. */
  private divisible(tokens: number): boolean {
    return this.memory.length + tokens <= (this.model.divisibleLength ?? Infinity);
  }

  /** Tokens of a long text that are read at once. */
  private get slice(): number {
    return Math.max(1, Math.floor(this.reader.slice / this.batch));
  }

  private readInTurns(where: string, memory: Memory, ids: Int32Array, signal?: AbortSignal): Promise<void> {
    return this.reader.read(memory, this.batch, ids, this.callInTurns(where, signal));
  }

  /** The call that is under way, for a read that it makes. */
  private callInTurns(where: string, signal?: AbortSignal): Call {
    // What is read may be to take the place of the session's memory.
    const atRest = (): void => {
      this.memory.checkAlive(where);
      checkSignal(where, signal);
    };
    return { ...this.call!, atRest, repetition: this.repetition };
  }

  /** Runs a call that no other may change the session in. */
  private async during<T>(where: string, run: () => Promise<T>): Promise<T> {
    this.begin(where, keepSettings());
    try {
      return await run();
    } finally {
      this.call = null;
    }
  }

  private begin(where: string, settings: KeptSettings): void {
    this.repetition.look();
    this.call = { where, settings, key: {} };
  }

  private checkFree(where: string): void {
    this.memory.checkAlive(where);
    if (this.call === null) return;
    const found = `one that ${this.call.where} is at work on`;
    throw argumentError(
      'INVALID_ARGUMENT',
      where,
      'session',
      'free; end what is under way first, or go on from a fork() between its tokens',
      found,
    );
  }

  private replace(memory: Memory): void {
    memory.replaces(this.memory, this.repetition);
    this.memory = memory;
  }

  private checkedIds(where: string, tokens: TokenIds, emptyToo = false): Int32Array {
    return checkedIds(where, tokens, this.batch, this.model.vocabSize, emptyToo);
  }
}

/** Ends of the calls that read so many tokens, with at most `slice` in each. */
function* cuts(tokens: number, slice: number): Generator<number> {
  for (let at = 0; at < tokens;) yield (at = Math.min(tokens, at + slice));
}
