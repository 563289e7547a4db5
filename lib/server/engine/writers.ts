// One writer at a time of each stored state.
import { ApiError } from '../errors';

/** Milliseconds that others wait for a writer that was broken off, and for one to hear that it was. */
const [ENDING, HEARING] = [5000, 250];
/** Milliseconds between two looks. */
const LOOK = 10;

export class Writers {
  /** The signals of those that write. */
  private readonly signals = new Map<string, AbortSignal>();

  /**
   * Makes a request the only writer of a key, when the one before it has ended that was broken off: a client that breaks off a
   * stream may ask again at once. Any other is not waited for.
   */
  async hold(key: string, signal: AbortSignal): Promise<void> {
    const began = performance.now();
    for (let writer = this.signals.get(key); writer; writer = this.signals.get(key)) {
      const longest = writer.aborted ? ENDING : HEARING;
      if (signal.aborted || performance.now() - began > longest) {
        throw new ApiError(409, 'Another request is at work on this session.', { code: 'session_busy' });
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
    this.signals.set(key, signal);
  }

  release(key: string): void {
    this.signals.delete(key);
  }
}
