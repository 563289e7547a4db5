// How the tokens of a conversation are read: by the model at once, or in the company of others.
import { getBackend } from '../backends';
import type { KeptSettings } from '../ops';
import { Pace } from '../platform';
import type { Memory } from './memory';
import type { RecurrentModel } from './model';
import type { Repetition } from './repetition';

/** One call of a session's, `generate` or `read`, which reads many times. */
export interface Call {
  /** Names the function in errors. */
  readonly where: string;
  /** Those of whoever began it. */
  readonly settings: KeptSettings;
  /** Throws where the call is to end, between tokens. */
  readonly atRest: () => void;
  /** The same one in all reads of the call. */
  readonly key: object;
  /** Of the session. */
  readonly repetition?: Repetition | null;
}

export interface Reader {
  /** How many tokens of a long text, all sequences together, are read at once. */
  readonly slice: number;
  /** Reads ids [B, T] at once: several tokens in the parallel form, a single one in the step form. */
  read(memory: Memory, batch: number, ids: Int32Array, call: Call): Promise<void>;
  /** Reads what was said and not read, and guesses beyond it, into `memory.ahead`; of one sequence. */
  readAhead(memory: Memory, guesses: Int32Array, call: Call): Promise<void>;
  /** Waits for the device after such a read: what is queued beyond it could not be stopped. */
  settled(memory: Memory): Promise<unknown>;
}

/** Tokens of a prompt that are read at once, where the model does not say. */
const SLICE = 512;

/** Reads with turns for everything else in this thread. */
export class ModelReader implements Reader {
  constructor(private readonly model: RecurrentModel) {}

  get slice(): number {
    return this.model.promptSlice ?? SLICE;
  }

  async read(memory: Memory, batch: number, ids: Int32Array, call: Call): Promise<void> {
    const { where, settings, atRest, repetition } = call;
    const pace = new Pace();
    await pace.rest();
    atRest();
    const { device } = this.model;
    const done = ids.length > this.slice ? (): Promise<void> => getBackend(device).synchronize() : undefined;
    await memory.readInTurns(where, this.model, batch, ids, { pace, done, atRest, settings, repetition });
  }

  async readAhead(memory: Memory, guesses: Int32Array, call: Call): Promise<void> {
    const { where, settings, atRest, repetition } = call;
    const pace = new Pace();
    await pace.rest();
    atRest();
    await memory.readAhead(where, this.model, guesses, { pace, atRest, settings, repetition });
  }

  settled(memory: Memory): Promise<unknown> {
    return memory.logitValues();
  }
}
