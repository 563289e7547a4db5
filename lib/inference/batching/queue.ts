// What waits for a turn: single tokens for the next tick, slices of prompts between ticks.
import { FastWeightsError } from '../../core';
import type { Memory } from '../memory';
import type { RecurrentModel } from '../model';
import type { Call } from '../reader';
import type { Slot } from './slots';

/** One read of a session's: a single token, or a slice of a prompt. */
export interface Request {
  /** Whose step ticks take; another one, such as that of embeddings, reads single tokens between ticks, too. */
  readonly model: RecurrentModel;
  readonly memory: Memory;
  readonly ids: Int32Array;
  /** Those of the ids that are guesses, where it reads ahead. */
  readonly guesses?: Int32Array;
  readonly call: Call;
  /** Higher ones come first. */
  readonly priority: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** One that waits for the next tick. */
export interface TokenRequest extends Request {
  /** The turn that it has: of equal priority lower ones come first. */
  turn: number;
}

/** So many ticks a text keeps its turn while others wait for a place. */
const TURN_TICKS = 32;

export class RequestQueue {
  private tokens: TokenRequest[] = [];
  private slices: Request[] = [];
  private readonly admitted = new WeakSet<object>();
  private nextTurn = 0;

  constructor(
    private readonly model: RecurrentModel,
    private readonly maxQueue: number,
    /** Of the texts in the batch. */
    private readonly slotOf: (memory: Memory) => Slot | undefined,
  ) {}

  get empty(): boolean {
    return this.tokens.length === 0 && this.slices.length === 0;
  }

  get waitingTokens(): number {
    return this.tokens.length;
  }

  get waitingSlices(): number {
    return this.slices.length;
  }

  /** Calls that wait for their turn, those of texts in the batch not counted. */
  get length(): number {
    return this.slices.length + this.tokens.filter(({ memory }) => !this.slotOf(memory)).length;
  }

  /** Puts a read in; the first one of a call only where there is room. */
  add(request: Request): void {
    const { where, key } = request.call;
    if (!this.admitted.has(key)) {
      const { length } = this;
      if (length >= this.maxQueue) {
        const expected = `fewer than ${this.maxQueue} calls that wait for their turn`;
        throw new FastWeightsError('OVERLOADED', `${where}: the batch takes ${expected}, there are ${length}`, {
          argument: 'maxQueue',
          expected,
          found: String(length),
        });
      }
      this.admitted.add(key);
    }
    if (request.ids.length > 1 || request.guesses || (request.model.base ?? request.model) !== this.model)
      this.slices.push(request);
    else this.tokens.push({ ...request, turn: this.slotOf(request.memory)?.turn ?? this.nextTurn++ });
  }

  /** Ends those whose calls have ended: aborted ones, and those of sessions that are gone. */
  prune(): void {
    this.tokens = this.tokens.filter(goesOn);
    this.slices = this.slices.filter(goesOn);
  }

  /** Ends all of them. */
  fail(error: unknown): void {
    for (const request of [...this.tokens, ...this.slices]) request.reject(error);
    this.tokens = [];
    this.slices = [];
  }

  /** Those that wait for a token. */
  get waiting(): Set<Memory> {
    return new Set(this.tokens.map(({ memory }) => memory));
  }

  /** The tokens of the next tick, at most `most`: those of one priority in the order of their turns, all with the same settings. */
  takeTokens(most: number): TokenRequest[] {
    this.tokens.sort((a, b) => b.priority - a.priority || a.turn - b.turn);
    const { key } = this.tokens[0].call.settings;
    const alike = this.tokens.filter(({ call }) => call.settings.key === key);
    const taken = new Set(alike.slice(0, most));
    this.tokens = this.tokens.filter((request) => !taken.has(request));
    return [...taken];
  }

  /** The next slice: of the highest priority the one that waits the longest. */
  takeSlice(): Request | null {
    const first = this.slices.reduce<Request | null>(
      (best, each) => (best === null || each.priority > best.priority ? each : best),
      null,
    );
    this.slices = this.slices.filter((each) => each !== first);
    return first;
  }

  /** Counts a tick of a text, whose turn ends at some time where others wait. */
  countTick(slot: Slot): void {
    if (++slot.ticks % TURN_TICKS === 0) slot.turn = this.nextTurn++;
  }
}

function goesOn({ call, reject }: Request): boolean {
  try {
    call.atRest();
    return true;
  } catch (error) {
    reject(error);
    return false;
  }
}
