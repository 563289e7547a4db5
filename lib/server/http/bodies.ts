// Bodies read beside the thread of HTTP where they are long, so that the answers of others do not wait for them.
import { startThread, type Thread } from '../../platform';
import { ApiError, fromWire } from '../errors';
import type { BodyAnswer, BodyRequest } from './bodyThread';
import { type Body, type Form, readForm } from './forms';

/** Bytes of a body that is read in a millisecond or two. */
export const SHORT_BODY = 64 * 2 ** 10;

interface Waiting {
  done(body: unknown): void;
  fail(error: unknown): void;
}

/** The thread begins with the first long body, and again with the next one where it has died. */
export class Bodies {
  private thread: Thread | null = null;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;

  /** Refuses what is no JSON, and what its form has not. */
  async read<F extends Form>(form: F, bytes: Uint8Array): Promise<Body<F>> {
    if (bytes.length <= SHORT_BODY) return readForm(form, bytes);
    const id = this.nextId++;
    return new Promise<Body<F>>((done, fail) => {
      this.waiting.set(id, { done: (body) => done(body as Body<F>), fail });
      this.post({ id, form, bytes });
    });
  }

  /** Ends the thread. */
  dispose(): void {
    void this.thread?.end();
  }

  private post(request: BodyRequest): void {
    this.thread ??= startThread('server/http/bodyThread', null, {
      message: (message) => this.hear(message as BodyAnswer),
      ended: (error) => this.died(error),
    });
    this.thread.post(request);
  }

  private hear(answer: BodyAnswer): void {
    const waiting = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if ('error' in answer) waiting?.fail(fromWire(answer.error));
    else waiting?.done(answer.body);
  }

  private died(cause: unknown): void {
    this.thread = null;
    const message = 'The server lost this request while it read its body.';
    const lost = new ApiError(503, message, { code: 'body_lost', retryAfter: 1, cause });
    for (const { fail } of this.waiting.values()) fail(lost);
    this.waiting.clear();
  }
}
