// What a model remembers of the tokens it has read, and how it reads more.
import { noGrad } from '../autograd';
import { FastWeightsError, scope, type Tensor } from '../core';
import { tensor } from '../ops';
import { History } from './history';
import type { Read, RecurrentModel } from './model';
import { cloneState, deviceOf, disposeState, persistState, type State } from './state';
import { inTurns, type Turns } from './turns';

export class Memory {
  private disposed = false;
  /** Why the state is not that of whole tokens: one is being read, or an error came on the way. */
  private partly: 'now' | 'failed' | null = null;

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

  copy(where: string): Memory {
    this.check(where);
    return new Memory(cloneState(this.state), this.tokens, this.history);
  }

  dispose(): void {
    this.disposed = true;
    disposeState(this.state);
  }

  /** Reads ids [B, T] with one call of the model: several tokens in the parallel form, a single one in the step form. */
  read(where: string, model: RecurrentModel, batch: number, ids: Int32Array): Tensor {
    this.check(where, model);
    this.partly = 'failed';
    const { logits, state } = noGrad(() =>
      scope(() => {
        const t = idTensor(model, batch, ids);
        return t.ndim === 1 ? { logits: model.step(t, this.state), state: this.state } : model.prefill(t, this.state);
      }),
    );
    this.take(ids, batch, state);
    return logits;
  }

  /** The same with turns for others on the way; what `turns.atRest` throws comes between tokens. */
  async readInTurns(
    where: string,
    model: RecurrentModel,
    batch: number,
    ids: Int32Array,
    turns: Turns,
  ): Promise<Tensor> {
    if (!model.stages) return turns.settings(() => this.read(where, model, batch, ids));
    this.check(where, model);
    const t = idTensor(model, batch, ids).persist();
    const oneToken = t.ndim === 1;
    let read: Read;
    this.partly = 'now';
    try {
      const atRest = (): void => {
        this.checkAlive(where);
        // A state that changes in place is not left between two layers.
        if (!oneToken) turns.atRest();
      };
      read = await inTurns(model.stages(t, this.state), { ...turns, atRest });
    } catch (error) {
      this.partly = oneToken ? 'failed' : null;
      throw error;
    } finally {
      t.dispose();
    }
    if (this.disposed) disposeState(read);
    this.checkAlive(where);
    this.take(ids, batch, read.state);
    return read.logits.persist();
  }

  private take(ids: Int32Array, batch: number, state: State): void {
    this.partly = null;
    if (state !== this.state) {
      persistState(state);
      disposeState(this.state);
      this.state = state;
    }
    this.history = this.history?.append(ids) ?? null;
    this.tokens += ids.length / batch;
  }

  checkAlive(where: string): void {
    if (this.disposed) throw new FastWeightsError('DISPOSED', `${where}: the session was disposed`);
  }

  /** Requires a state of whole tokens, on the model's device. */
  private check(where: string, model?: RecurrentModel): void {
    this.checkAlive(where);
    if (this.partly !== null) {
      const remedy = 'restore() a snapshot, or rollback() where there is a history';
      const message =
        this.partly === 'now' ? 'a token is being read' : `an error came while a token was read; ${remedy}`;
      throw new FastWeightsError('INVALID_ARGUMENT', `${where}: ${message}`, { argument: 'session' });
    }
    if (!model) return;
    const { device } = model;
    const lies = deviceOf(this.state) ?? device;
    if (lies === device) return;
    const message = `${where}: the session's state is on '${lies}', but its model was moved to '${device}'; make a new one`;
    throw new FastWeightsError('DEVICE', message, { argument: 'session', expected: device, found: lies });
  }
}

/** [B] for one token of each sequence, else [B, T]. */
function idTensor(model: RecurrentModel, batch: number, ids: Int32Array): Tensor {
  const shape = ids.length === batch ? [batch] : [batch, ids.length / batch];
  return tensor(ids, { shape, dtype: 'int32', device: model.device });
}
