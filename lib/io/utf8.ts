// UTF-8 that arrives byte by byte: characters as soon as they are whole, U+FFFD as soon as nothing can make one.

/** What `TextDecoder` makes of all the bytes, in pieces. A byte order mark is a character. */
export class Utf8Stream {
  private pending: number[] = [];

  push(bytes: readonly number[]): string {
    this.pending.push(...bytes);
    return decode(this.pending.splice(0, this.pending.length - unfinished(this.pending)));
  }

  end(): string {
    return decode(this.pending.splice(0));
  }
}

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true });

function decode(bytes: readonly number[]): string {
  return bytes.length === 0 ? '' : UTF8.decode(Uint8Array.from(bytes));
}

/** How many bytes at the end begin a character that further bytes can finish (Unicode, table 3-7). */
function unfinished(bytes: readonly number[]): number {
  for (let n = 1; n <= Math.min(3, bytes.length); n++) {
    const [lead, second] = bytes.slice(-n);
    if (lead >= 0x80 && lead < 0xc0) continue;
    const length = lead < 0xc2 || lead > 0xf4 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    return n < length && (n === 1 || (second >= least && second <= most)) ? n : 0;
  }
  return 0;
}
