// What the terminal can do: redraw lines, show colours, and how wide it is.
import type { ProgressStream } from '../viz';

const USUAL_COLUMNS = 80;

/** A stream for pictures that are redrawn: a terminal that cannot do that counts as none. */
export function screen(stream: NodeJS.WriteStream): ProgressStream {
  return {
    isTTY: stream.isTTY && process.env.TERM !== 'dumb',
    get columns() {
      return columnsOf(stream);
    },
    write: (text) => stream.write(text),
  };
}

/** Some terminals say 0. */
export function columnsOf(stream: NodeJS.WriteStream): number {
  return stream.columns || USUAL_COLUMNS;
}

/** Whether colours are seen, and wanted. */
export function showsColours(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && process.env.TERM !== 'dumb' && !process.env.NO_COLOR;
}

/** Words in lines of at most so many columns; a longer word stands alone. */
export function wrapText(text: string, columns: number): string {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= columns) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join('\n');
}

/** The first of some parts, as many as stand in one line; always one. */
export function fitParts(parts: readonly string[], columns: number): string {
  let line = parts[0];
  for (const part of parts.slice(1)) {
    if (line.length + 2 + part.length > columns) break;
    line += `  ${part}`;
  }
  return line;
}
