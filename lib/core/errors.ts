// The one error type of the library and the small helpers that build its messages.

/** What went wrong, for programs. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'SHAPE'
  | 'DTYPE'
  | 'DEVICE'
  | 'DISPOSED'
  | 'GRAPH'
  | 'OUT_OF_MEMORY'
  | 'UNSUPPORTED'
  | 'BACKEND'
  | 'IO'
  | 'FORMAT'
  | 'ABORTED'
  | 'OVERLOADED';

/** Details that an error may carry beside its message. */
export interface ErrorDetails {
  /** The argument at fault, as the caller wrote it. */
  argument?: string;
  expected?: string;
  found?: string;
  cause?: unknown;
}

/** Every failure the library reports is one of these. */
export class FastWeightsError extends Error {
  /** The kind of failure, for programs to branch on. */
  readonly code: ErrorCode;
  /** The argument, option, file or environment variable at fault, where there is one. */
  readonly argument?: string;
  /** What it would have to be, in words. */
  readonly expected?: string;
  /** What was there instead, in words. */
  readonly found?: string;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'FastWeightsError';
    this.code = code;
    this.argument = details.argument;
    this.expected = details.expected;
    this.found = details.found;
  }
}

/** `where: argument must be expected, got found`. */
export function argumentError(
  code: ErrorCode,
  where: string,
  argument: string,
  expected: string,
  found: string,
): FastWeightsError {
  return new FastWeightsError(code, `${where}: ${argument} must be ${expected}, got ${found}`, {
    argument,
    expected,
    found,
  });
}

/**
 * A short rendering of any value for messages: of a function or a class its name; long lists and deep ones, which may hold
 * themselves, are cut.
 */
export function describe(value: unknown, depth = 3): string {
  if (Array.isArray(value)) {
    if (depth === 0) return '[...]';
    const shown = value.slice(0, 16).map((item) => describe(item, depth - 1));
    return `[${shown.join(', ')}${value.length > shown.length ? ', ...' : ''}]`;
  }
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function') {
    const kind = /^class\b/.test(Function.prototype.toString.call(value)) ? 'class' : 'function';
    return value.name ? `${kind} ${value.name}` : `a ${kind}`;
  }
  if (value === null || typeof value !== 'object') return String(value);
  const { constructor } = value as { constructor?: { name?: unknown } };
  return typeof constructor?.name === 'string' ? constructor.name : 'object';
}

/** A character for messages: `'é' U+00E9`; escaped where printing it would show nothing, or something else. */
export function describeCharacter(character: string): string {
  const code = character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');
  const escaped: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  const visible = character === ' ' || !/[\p{C}\p{Z}\p{M}]/u.test(character);
  return `'${visible ? character : (escaped[character] ?? `\\u{${code.toLowerCase()}}`)}' U+${code}`;
}

/** Requires a whole number in [min, max]. */
export function checkInteger(
  where: string,
  argument: string,
  value: unknown,
  min = 0,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `>= ${min}` : `from ${min} to ${max}`;
    throw argumentError('INVALID_ARGUMENT', where, argument, `a whole number ${range}`, describe(value));
  }
  return value;
}

/** Requires a finite number in [min, max]. */
export function checkNumber(where: string, argument: string, value: unknown, min = -Infinity, max = Infinity): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < min || value > max) {
    const range =
      min === -Infinity && max === Infinity
        ? 'a finite number'
        : min === -Infinity
          ? `a finite number of at most ${max}`
          : `a number from ${min} to ${max}`;
    throw argumentError('INVALID_ARGUMENT', where, argument, range, describe(value));
  }
  return value;
}

/** Requires a number, which may be NaN or infinite. */
export function checkNumeric(where: string, argument: string, value: unknown): asserts value is number {
  if (typeof value === 'number') return;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'a number', describe(value));
}

/** Requires a string. */
export function checkString(where: string, argument: string, value: unknown): asserts value is string {
  if (typeof value === 'string') return;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'a string', describe(value));
}

/** Requires an instance of a class; `expected` says which where that is more than its name. */
export function checkInstance<T>(
  where: string,
  argument: string,
  value: unknown,
  kind: abstract new (...args: never[]) => T,
  expected = `a ${kind.name}`,
): asserts value is T {
  if (value instanceof kind) return;
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, describe(value));
}

/** Requires a list. */
export function checkList(
  where: string,
  argument: string,
  value: unknown,
  expected = 'a list',
): asserts value is unknown[] {
  if (Array.isArray(value)) return;
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, describe(value));
}

/** Requires numbers: an array of them, typed or not. */
export function checkNumbers(where: string, argument: string, value: unknown): void {
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) return;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'an array of numbers', describe(value));
}

/** Requires a function. */
export function checkFunction(where: string, argument: string, value: unknown, expected = 'a function'): void {
  if (typeof value === 'function') return;
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, describe(value));
}

/** Requires one of a fixed set of strings. */
export function checkChoice<T extends string>(
  where: string,
  argument: string,
  value: unknown,
  choices: readonly T[],
): T {
  if (!choices.includes(value as T)) {
    const list = choices.map((c) => `'${c}'`).join(' | ');
    throw argumentError('INVALID_ARGUMENT', where, argument, list, describe(value));
  }
  return value as T;
}
