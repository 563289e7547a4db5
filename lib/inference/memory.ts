// What a model remembers of the tokens it has read, and how it reads more.
import { noGrad } from '../autograd';
import { type Device, FastWeightsError, scope, Tensor } from '../core';
import { keepSettings, tensor } from '../ops';
import { History } from './history';
import { idsOf, joinIds } from './ids';
import type { Read, RecurrentModel } from './model';
import type { Repetition } from './repetition';
import type { RollbackWindow } from './rollbackWindow';
import type { SamplerState } from './samplerState';
import { Ahead, type HostLogits } from './speculation/ahead';
import { bytesOf, cloneState, deviceOf, disposeState, ownState, persistState, shareState, type State } from './state';
import { inTurns, type ReadTurns } from './turns';

/** A place among the states of a batch, which steps them together. */
export interface Seat {
  readonly bytes: number;
  readonly device: Device;
  /** The state so far, which whoever gets it may not change in place before `ownState`. */
  copy(): State;
  /** The state for whoever gets it; the place is free. */
  leave(): State;
  /** Nobody wants the state any more; the place is free. */
  abandon(): void;
}

export class Memory {
  /** Where a batch has the state, and `state` is none. */
  private seat: Seat | null = null;
  private disposed = false;
  /** Whether copies may lie in the same memory as this state. */
  private shared = true;
  /** Whether the state was handed out, to someone who may change it. */
  private exposed = false;
  /** Why the state is not that of whole tokens: one is being read, or an error came on the way. */
  private partly: 'now' | 'failed' | null = null;
  /** Tokens that were yielded and have not been read: the last one, and others before it where guesses were wrong. */
  unread: readonly number[] = [];
  /** What was read of them and of guesses beyond them. */
  ahead: Ahead | null = null;
  /** What there is after the last token read; of several sequences until given away. */
  private last: Tensor | HostLogits | null = null;
  /** Of the generation that yielded the last token; null where the last token came in another way. */
  sampler: SamplerState | null = null;
  /** The states before this one; copies have none. */
  window: RollbackWindow | null = null;

  /** Owns the state. */
  constructor(
    public state: State,
    /** Tokens read, per sequence. */
    public tokens: number,
    /** null where the ids are not kept, or were not from the first token on. */
    public history: History | null,
  ) {
    persistState(state);
  }

  /** Of no token. */
  static empty(model: RecurrentModel, batch: number, history: boolean): Memory {
    const state = noGrad(() => model.initialState(batch));
    return new Memory(state, 0, history ? History.empty() : null);
  }

  /** [1, vocabulary] after the last token read, for generation to go on from; of several sequences until given away. */
  get logits(): Tensor | null {
    if (this.last !== null && !(this.last instanceof Tensor)) {
      const { values, dtype, device } = this.last;
      this.last = noGrad(() => tensor(values, { shape: [1, values.length], dtype, device }).persist());
    }
    return this.last;
  }

  set logits(logits: Tensor | null) {
    this.last = logits;
  }

  get hasLogits(): boolean {
    return this.last !== null;
  }

  /** Waits for those of one text. */
  async logitValues(): Promise<ArrayLike<number>> {
    return this.last instanceof Tensor ? this.last.data() : this.last!.values;
  }

  /** Tokens so far, per sequence; those that have not been read are among them. */
  get length(): number {
    return this.tokens + this.unread.length;
  }

  /** Ids of the tokens so far, of one sequence; null where they are not kept. */
  get ids(): Int32Array | null {
    if (!this.history) return null;
    const ids = new Int32Array(this.length);
    ids.set(this.history.marked.map((id) => (id < 0 ? ~id : id)));
    ids.set(this.unread, this.tokens);
    return ids;
  }

  /** Whether an error left the state in the middle of a token. */
  get failed(): boolean {
    return this.partly === 'failed';
  }

  /** Of the tensors and of the ids that are kept, whoever shares them. */
  get bytes(): number {
    const ids = (this.history?.marked.byteLength ?? 0) + (this.sampler?.ids.byteLength ?? 0);
    return (this.seat?.bytes ?? bytesOf(this.state)) + this.logitBytes + ids;
  }

  private get logitBytes(): number {
    return this.last === null || this.last instanceof Tensor ? bytesOf(this.last) : this.last.values.byteLength;
  }

  /** Copies nothing yet: the one of the two that reads a single token first moves to memory of its own. */
  copy(where: string): Memory {
    this.check(where);
    const copy = this.copyWith(this.copyState());
    this.shared = true;
    return copy;
  }

  /** A copy in other memory: this state stays where it is while single tokens are read. */
  private copyApart(): Memory {
    this.own();
    return this.copyWith(cloneState(this.state));
  }

  private copyWith(state: State): Memory {
    const copy = new Memory(state, this.tokens, this.history);
    copy.unread = this.unread;
    copy.sampler = this.sampler;
    copy.last = this.last instanceof Tensor ? shareState(this.last) : this.last;
    return copy;
  }

  private copyState(): State {
    if (this.seat) return this.seat.copy();
    return this.exposed ? cloneState(this.state) : shareState(this.state);
  }

  /** Gives the state to a batch, which steps it from now on. */
  sit(take: (state: State) => Seat): void {
    this.seat = take(this.state);
    this.state = null;
  }

  /** Takes the state back from a batch. */
  stand(): void {
    if (!this.seat) return;
    this.state = this.seat.leave();
    this.seat = null;
    this.shared = true;
  }

  /** Where a batch could not give the state back. */
  lose(): void {
    this.seat?.abandon();
    this.seat = null;
    this.partly = 'failed';
  }

  /** The state for someone who may change it, in memory of its own from now on. */
  expose(): State {
    if (!this.disposed) this.own();
    this.exposed = true;
    return this.state;
  }

  /** Makes the state one that may change in place. */
  private own(): void {
    this.stand();
    if (!this.shared) return;
    this.state = ownState(this.state);
    this.shared = false;
  }

  dispose(): void {
    this.disposed = true;
    this.seat?.abandon();
    this.seat = null;
    disposeState(this.state);
    this.dropAhead();
    this.forgetLogits();
    this.window?.dispose();
  }

  /** The memory of the first so many tokens, where the window has it; the window goes over to it. */
  takeBack(tokens: number): Memory | null {
    const back = this.window?.takeBack(tokens) ?? null;
    if (back) [back.window, this.window] = [this.window, null];
    return back;
  }

  /** Reads ids [B, T] with one call of the model: several tokens in the parallel form, a single one in the step form. */
  read(where: string, model: RecurrentModel, batch: number, ids: Int32Array, repetition: Repetition | null): void {
    const oneToken = ids.length === batch;
    this.begin(where, model, oneToken);
    this.stand();
    if (oneToken && this.readAgain(ids, batch, { repetition, settings: keepSettings() })) return;
    const result = noGrad(() =>
      scope(() => {
        const t = idTensor(model, batch, ids);
        if (t.ndim !== 1) return model.prefill(t, this.state);
        // A step changes the state in place.
        this.own();
        this.partly = 'failed';
        return { logits: model.step(t, this.state), state: this.state };
      }),
    );
    this.take(ids, batch, result, repetition);
  }

  private begin(where: string, model: RecurrentModel, oneToken: boolean): void {
    this.check(where, model);
    this.window?.keep(oneToken && !this.seat ? this.copyApart() : this.copy(where));
  }

  /** Before a batch reads a token. */
  beginToken(where: string, model: RecurrentModel): void {
    this.begin(where, model, true);
    this.partly = 'now';
  }

  /** When a batch has read the token. */
  endToken(id: number, logits: HostLogits): void {
    this.count(Int32Array.of(id), 1, logits);
  }

  /** When an error came in a batch. */
  failToken(): void {
    this.partly = 'failed';
  }

  /** The same with turns for others on the way; what `turns.atRest` throws comes between tokens. */
  async readInTurns(
    where: string,
    model: RecurrentModel,
    batch: number,
    ids: Int32Array,
    turns: ReadTurns,
  ): Promise<void> {
    const { repetition = null } = turns;
    if (!model.stages) return turns.settings(() => this.read(where, model, batch, ids, repetition));
    const oneToken = ids.length === batch;
    this.begin(where, model, oneToken);
    this.stand();
    if (oneToken ? this.readAgain(ids, batch, turns) : this.readSaidAgain(model, ids, turns)) return;
    const t = idTensor(model, batch, ids).persist();
    let read: Read;
    try {
      if (oneToken) {
        this.own();
        this.partly = 'now';
      }
      const atRest = (): void => {
        this.checkAlive(where);
        // A state that changes in place is not left between two layers.
        if (!oneToken) turns.atRest();
      };
      read = await inTurns(model.stages(t, this.state), { ...turns, atRest });
    } catch (error) {
      if (this.partly === 'now') this.partly = 'failed';
      throw error;
    } finally {
      t.dispose();
    }
    if (this.disposed) disposeState(read);
    this.checkAlive(where);
    this.take(ids, batch, read, repetition);
  }

  /** Whether a single token was read as one before it. */
  private readAgain(
    ids: Int32Array,
    batch: number,
    { repetition, settings }: Pick<ReadTurns, 'repetition' | 'settings'>,
  ): boolean {
    if (!repetition) return false;
    const untouched = !this.shared;
    this.own();
    this.partly = 'failed';
    const logits = repetition.read(this.state, ids, settings, { untouched });
    this.partly = null;
    if (logits) this.take(ids, batch, { logits, state: this.state }, repetition);
    return logits !== null;
  }

  /** Whether several tokens that were said, behind guesses that were wrong, were read as so many before. */
  private readSaidAgain(model: RecurrentModel, ids: Int32Array, { repetition, settings }: ReadTurns): boolean {
    if (this.unread.length !== ids.length || !model.verifyStages) return false;
    const read = repetition?.verify(this.state, ids, 1, settings);
    if (!read) return false;
    const logits = noGrad(() => read.logits.squeeze(1));
    this.take(ids, 1, { logits, state: read.state }, repetition!);
    read.logits.dispose();
    return true;
  }

  /**
   * Reads what is unread and guesses beyond it with one call of the model, into `ahead`: the state stays as it is. Only where the
   * model has `verifyStages`.
   */
  async readAhead(where: string, model: RecurrentModel, guesses: Int32Array, turns: ReadTurns): Promise<void> {
    this.check(where, model);
    this.stand();
    const ids = joinIds(this.unread, guesses);
    const again = turns.repetition?.verify(this.state, ids, guesses.length + 1, turns.settings);
    if (again) {
      await this.lookAhead(again, guesses);
      return this.checkAlive(where);
    }
    const t = idTensor(model, 1, ids, true).persist();
    const atRest = (): void => {
      this.checkAlive(where);
      turns.atRest();
    };
    try {
      const read = await inTurns(model.verifyStages!(t, this.state, guesses.length + 1), { ...turns, atRest });
      await this.lookAhead(read, guesses);
    } finally {
      t.dispose();
    }
    this.checkAlive(where);
  }

  private async lookAhead(read: Read, guesses: Int32Array): Promise<void> {
    const ahead = await Ahead.of(read, guesses);
    if (this.disposed) ahead.dispose();
    else this.ahead = ahead;
  }

  /** Takes over a token of the model's own before it is read; `sampler` is that of its generation. */
  say(id: number, sampler: SamplerState, repetition: Repetition): void {
    this.unread = [...this.unread, id];
    this.sampler = sampler;
    const { ahead } = this;
    if (!ahead?.heard(id)) return this.dropAhead();
    if (!ahead.done) return;
    this.ahead = null;
    this.window?.keep(this.copy('generate'));
    this.take(Int32Array.from(this.unread), 1, { state: ahead.state, logits: ahead.last }, repetition);
  }

  /** Forgets what was read of guesses. */
  dropAhead(): void {
    this.ahead?.dispose();
    this.ahead = null;
  }

  /** Puts others in the place of the tokens that have not been read. */
  leave(unread: readonly number[], sampler: SamplerState | null): void {
    this.unread = unread;
    this.sampler = sampler;
  }

  /** The logits after the last token for the caller, [B, vocabulary]; one sequence keeps its own. */
  giveLogits(batch: number): Tensor {
    const logits = this.logits!;
    if (batch === 1) return noGrad(() => logits.clone());
    const given = logits.detach();
    logits.dispose();
    this.logits = null;
    return given;
  }

  private take(
    ids: Int32Array,
    batch: number,
    { logits, state }: { logits: Tensor | HostLogits; state: State },
    repetition: Repetition | null,
  ): void {
    if (state !== this.state) {
      persistState(state);
      if (repetition?.settle(this.state, state)) disposeState(state);
      else {
        disposeState(this.state);
        this.state = state;
        // It may hold parts of the one before as they were.
        this.shared = true;
      }
    }
    this.count(ids, batch, logits instanceof Tensor ? logits.persist() : logits);
  }

  /** Comes in the place of another one of the same session, which is gone then. */
  replaces(other: Memory, repetition: Repetition): void {
    if (!other.seat && repetition.settle(other.state, this.state)) {
      disposeState(this.state);
      [this.state, other.state, this.shared] = [other.state, null, false];
    }
    other.dispose();
  }

  private count(ids: Int32Array, batch: number, logits: Tensor | HostLogits): void {
    this.partly = null;
    this.unread = [];
    this.forgetLogits();
    this.last = logits;
    this.history = this.history?.append(ids) ?? null;
    this.tokens += ids.length / batch;
    this.window?.moveTo(this.tokens);
  }

  private forgetLogits(): void {
    if (this.last instanceof Tensor) this.last.dispose();
  }

  checkAlive(where: string): void {
    if (this.disposed) throw new FastWeightsError('DISPOSED', `${where}: the session was disposed`);
  }

  /** Requires a state of whole tokens, on the model's device. */
  check(where: string, model?: RecurrentModel): void {
    this.checkAlive(where);
    if (this.partly !== null) {
      const message = this.failed
        ? 'an error came while a token was read; restore() a snapshot, or rollback(0) where there is a history or a window'
        : 'a token is being read, which changes the state in place; call again when it has been read';
      throw new FastWeightsError('INVALID_ARGUMENT', `${where}: ${message}`, { argument: 'session' });
    }
    if (!model) return;
    const { device } = model;
    const lies = this.seat?.device ?? deviceOf(this.state) ?? device;
    if (lies === device) return;
    const message = `${where}: the session's state is on '${lies}', but its model was moved to '${device}'; make a new one`;
    throw new FastWeightsError('DEVICE', message, { argument: 'session', expected: device, found: lies });
  }
}

/** [B] for one token of each sequence, else, or where `several` is said, [B, T]. */
function idTensor(model: RecurrentModel, batch: number, ids: Int32Array, several = ids.length > batch): Tensor {
  return idsOf(model, ids, several ? [batch, ids.length / batch] : [batch]);
}
