// A text file in pieces: its bytes as they are, or its characters. No piece ends within a character.
import { closeSync, openSync, readSync, statSync } from '../platform';
import { FastWeightsError } from '../core';
import { decodePiece, findEncoding, type FoundEncoding, type TextEncoding } from './encoding';

/** Bytes of a piece: few enough that decoding one takes well below a turn of the event loop. */
const PIECE_BYTES = 2 ** 16;

export class TextFile {
  private constructor(
    private readonly where: string,
    readonly path: string,
    readonly size: number,
    readonly found: FoundEncoding,
  ) {}

  /** Looks at the size and the first bytes; `where` begins the messages. Nothing stays open between readings. */
  static open(where: string, path: string, encoding?: TextEncoding): TextFile {
    const { size, head } = reading(where, path, () => {
      // Opening a pipe waits for its writer, so it is looked at first.
      const stat = statSync(path);
      if (!stat.isFile()) throw new Error('it must be a regular file, which can be read more than once');
      const file = openSync(path, 'r');
      try {
        const bytes = new Uint8Array(3);
        return { size: stat.size, head: bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0)) };
      } finally {
        closeSync(file);
      }
    });
    return new TextFile(where, path, size, findEncoding(`${where}: ${path}`, head, encoding));
  }

  /** All bytes, or those before `end`; each piece is good until the next one is asked for. */
  *bytes(end = this.size): Generator<Uint8Array, void> {
    const buffer = new Uint8Array(Math.min(PIECE_BYTES, Math.max(1, end)));
    const file = reading(this.where, this.path, () => openSync(this.path, 'r'));
    try {
      for (let at = 0; at < end;) {
        const length = reading(this.where, this.path, () => {
          const count = readSync(file, buffer, 0, Math.min(buffer.length, end - at), at);
          if (count === 0) throw new Error('it became shorter while it was read');
          return count;
        });
        yield buffer.subarray(0, length);
        at += length;
      }
    } finally {
      closeSync(file);
    }
  }

  /** All characters but the byte order mark. `onBytes` sees every byte of the file, in order. */
  *text(onBytes?: (bytes: Uint8Array) => void, end = this.size): Generator<string, void> {
    const { encoding, mark, named } = this.found;
    let rest = new Uint8Array(0);
    let seen = 0;
    for (const raw of this.bytes(end)) {
      onBytes?.(raw);
      const skipped = seen === 0 ? mark : 0;
      const from = seen - rest.length + skipped;
      const piece = joined(rest, raw.subarray(skipped));
      seen += raw.length;
      const result = decodePiece(encoding, piece, seen === end);
      if ('badAt' in result) throw this.badBytes(piece, from, result.badAt, result.badBytes);
      const nul = named ? -1 : result.text.indexOf('\0');
      if (nul >= 0) throw this.nul(from + (encoding === 'utf8' ? piece.indexOf(0) : 2 * nul));
      rest = piece.slice(result.used);
      yield result.text;
    }
  }

  private badBytes(piece: Uint8Array, from: number, at: number, count: number): FastWeightsError {
    const hex = Array.from(piece.subarray(at, at + count), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const remedy =
      'name its encoding if it has another: --encoding latin1, or windows1252 for texts with curly quotes (option encoding)';
    return this.refusal(from + at, `byte${count > 1 ? 's' : ''} 0x${hex}`, NAMES[this.found.encoding], remedy);
  }

  private nul(offset: number): FastWeightsError {
    const remedy =
      'a text with NUL is binary, or has an encoding that must be named: --encoding utf16le, utf16be, or utf8 to keep NUL (option encoding)';
    return this.refusal(offset, 'a NUL byte', `${NAMES[this.found.encoding]} text`, remedy);
  }

  private refusal(offset: number, what: string, expected: string, remedy: string): FastWeightsError {
    const place = new TextPlace();
    for (const text of this.text(undefined, offset)) place.advance(text);
    const found = `${what} at offset ${offset}, line ${place.line}`;
    const raw = "tokens 'bytes' (--tokens bytes) take any file as it is";
    const message = `${this.where}: ${this.path} must be ${expected}, got ${found}; ${remedy}; ${raw}`;
    return new FastWeightsError('FORMAT', message, { argument: this.path, expected, found });
  }
}

const NAMES: Record<TextEncoding, string> = {
  utf8: 'UTF-8',
  utf16le: 'UTF-16 (little-endian)',
  utf16be: 'UTF-16 (big-endian)',
  latin1: 'latin1',
  windows1252: 'Windows-1252',
};

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** What the file system throws becomes an error that names the file. */
function reading<T>(where: string, path: string, operation: () => T): T {
  try {
    return operation();
  } catch (cause) {
    if (cause instanceof FastWeightsError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FastWeightsError('IO', `${where}: cannot read ${path}: ${reason}`, {
      argument: 'path',
      found: path,
      cause,
    });
  }
}

/** Counts lines and columns, in characters, through a text in pieces; lines end with LF, CR or both. */
export class TextPlace {
  line = 1;
  column = 1;
  private last = 0;

  advance(text: string): void {
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit === 10 || unit === 13) {
        if (!(unit === 10 && this.last === 13)) this.line++;
        this.column = 1;
      } else if (unit >> 10 !== 0x37) this.column++;
      this.last = unit;
    }
  }
}
