// Encodings of text files: which one a file has, and its bytes as characters. What is no text of the encoding is never
// replaced in silence.
import { argumentError, checkChoice } from '../core';

/** The encodings that text files may have, as the option `encoding` names them. */
export const TEXT_ENCODINGS = ['utf8', 'utf16le', 'utf16be', 'latin1', 'windows1252'] as const;

/** latin1 is ISO 8859-1, byte for byte; windows1252 has quotation marks and dashes where that has control characters. */
export type TextEncoding = (typeof TEXT_ENCODINGS)[number];

/** What a file's first bytes say, and an option. */
export interface FoundEncoding {
  encoding: TextEncoding;
  /** Bytes of the byte order mark. */
  mark: number;
  /** Named by an option: then even NUL is a character. */
  named: boolean;
}

const MARKS: readonly [TextEncoding, readonly number[]][] = [
  ['utf8', [0xef, 0xbb, 0xbf]],
  ['utf16le', [0xff, 0xfe]],
  ['utf16be', [0xfe, 0xff]],
];

/** The encoding that an option names, or else the byte order mark; UTF-8 without either. */
export function findEncoding(where: string, head: Uint8Array, named?: TextEncoding): FoundEncoding {
  if (named !== undefined) checkChoice(where, 'encoding', named, TEXT_ENCODINGS);
  const [marked, mark] = MARKS.find(([, bytes]) => bytes.every((byte, i) => head[i] === byte)) ?? [undefined, []];
  if (named !== undefined && marked !== undefined && named !== marked) {
    throw argumentError(
      'INVALID_ARGUMENT',
      where,
      'encoding',
      `'${marked}', as its byte order mark says`,
      `'${named}'`,
    );
  }
  return { encoding: named ?? marked ?? 'utf8', mark: mark.length, named: named !== undefined };
}

/** Characters of a piece of a file, whole ones only: `used` bytes of it. Or the first bytes that are none. */
export type DecodedPiece = { text: string; used: number } | { badAt: number; badBytes: number };

/** Decodes a piece that begins at a character; unless it is the last one, it may end within one. */
export function decodePiece(encoding: TextEncoding, bytes: Uint8Array, last: boolean): DecodedPiece {
  if (encoding === 'utf8') return decodeUtf8(bytes, last);
  if (encoding === 'utf16le' || encoding === 'utf16be') return decodeUtf16(bytes, encoding === 'utf16be', last);
  const table = encoding === 'windows1252' ? WINDOWS_1252 : undefined;
  const units = new Uint16Array(bytes);
  if (table) for (let i = 0; i < units.length; i++) if (units[i] >> 5 === 4) units[i] = table[units[i] - 0x80];
  return { text: fromUnits(units), used: bytes.length };
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeUtf8(bytes: Uint8Array, last: boolean): DecodedPiece {
  const used = last ? bytes.length : wholeUtf8(bytes);
  const whole = bytes.subarray(0, used);
  try {
    return { text: UTF8.decode(whole), used };
  } catch {
    return { badAt: invalidUtf8(whole), badBytes: 1 };
  }
}

/** Bytes before a character that the piece's end cuts. */
function wholeUtf8(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte < 0x80) break;
    if (byte >= 0xc0) return utf8Length(byte) > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

function utf8Length(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/** Where the first ill-formed sequence begins (Unicode, table 3-7). */
function invalidUtf8(bytes: Uint8Array): number {
  let at = 0;
  for (;;) {
    while (bytes[at] < 0x80) at++;
    const lead = bytes[at];
    const length = utf8Length(lead);
    const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (length === 0 || !(bytes[at + 1] >= low && bytes[at + 1] <= high)) return at;
    for (let i = 2; i < length; i++) if ((bytes[at + i] & 0xc0) !== 0x80) return at;
    at += length;
  }
}

function decodeUtf16(bytes: Uint8Array, bigEndian: boolean, last: boolean): DecodedPiece {
  const units = new Uint16Array(bytes.length >> 1);
  const high = bigEndian ? 0 : 1;
  for (let i = 0; i < units.length; i++) units[i] = (bytes[2 * i + high] << 8) | bytes[2 * i + 1 - high];
  const cut = !last && isHigh(units[units.length - 1]) ? 1 : 0;
  const text = fromUnits(units.subarray(0, units.length - cut));
  const lone = text.search(/\p{Surrogate}/u);
  if (lone >= 0) return { badAt: 2 * lone, badBytes: 2 };
  if (last && bytes.length % 2 === 1) return { badAt: bytes.length - 1, badBytes: 1 };
  return { text, used: 2 * text.length };
}

/** Whether a UTF-16 code unit is the first half of a pair. */
function isHigh(unit: number): boolean {
  return unit >> 10 === 0x36;
}

const UNITS_AT_ONCE = 8192;

function fromUnits(units: Uint16Array): string {
  let text = '';
  for (let at = 0; at < units.length; at += UNITS_AT_ONCE) {
    text += String.fromCharCode(...units.subarray(at, at + UNITS_AT_ONCE));
  }
  return text;
}

/** 0x80 to 0x9f; the five that Windows leaves open stay control characters (encoding.spec.whatwg.org). */
const WINDOWS_1252 = [
  0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d,
  0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d,
  0x017e, 0x0178,
];
