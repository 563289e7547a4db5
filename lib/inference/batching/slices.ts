// Slices of prompts, of which a few stages are read between the ticks of a batch.
import { getBackend } from '../../backends';
import { breathe, Pace } from '../../platform';
import type { Request } from './queue';

/** A slice that is being read. */
class Reading {
  ended = false;
  /** Why it does not go on. */
  private failure: Error | null = null;
  private until = 0;
  private readonly pace = new Pace();
  private started = false;
  private goOn = (): void => {};
  private rested = (): void => {};

  constructor(readonly request: Request) {}

  /** Works for some milliseconds, at the least for one stage. */
  work(milliseconds: number): Promise<void> {
    this.until = performance.now() + milliseconds;
    return new Promise((resolve) => {
      this.rested = resolve;
      if (this.started) this.goOn();
      else void this.read();
      this.started = true;
    });
  }

  /** Ends it with an error. */
  async fail(error: Error): Promise<void> {
    this.failure = error;
    await this.work(0);
  }

  private async read(): Promise<void> {
    const { model, memory, ids, guesses, call, resolve, reject } = this.request;
    const atRest = (): void => {
      if (this.failure) throw this.failure;
      call.atRest();
    };
    const pace = { due: true, rest: () => this.rest() };
    // What a device has queued would hold up the next tick.
    const done = (): Promise<void> => getBackend(model.device).synchronize();
    try {
      const turns = { ...call, atRest, pace, done };
      if (guesses) await memory.readAhead(call.where, model, guesses, turns);
      else await memory.readInTurns(call.where, model, 1, ids, turns);
      // The end of it, too.
      await done();
      resolve();
    } catch (error) {
      reject(error);
    }
    this.ended = true;
    this.rested();
  }

  private async rest(): Promise<void> {
    await this.pace.rest();
    if (performance.now() < this.until) return;
    await new Promise<void>((resolve) => {
      this.goOn = resolve;
      this.rested();
    });
  }
}

/** Reads one slice at a time: that of another text comes when it has ended. */
export class Slices {
  private reading: Reading | null = null;
  /** Tokens read. */
  tokens = 0;

  constructor(private readonly next: () => Request | null) {}

  get under(): boolean {
    return this.reading !== null;
  }

  /** Ends what is being read. */
  async fail(error: Error): Promise<void> {
    await this.reading?.fail(error);
    this.reading = null;
  }

  /** Reads on for some milliseconds, and at the least one stage, where there is something to read. */
  async work(milliseconds: number): Promise<void> {
    const until = performance.now() + milliseconds;
    do {
      const request = this.reading?.request ?? this.next();
      if (!request) return;
      this.reading ??= new Reading(request);
      await this.reading.work(until - performance.now());
      if (this.reading.ended) {
        this.tokens += request.ids.length;
        this.reading = null;
        // The next slice of the same prompt takes its place in the queue.
        await breathe();
      }
    } while (performance.now() < until);
  }
}
