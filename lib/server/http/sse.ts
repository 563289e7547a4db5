// Server-sent events: an answer that is written while it is made.

/** One event; OpenAI's older streams have data only, /v1/responses names its events. */
export function frame(data: unknown, event?: string): string {
  const name = event === undefined ? '' : `event: ${event}\n`;
  return `${name}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
}

/** What ends a stream of completions. */
export const DONE = frame('[DONE]');

export interface StreamEnds {
  /** Everything was written. */
  closed(): void;
  /** The client has gone. */
  cancelled(): void;
}

/**
 * An answer of pieces of text, each asked for when the client has taken the one before. What fails before the first of them is
 * thrown, so that it has its status; once the answer has begun, failures must be part of it: `pieces` throws none.
 */
export async function eventStream(pieces: AsyncGenerator<string>, ends: StreamEnds): Promise<Response> {
  const encoder = new TextEncoder();
  let first: IteratorResult<string> | null = await pieces.next();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = first ?? (await pieces.next());
      first = null;
      if (!piece.done) return controller.enqueue(encoder.encode(piece.value));
      ends.closed();
      controller.close();
    },
    cancel() {
      ends.cancelled();
      // Its own end waits for the thread of the model, which has been told.
      void pieces.return(undefined);
    },
  });
  return new Response(stream, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      // nginx would keep pieces back.
      'x-accel-buffering': 'no',
    },
  });
}

/** Several generators as one, in the order in which they give something; `most` of them are at work at the same time. */
export async function* merge<T>(sources: readonly AsyncGenerator<T>[], most = sources.length): AsyncGenerator<T> {
  if (sources.length === 1) {
    yield* sources[0];
    return;
  }
  const next = (source: AsyncGenerator<T>): Promise<{ source: AsyncGenerator<T>; result: IteratorResult<T> }> =>
    source.next().then((result) => ({ source, result }));
  const waiting = [...sources];
  const pending = new Map(waiting.splice(0, most).map((source) => [source, next(source)]));
  try {
    while (pending.size > 0) {
      const { source, result } = await Promise.race(pending.values());
      if (!result.done) {
        pending.set(source, next(source));
        yield result.value;
        continue;
      }
      pending.delete(source);
      const follower = waiting.shift();
      if (follower) pending.set(follower, next(follower));
    }
  } finally {
    for (const [source, step] of pending) {
      step.catch(() => undefined);
      void source.return(undefined).catch(() => undefined);
    }
  }
}
