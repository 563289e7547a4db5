// A conversation with a model: a state that tokens are fed into, and ways to copy it and to go back.
import { noGrad } from '../autograd';
import { argumentError, checkInteger, describe, FastWeightsError, formatShape, scope, Tensor } from '../core';
import { tensor } from '../ops';
import { generate, type GeneratedToken, type GenerateOptions } from './generate';
import type { RecurrentModel, TokenIds } from './model';
import type { SamplingOptions } from './sampling';
import { checkStateLike, cloneState, deviceOf, disposeState, persistState, type State } from './state';

/** The calls of `feed` that led to a state, last one first. */
interface Fed {
  readonly ids: Int32Array;
  readonly before: Fed | null;
}

/** A copy of a session's state; `dispose` frees it. */
export class Snapshot {
  /** @internal */
  constructor(
    /** The class of the model whose state it is: those of two families may look alike. */
    readonly family: unknown,
    readonly state: State,
    readonly fed: Fed | null,
    readonly length: number,
  ) {}

  dispose(): void {
    disposeState(this.state);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Reads tokens for a batch of sequences and keeps what the model remembers of them. A fast-weight state takes the same
 * memory at every length; a key-value cache grows with it, or with its window. The session owns its state: `dispose` it.
 */
export class Session {
  private fed: Fed | null = null;
  private tokens = 0;
  private state: State;

  constructor(
    private readonly model: RecurrentModel,
    /** Number of sequences. */
    readonly batch = 1,
    /** Whether `rollback` is wanted; it keeps the ids of all tokens read, 4 bytes and a list entry for each. */
    private readonly history = true,
  ) {
    checkInteger('createSession', 'batch', batch, 1);
    if (typeof history !== 'boolean') {
      throw argumentError('INVALID_ARGUMENT', 'createSession', 'history', 'true or false', describe(history));
    }
    this.state = persistState(noGrad(() => model.initialState(batch)));
  }

  /** Tokens read so far, per sequence. */
  get length(): number {
    return this.tokens;
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
   * Several tokens go through the parallel form, a single one through the step form.
   */
  feed(tokens: TokenIds): Tensor {
    return this.read(this.checkedIds('feed', tokens));
  }

  /** Feeds a prompt and yields the tokens that follow, one by one; the session goes on behind the last one read. */
  generate(prompt: TokenIds, options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, void, undefined> {
    return generate(this, this.checkedIds('generate', prompt), options);
  }

  /** A copy of the present state, which `restore` takes any number of times. */
  snapshot(): Snapshot {
    return new Snapshot(this.model.constructor, cloneState(this.state), this.fed, this.tokens);
  }

  /** Goes back (or forth) to a snapshot of this session or of another one of the same model and batch. */
  restore(snapshot: Snapshot): void {
    if (!(snapshot instanceof Snapshot)) {
      throw argumentError('INVALID_ARGUMENT', 'restore', 'snapshot', 'made by snapshot()', describe(snapshot));
    }
    const { batch, model } = this;
    if (snapshot.family !== model.constructor) {
      throw argumentError(
        'INVALID_ARGUMENT',
        'restore',
        'snapshot',
        "of the session's family",
        'one of another family',
      );
    }
    noGrad(() => scope(() => checkStateLike('restore', 'snapshot', snapshot.state, model.initialState(batch))));
    this.replace(cloneState(snapshot.state));
    this.fed = snapshot.fed;
    this.tokens = snapshot.length;
  }

  /** A second session that goes on from here on its own. */
  fork(): Session {
    const other = new Session(this.model, this.batch, this.history);
    other.replace(cloneState(this.state));
    other.fed = this.fed;
    other.tokens = this.tokens;
    return other;
  }

  /**
   * Forgets the last n tokens. A fast-weight update cannot be undone, so the tokens before them are read again, by the
   * same calls and therefore with the same bits: no memory is kept for it but the ids, and the time is that of reading
   * everything but the n tokens. Where going back is frequent, `snapshot` and `restore` cost one copy of the state.
   */
  rollback(n: number): void {
    checkInteger('rollback', 'n', n, 0, this.tokens);
    if (n === 0) return;
    if (!this.history) {
      throw new FastWeightsError('UNSUPPORTED', 'rollback: this session was made without history', { argument: 'n' });
    }
    const { batch } = this;
    let keep = this.tokens - n;
    const calls: Int32Array[] = [];
    for (let call = this.fed; call; call = call.before) calls.push(call.ids);
    this.replace(noGrad(() => this.model.initialState(batch)));
    this.fed = null;
    this.tokens = 0;
    while (keep > 0) {
      const ids = calls.pop()!;
      const T = ids.length / batch;
      this.read(keep < T ? ids.filter((_, i) => i % T < keep) : ids).dispose();
      keep -= T;
    }
  }

  /** Frees the state. */
  dispose(): void {
    disposeState(this.state);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private read(ids: Int32Array): Tensor {
    const { batch, model } = this;
    const T = ids.length / batch;
    const { device } = model;
    const lies = deviceOf(this.state) ?? device;
    if (lies !== device) {
      const message = `feed: the session's state is on '${lies}', but its model was moved to '${device}'; make a new one`;
      throw new FastWeightsError('DEVICE', message, { argument: 'session', expected: device, found: lies });
    }
    const logits = noGrad(() =>
      scope(() => {
        const on = (shape: number[]): Tensor => tensor(ids, { shape, dtype: 'int32', device });
        if (T === 1) return model.step(on([batch]), this.state);
        const { logits, state } = model.prefill(on([batch, T]), this.state);
        this.replace(state);
        return logits;
      }),
    );
    if (this.history) this.fed = { ids, before: this.fed };
    this.tokens += T;
    return logits;
  }

  private replace(state: State): void {
    persistState(state);
    disposeState(this.state);
    this.state = state;
  }

  private checkedIds(where: string, tokens: TokenIds): Int32Array {
    const { batch, model } = this;
    const shape = tokens instanceof Tensor ? tokens.shape : [1, tokens?.length];
    if (tokens instanceof Tensor && tokens.dtype !== 'int32') {
      throw argumentError('DTYPE', where, 'ids', 'int32', tokens.dtype);
    }
    if (shape.length !== 2 || shape[0] !== batch || typeof shape[1] !== 'number') {
      const found = typeof shape[1] === 'number' ? formatShape(shape) : describe(tokens);
      throw argumentError('SHAPE', where, 'ids', `[${batch}, T]${batch === 1 ? ' or a list of numbers' : ''}`, found);
    }
    if (shape[1] === 0) throw argumentError('INVALID_ARGUMENT', where, 'ids', 'at least one token', 'none');
    const values = tokens instanceof Tensor ? tokens.dataSync() : tokens;
    return Int32Array.from(values, (id, i) => checkInteger(where, `ids[${i}]`, id, 0, model.vocabSize - 1));
  }
}
