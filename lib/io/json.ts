// JSON as model files really hold it: strict text with the two notations for infinities that published
// configurations use, bare words and {"__float__": "Infinity"}. Some editors write a byte order mark in front.
import { readFile, stat } from '../platform';
import { checkInstance, checkString, FastWeightsError } from '../core';
import { writeFileAtomic } from './atomic';
import { checkPath, formatError, ioError, systemCode } from './failure';

/** A JSON value; numbers may be NaN or infinite, as published configurations have them. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** More than any such file has. */
const MAX_BYTES = 100_000_000;

/** Deeper nesting than any real file has is refused before it can exhaust the stack. */
const MAX_DEPTH = 256;

const FLOATS = new Map<string, number>([
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
  ['NaN', NaN],
]);
const STRICT_WORDS = new Map<string, Json>([
  ['true', true],
  ['false', false],
  ['null', null],
]);
const WORDS = new Map([...STRICT_WORDS, ...FLOATS]);

class Parser {
  private at = 0;
  private depth = 0;
  /** Whether the value that was read last has a number with a point or an exponent. */
  private fractional = false;
  private readonly words: Map<string, Json>;
  private readonly scalars = /(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])|(-?[A-Za-z]+)/y;
  private readonly plain = /[^"\\\u0000-\u001f]*/y;

  constructor(
    private readonly text: string,
    private readonly where: string,
    /** Standard JSON only, and no name twice in one object. */
    private readonly strict: boolean,
    private readonly fractions?: Set<string>,
  ) {
    this.words = strict ? STRICT_WORDS : WORDS;
  }

  document(): Json {
    const value = this.value();
    if (this.peek() !== '') this.fail('the end of the text');
    return value;
  }

  private value(): Json {
    switch (this.peek()) {
      case '{':
        return this.nested(() => this.object());
      case '[':
        return this.nested(() => this.array());
      case '"':
        return this.string();
      default:
        return this.scalar();
    }
  }

  private nested<T>(read: () => T): T {
    if (++this.depth > MAX_DEPTH) this.fail(`nested at most ${MAX_DEPTH} deep`);
    this.at++;
    const value = read();
    this.depth--;
    return value;
  }

  private object(): Json {
    const out: { [key: string]: Json } = {};
    if (this.skip('}')) return out;
    let count = 0;
    do {
      if (this.peek() !== '"') this.fail('a quoted name');
      const name = this.string();
      if (this.strict && Object.hasOwn(out, name)) this.fail(`an object without a second ${JSON.stringify(name)}`);
      this.expect(':');
      this.fractional = false;
      const value = this.value();
      if (this.fractional) this.fractions?.add(name);
      this.fractional = false;
      // Assigning to __proto__ would change the prototype; an own property of that name is only data.
      if (name === '__proto__') {
        Object.defineProperty(out, name, { value, enumerable: true, configurable: true, writable: true });
      } else out[name] = value;
      count++;
    } while (this.skip(','));
    this.expect('}');
    return !this.strict && count === 1 ? tagged(out) : out;
  }

  private array(): Json[] {
    const out: Json[] = [];
    if (this.skip(']')) return out;
    do out.push(this.value());
    while (this.skip(','));
    this.expect(']');
    return out;
  }

  private string(): string {
    const start = this.at++;
    let escaped = false;
    for (;;) {
      this.plain.lastIndex = this.at;
      this.plain.test(this.text);
      this.at = this.plain.lastIndex;
      if (this.text[this.at] !== '\\') break;
      escaped = true;
      this.at += 2;
    }
    if (this.text[this.at] !== '"') this.fail('a closed string');
    this.at++;
    if (!escaped) return this.text.slice(start + 1, this.at - 1);
    try {
      return JSON.parse(this.text.slice(start, this.at)) as string;
    } catch {
      this.at = start;
      return this.fail('a string with valid escapes');
    }
  }

  private scalar(): Json {
    this.scalars.lastIndex = this.at;
    const [, number, word = ''] = this.scalars.exec(this.text) ?? [];
    const value = number === undefined ? this.words.get(word) : Number(number);
    if (value === undefined) return this.fail('a value');
    this.at = this.scalars.lastIndex;
    if (number !== undefined && /[.eE]/.test(number)) this.fractional = true;
    return value;
  }

  /** The next character that is not white space; '' at the end. */
  private peek(): string {
    for (; this.at < this.text.length; this.at++) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return this.text[this.at];
    }
    return '';
  }

  private skip(character: string): boolean {
    if (this.peek() !== character) return false;
    this.at++;
    return true;
  }

  private expect(character: string): void {
    if (!this.skip(character)) this.fail(`'${character}'`);
  }

  private fail(expected: string): never {
    const before = this.text.slice(0, this.at);
    const line = before.split('\n').length;
    const column = this.at - before.lastIndexOf('\n');
    const found = this.at < this.text.length ? JSON.stringify(this.text.slice(this.at, this.at + 12)) : 'the end';
    throw formatError(`${this.where}: line ${line}, column ${column}`, expected, found);
  }
}

/** {"__float__": "Infinity"} is that number; anything else is itself. */
function tagged(value: { [key: string]: Json }): Json {
  const float = Object.hasOwn(value, '__float__') ? value.__float__ : undefined;
  return typeof float === 'string' ? (FLOATS.get(float) ?? value) : value;
}

/** Parses a configuration; `where` names the file in errors, `fractions` are those of `readJson`. */
export function parseJson(text: string, where: string, fractions?: Set<string>): Json {
  checkString('parseJson', 'text', text);
  return new Parser(text, where, false, fractions).document();
}

/** Standard JSON in which no object names a key twice. */
export function parseStrictJson(text: string, where: string): Json {
  return new Parser(text, where, true).document();
}

/** Whether a value is an object with names: no list, no null. */
export function isJsonObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads a UTF-8 file of at most 100 MB, NaN and Infinity allowed; an IO error where it cannot be read, a FORMAT error with
 * line and column where it is no JSON. The names of numbers that are written with a point or an exponent, 1.0, and of lists of
 * such, are added to `fractions`, for `writeJson`.
 */
export async function readJson(path: string, fractions?: Set<string>): Promise<Json> {
  const { size } = await regularFile('readJson', path);
  if (size > MAX_BYTES) throw formatError(`${path}: the file`, `at most ${MAX_BYTES} bytes long`, `${size}`);
  return parseJson(await readText(path, 'readJson'), path, fractions);
}

/** What the system says of a file. Pipes and devices, which may never end, are refused with IO. */
export async function regularFile(where: string, path: string): Promise<{ size: number }> {
  checkPath(where, path);
  try {
    const found = await stat(path);
    if (found.isFile()) return found;
  } catch (error) {
    throw ioError(where, path, error);
  }
  throw ioError(where, path, new Error('no regular file'));
}

/** The text of a UTF-8 file; an IO error where it cannot be read, a FORMAT error where it is no UTF-8. */
export async function readText(path: string, where = 'readText'): Promise<string> {
  checkPath(where, path);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw ioError(where, path, error);
  }
  return decodeUtf8(path, bytes);
}

/** The same; undefined where there is no such file. */
export async function readOptionalJson(path: string): Promise<Json | undefined> {
  try {
    return await readJson(path);
  } catch (error) {
    if (error instanceof FastWeightsError && systemCode(error.cause) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Text from UTF-8 and nothing else; a byte order mark is left out unless it is `kept`. */
export function decodeUtf8(where: string, bytes: Uint8Array, kept = false): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: kept }).decode(bytes);
  } catch (error) {
    throw formatError(where, 'UTF-8', 'other bytes', error);
  }
}

/** Stands before a whole number that is to be written as 1.0; no text of a file begins so. */
const WHOLE = '\0';

function asFraction(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asFraction);
  return Number.isSafeInteger(value) ? `${WHOLE}${value as number}` : value;
}

/**
 * Indented, atomic; infinities and NaN in the tagged notation, so that every JSON reader takes the file. Whole numbers under the
 * names of `fractions` are written as 1.0: other programs tell the two apart.
 */
export async function writeJson(path: string, value: unknown, fractions?: ReadonlySet<string>): Promise<void> {
  if (fractions !== undefined) checkInstance('writeJson', 'fractions', fractions, Set);
  const tag = (name: string, v: unknown): unknown =>
    typeof v === 'number' && !Number.isFinite(v) ? { __float__: String(v) } : fractions?.has(name) ? asFraction(v) : v;
  const text = `${JSON.stringify(value, tag, 2)}\n`.replace(/"\\u0000(-?\d+)"/g, '$1.0');
  await writeFileAtomic(path, (file) => file.writeFile(text));
}
