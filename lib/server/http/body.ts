// Bodies of requests: so long, in time, and of a form that is known.
import type { Context } from 'hono';
import { ApiError } from '../errors';
import type { Bodies } from './bodies';
import type { Body, Form } from './forms';

/** Where bodies are read, and what bounds them. */
export interface Reading {
  bodies: Bodies;
  maxBytes: number;
  signal: AbortSignal;
}

/** The body of at most so many bytes, which comes before the request is broken off. */
export async function readBody<F extends Form>(c: Context, form: F, reading: Reading): Promise<Body<F>> {
  const type = c.req.header('content-type') ?? '';
  // A page of another origin could send anything else without asking first.
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new ApiError(415, "Unsupported content type: send the body as 'application/json'.", {
      code: 'unsupported_content_type',
    });
  }
  const late = brokenOff(reading.signal);
  try {
    const bytes = await readBytes(c, reading.maxBytes, late.promise);
    return await Promise.race([reading.bodies.read(form, bytes), late.promise]);
  } finally {
    late.forget();
  }
}

async function readBytes(c: Context, maxBytes: number, late: Promise<never>): Promise<Uint8Array> {
  const tooLong = (): ApiError =>
    new ApiError(413, `The body of a request may have at most ${maxBytes} bytes.`, { code: 'request_too_large' });
  if (Number(c.req.header('content-length') ?? 0) > maxBytes) throw tooLong();
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = c.req.raw.body?.getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined;
  try {
    for (;;) {
      const part = (await Promise.race([reader?.read(), late]))?.value;
      if (!part) break;
      length += part.length;
      if (length > maxBytes) throw tooLong();
      parts.push(part);
    }
  } catch (error) {
    void reader?.cancel().catch(() => undefined);
    throw error;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Fails when the request is: one whose time is over before its body is there has status 408. */
function brokenOff(signal: AbortSignal): { promise: Promise<never>; forget(): void } {
  let forget = (): void => undefined;
  const promise = new Promise<never>((_, reject) => {
    const abort = (): void => {
      const reason: unknown = signal.reason;
      const late = reason instanceof ApiError && reason.status === 504;
      const message = 'The body of the request did not come in time.';
      reject(late ? new ApiError(408, message, { code: 'request_timeout' }) : (reason as Error));
    };
    forget = () => signal.removeEventListener('abort', abort);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
  });
  promise.catch(() => undefined);
  return { promise, forget };
}
