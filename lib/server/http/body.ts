// Bodies of requests: so long, so deep, JSON, and of a form that is known.
import type { Context } from 'hono';
import type { z } from 'zod';
import { ApiError, type ApiErrorDetails, invalid, unsupported } from '../errors';

/** Deeper nesting than that of any request. */
const DEEPEST = 100;

/** The JSON value of a body of at most so many bytes, which comes before the request is broken off. */
export async function readBody(c: Context, maxBytes: number, signal: AbortSignal): Promise<unknown> {
  const type = c.req.header('content-type') ?? '';
  // A page of another origin could send anything else without asking first.
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new ApiError(415, "Unsupported content type: send the body as 'application/json'.", {
      code: 'unsupported_content_type',
    });
  }
  const text = await readText(c, maxBytes, signal);
  checkDepth(text);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ApiError(400, `We could not parse the JSON body of your request: ${reason}`, { code: 'invalid_json' });
  }
}

async function readText(c: Context, maxBytes: number, signal: AbortSignal): Promise<string> {
  const tooLong = (): ApiError =>
    new ApiError(413, `The body of a request may have at most ${maxBytes} bytes.`, { code: 'request_too_large' });
  if (Number(c.req.header('content-length') ?? 0) > maxBytes) throw tooLong();
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = c.req.raw.body?.getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined;
  const late = brokenOff(signal);
  try {
    for (;;) {
      const part = (await Promise.race([reader?.read(), late.promise]))?.value;
      if (!part) break;
      length += part.length;
      if (length > maxBytes) throw tooLong();
      parts.push(part);
    }
  } catch (error) {
    void reader?.cancel().catch(() => undefined);
    throw error;
  } finally {
    late.forget();
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ApiError(400, 'We could not parse the JSON body of your request: it is no UTF-8.', {
      code: 'invalid_json',
    });
  }
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

/** Templates and schemas go through values by recursion. */
function checkDepth(text: string): void {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (quoted) {
      if (code === 92) i++;
      else if (code === 34) quoted = false;
    } else if (code === 34) quoted = true;
    else if (code === 123 || code === 91) {
      if (++depth > DEEPEST) throw invalid(null, `The body is nested deeper than ${DEEPEST}.`, 'invalid_json');
    } else if (code === 125 || code === 93) depth--;
  }
}

/** A body of a known form; `refused` are parameters that OpenAI knows and this server does not act on, and why. */
export function parse<S extends z.ZodType>(
  schema: S,
  body: unknown,
  refused: Readonly<Record<string, string>> = {},
): z.output<S> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalid(null, 'The body must be a JSON object.', 'invalid_type');
  }
  for (const [name, reason] of Object.entries(refused)) {
    const value: unknown = Object.hasOwn(body, name) ? (body as Record<string, unknown>)[name] : undefined;
    if (value !== undefined && value !== null) throw unsupported(name, reason);
  }
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw issueError(result.error.issues[0], body);
}

type Issue = z.core.$ZodIssue;

/** The first thing that is wrong, in OpenAI's words. */
function issueError(issue: Issue, body: unknown): ApiError {
  const path = pathOf(issue.path);
  const error = (message: string, details: ApiErrorDetails): ApiError => new ApiError(400, message, details);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const param = pathOf([...issue.path, issue.keys[0]]);
      return error(`Unknown parameter: '${param}'.`, { param, code: 'unknown_parameter' });
    }
    case 'invalid_type': {
      const found = valueAt(body, issue.path);
      if (found === undefined) {
        return error(`Missing required parameter: '${path}'.`, { param: path, code: 'missing_required_parameter' });
      }
      const expected = issue.expected === 'record' ? 'object' : issue.expected;
      const message = `Invalid type for '${path}': expected ${expected}, but got ${kindOf(found)} instead.`;
      return error(message, { param: path, code: 'invalid_type' });
    }
    case 'invalid_union': {
      // What the branch says that came farthest.
      const branches = issue.errors.map((issues) => issues[0]).filter((each) => each !== undefined);
      const far = branches.sort((a, b) => b.path.length - a.path.length)[0];
      if (far && far.path.length > 0) return issueError({ ...far, path: [...issue.path, ...far.path] }, body);
      const found = valueAt(body, issue.path);
      if (found === undefined) {
        return error(`Missing required parameter: '${path}'.`, { param: path, code: 'missing_required_parameter' });
      }
      return error(`Invalid value for '${path}': ${kindOf(found)} of a form that it does not take.`, {
        param: path,
        code: 'invalid_value',
      });
    }
    default:
      return error(`Invalid '${path}': ${issue.message}.`, { param: path, code: 'invalid_value' });
  }
}

/** `messages[0].role` */
function pathOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  );
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const part of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[part];
  }
  return at;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a decimal';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
