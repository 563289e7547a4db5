// Many conversations with one model, which read their tokens together.
import { argumentError, checkInteger, checkOptions, describe, FastWeightsError, type OptionNames } from '../../core';
import { embed, type EmbedOptions } from '../embed';
import { joinIds } from '../ids';
import type { Memory } from '../memory';
import { checkModel, type RecurrentModel, type TokenIds } from '../model';
import type { Call, Reader } from '../reader';
import { Session } from '../session';
import type { SessionOptions } from '../sessionOptions';
import { Scheduler } from './scheduler';

/** Options of `BatchedModel`. */
export interface BatchedModelOptions {
  /** How many conversations a tick reads a token of, 64 by default. */
  maxBatch?: number;
  /**
   * How many calls may wait for their turn; one more is refused with an OVERLOADED error by its first read. 256 by default.
   * Conversations that are in the batch do not count, prompts do until they are read.
   */
  maxQueue?: number;
  /**
   * How many tokens of a prompt are read at once; 128 by default, or what the model says where that is less. The bits of an
   * answer depend on it, as on that of a model's own sessions.
   */
  promptSlice?: number;
}

const OPTIONS: OptionNames<BatchedModelOptions> = { maxBatch: true, maxQueue: true, promptSlice: true };

/** Options of `BatchedModel.createSession`. */
export interface BatchedSessionOptions extends Omit<SessionOptions, 'batch'> {
  /** Any number, 0 by default: of what waits for a turn the higher comes first, always. */
  priority?: number;
  /** The name of an adapter of the model, which the conversation then goes through; none by default. */
  adapter?: string;
}

/** Options of `BatchedModel.embed`. */
export interface BatchedEmbedOptions extends EmbedOptions {
  /** As that of a session. */
  priority?: number;
  /** As that of a session. */
  adapter?: string;
}

/** What a `BatchedModel` does at present, and has done. */
export interface BatchNumbers {
  /** Conversations in the batch: each had a token in the last tick, unless it has joined since. */
  readonly active: number;
  /** Conversations that wait for the next tick, those in the batch among them. */
  readonly waiting: number;
  /** Calls that wait for their turn, as `maxQueue` counts them. */
  readonly queued: number;
  /** Ticks so far. */
  readonly ticks: number;
  /** Tokens read by ticks. */
  readonly tokens: number;
  /** Tokens of prompts read between them. */
  readonly promptTokens: number;
  /** How often a conversation's state was copied into the batch or out of it. */
  readonly copies: number;
  /** Milliseconds that a tick takes, as they were lately; 0 before the first. */
  readonly tickMilliseconds: number;
}

/** Keeps decoding sessions at their pace, and costs little speed. */
const PROMPT_SLICE = 128;

/**
 * Continuous batching: sessions of one model whose `generate` and `read` run at once read their tokens together. Whenever
 * several of them wait for a token, one call of the model's step form reads those of all (a tick), so that the weights are
 * read from memory once for all; conversations join and leave between any two ticks. Between ticks prompts are read in slices
 * and stages, for about as long as a tick takes, one after the other within a priority. A session gets the same bits alone and in
 * any company.
 *
 * The states of the batch lie in one tensor each, in which a step changes them in place; they are copied when a conversation
 * joins (its first token after a prompt) and when it leaves (another prompt, or no token wanted in time for the next tick), not
 * between. Layers whose state cannot be joined, such as a key-value cache, are stepped for each conversation; what surrounds
 * them is still read once.
 *
 * On native devices most ticks of a model whose state does not grow make the calls of an earlier one of as many texts again, as
 * `Session.generate` does with its tokens.
 *
 * So long as nothing waits nothing runs. `dispose` it when it is done; the model stays.
 */
export class BatchedModel {
  private readonly scheduler: Scheduler;
  private readonly slice: number;

  constructor(
    /** Whose conversations they are. */
    readonly model: RecurrentModel,
    options: BatchedModelOptions = {},
  ) {
    const where = 'BatchedModel';
    checkModel(where, model);
    checkOptions(where, options, OPTIONS);
    const { maxBatch = 64, maxQueue = 256, promptSlice = PROMPT_SLICE } = options;
    this.scheduler = new Scheduler(model, {
      maxBatch: checkInteger(where, 'maxBatch', maxBatch, 1),
      maxQueue: checkInteger(where, 'maxQueue', maxQueue, 1),
    });
    this.slice = checkInteger(where, 'promptSlice', promptSlice, 1);
    if (options.promptSlice === undefined) this.slice = Math.min(PROMPT_SLICE, model.promptSlice ?? PROMPT_SLICE);
  }

  /**
   * A conversation that reads in the batch: a `Session` like those of the model, of one sequence. `feed`, which does not wait,
   * reads alone. A fork has the priority of its session. DISPOSED after `dispose`.
   */
  createSession(options: BatchedSessionOptions = {}): Session {
    const where = 'createSession';
    this.scheduler.checkAlive(where);
    const { priority = 0, adapter, ...rest } = options;
    checkPriority(where, priority);
    const model = this.modelOf(where, adapter);
    if ('batch' in rest) throw argumentError('INVALID_ARGUMENT', where, 'batch', 'left out', String(rest.batch));
    return new Session(model, rest, { reader: this.reader(model, priority) });
  }

  /** The model's `embed`, whose text is read as prompts are, between ticks. */
  async embed(ids: TokenIds, options: BatchedEmbedOptions = {}): Promise<Float32Array> {
    const { priority = 0, adapter, ...rest } = options;
    checkPriority('embed', priority);
    return embed('embed', this.modelOf('embed', adapter), ids, rest, (model) => this.reader(model, priority));
  }

  /** What it does at present, and has done so far. */
  get numbers(): BatchNumbers {
    const { queue, slots, slices, ticks, tokens, tickTime } = this.scheduler;
    return {
      active: slots.count,
      waiting: queue.waitingTokens,
      queued: queue.length,
      ticks,
      tokens,
      promptTokens: slices.tokens,
      copies: slots.copies,
      tickMilliseconds: tickTime,
    };
  }

  /**
   * Ends all calls that are under way with a DISPOSED error, at the latest after the tick at hand. The sessions can still be
   * looked at and copied, and are the caller's to dispose.
   */
  dispose(): void {
    this.scheduler.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private modelOf(where: string, adapter: string | undefined): RecurrentModel {
    const { model } = this;
    if (adapter === undefined) return model;
    if (model.withAdapter) return model.withAdapter(adapter);
    throw new FastWeightsError('UNSUPPORTED', `${where}: the model has no adapters`, { argument: 'adapter' });
  }

  private reader(model: RecurrentModel, priority: number): Reader {
    const { scheduler, slice } = this;
    return {
      slice,
      read: (memory: Memory, _batch: number, ids: Int32Array, call: Call) =>
        scheduler.read({ model, memory, ids, call, priority }),
      readAhead: (memory: Memory, guesses: Int32Array, call: Call) => {
        const ids = joinIds(memory.unread, guesses);
        return scheduler.read({ model, memory, ids, guesses, call, priority });
      },
      // It always is: ticks and slices wait for the device.
      settled: () => Promise.resolve(),
    };
  }
}

function checkPriority(where: string, priority: unknown): void {
  if (typeof priority === 'number' && !Number.isNaN(priority)) return;
  throw argumentError('INVALID_ARGUMENT', where, 'priority', 'a number', describe(priority));
}
