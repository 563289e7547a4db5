// The loop of a batch: a tick reads a token of every text that waits for one, and between ticks prompts are read on.
import { FastWeightsError, type Tensor } from '../../core';
import { breathe, Pace } from '../../platform';
import { idsOf } from '../ids';
import type { Memory } from '../memory';
import type { RecurrentModel } from '../model';
import type { Call } from '../reader';
import { Repetition } from '../repetition';
import type { HostLogits } from '../speculation/ahead';
import type { State } from '../state';
import { inTurns } from '../turns';
import { RequestQueue, type Request, type TokenRequest } from './queue';
import { Slices } from './slices';
import { Slots } from './slots';
import { stepStages } from './step';

/** Milliseconds of prompts in a turn where no text waits for a token. */
const IDLE_TURN = 5;
/** A text that was in the last tick is waited for: for this part of a tick's time, and at the most so many milliseconds. */
const [PATIENCE, LONGEST_PATIENCE] = [0.1, 2];
/** How much the last tick counts in the time of one. */
const RECENT = 0.2;
/** Ticks of so many sizes are kept to be made again. */
const KEPT_TICKS = 8;

export interface Limits {
  /** Texts in a tick. */
  maxBatch: number;
  /** Calls that wait for their turn. */
  maxQueue: number;
}

export class Scheduler {
  readonly queue: RequestQueue;
  readonly slots: Slots;
  readonly slices: Slices;
  private readonly repetition: Repetition;
  ticks = 0;
  tokens = 0;
  /** Milliseconds that one takes, as they were lately. */
  tickTime = 0;
  private disposed = false;
  private running = false;

  constructor(
    private readonly model: RecurrentModel,
    private readonly limits: Limits,
  ) {
    this.repetition = new Repetition(model, KEPT_TICKS);
    this.slots = new Slots(model, () => this.repetition.dispose());
    this.queue = new RequestQueue(model, limits.maxQueue, (memory) => this.slots.of(memory));
    this.slices = new Slices(() => this.queue.takeSlice());
  }

  checkAlive(where: string): void {
    if (this.disposed) throw new FastWeightsError('DISPOSED', `${where}: the batch was disposed`);
  }

  /** Resolves when the ids of the request have been read. */
  read(request: Omit<Request, 'resolve' | 'reject'>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.checkAlive(request.call.where);
      this.queue.add({ ...request, resolve, reject });
      if (!this.running) void this.run();
    });
  }

  dispose(): void {
    this.disposed = true;
    if (!this.running) void this.close();
  }

  /** Goes on so long as something waits. */
  private async run(): Promise<void> {
    this.running = true;
    try {
      while (!this.disposed && (!this.queue.empty || this.slices.under)) {
        await this.gather();
        this.queue.prune();
        const ticks = this.queue.waitingTokens > 0;
        if (ticks) await this.tick();
        if (!this.disposed) await this.slices.work(ticks ? this.tickTime : IDLE_TURN);
      }
    } catch (error) {
      this.queue.fail(error);
    } finally {
      this.running = false;
    }
    if (this.disposed) await this.close();
  }

  /** Lets others have their turn; texts that then do not want another token soon leave the batch. */
  private async gather(): Promise<void> {
    const { queue, slots } = this;
    const until = performance.now() + Math.min(LONGEST_PATIENCE, PATIENCE * this.tickTime);
    do await breathe();
    while (queue.waitingTokens < slots.count && performance.now() < until);
    this.keep(queue.waiting);
  }

  /** Others leave the batch. */
  private keep(wanted: ReadonlySet<Memory>): void {
    for (const { memory } of [...this.slots.all]) {
      if (wanted.has(memory)) continue;
      try {
        memory.stand();
      } catch {
        // There may be no room for its state: whoever goes on with it will hear of it.
        memory.lose();
      }
    }
  }

  private async tick(): Promise<void> {
    const { queue, slots, model } = this;
    const start = performance.now();
    const requests = queue.takeTokens(this.limits.maxBatch).filter((request) => this.begin(request));
    this.keep(new Set(requests.map(({ memory }) => memory)));
    const seated = requests.filter((request) => this.seat(request));
    if (seated.length === 0) return;
    const rows = seated.map(({ memory }) => slots.of(memory)!.index);
    try {
      const ids = new Int32Array(seated.length);
      const models = new Array<RecurrentModel>(seated.length);
      seated.forEach((request, i) => {
        ids[rows[i]] = request.ids[0];
        models[rows[i]] = request.model;
      });
      const { values, dtype, device } = await slots.step(async (state, untouched) => {
        const { call } = seated[0];
        const again = this.repetition.read(state, ids, call.settings, { models, untouched });
        return this.onHost(again ?? (await this.step(ids, state, models, call)));
      });
      const width = model.vocabSize;
      seated.forEach((request, i) => {
        const { memory, call, resolve, reject } = request;
        const slot = slots.of(memory);
        if (slot) queue.countTick(slot);
        try {
          memory.checkAlive(call.where);
          memory.endToken(request.ids[0], {
            values: values.slice(rows[i] * width, (rows[i] + 1) * width),
            dtype,
            device,
          });
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    } catch (error) {
      for (const { memory, reject } of seated) {
        memory.failToken();
        reject(error);
      }
    }
    this.ticks++;
    this.tokens += seated.length;
    slots.fit();
    const took = performance.now() - start;
    this.tickTime += this.tickTime === 0 ? took : RECENT * (took - this.tickTime);
  }

  /** Whether it can be read; the request is refused where not. */
  private begin({ memory, call, reject }: TokenRequest): boolean {
    try {
      memory.beginToken(call.where, this.model);
      return true;
    } catch (error) {
      reject(error);
      return false;
    }
  }

  private seat({ memory, turn, reject }: TokenRequest): boolean {
    if (this.slots.of(memory)) return true;
    try {
      memory.sit((state) => this.slots.join(memory, state, turn));
      return true;
    } catch (error) {
      memory.failToken();
      reject(error);
      return false;
    }
  }

  /** The logits [B, vocabulary] after ids [B]. */
  private async step(
    ids: Int32Array,
    state: State,
    models: readonly RecurrentModel[],
    { settings }: Call,
  ): Promise<Tensor> {
    const t = idsOf(this.model, ids, [ids.length]).persist();
    try {
      const turns = { pace: new Pace(), atRest: () => {}, settings };
      return await inTurns(stepStages(this.model, t, state, models), turns);
    } finally {
      t.dispose();
    }
  }

  /** Takes logits to the host. */
  private async onHost(logits: Tensor): Promise<HostLogits> {
    logits.persist();
    try {
      return { values: await logits.data(), dtype: logits.dtype, device: logits.device };
    } finally {
      logits.dispose();
    }
  }

  /** Ends what waits; texts take their states with them. */
  private async close(): Promise<void> {
    const error = new FastWeightsError('DISPOSED', 'the batch was disposed');
    await this.slices.fail(error);
    this.queue.fail(error);
    this.keep(new Set());
    if (this.slots.count === 0) this.slots.clear();
  }
}
