// Where in the program the library was called. Debugging asks it at every operator, so the text is made only when it is read.
import { dirname, join, sep } from './files';
import { bundleFile } from './modules';

const { findSourceMap } = process.getBuiltinModule('node:module');

/** A call's place, without what the engine's record of it would keep alive. */
interface Place {
  name: string | null;
  file: string;
  line: number;
  column: number;
}

/** Calls that are looked through. */
const DEPTH = 50;

function calls(): NodeJS.CallSite[] {
  const { stackTraceLimit, prepareStackTrace } = Error;
  let found: NodeJS.CallSite[] = [];
  Error.stackTraceLimit = DEPTH;
  Error.prepareStackTrace = (_, all) => (found = all);
  try {
    void new Error().stack;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    Error.prepareStackTrace = prepareStackTrace;
  }
  return found;
}

let own: string | undefined;

/** What the files of the library have in their names; in a bundle all are the program's. */
function ownFolder(): string {
  return (own ??= bundleFile() === undefined ? join(dirname(__filename), '..') + sep : '');
}

/** As engines write it; in the source where a map says what that is. */
function describe({ name, file, line, column }: Place): string {
  const entry = findSourceMap(file)?.findEntry(line - 1, column - 1);
  const at =
    entry && 'originalSource' in entry
      ? `${entry.originalSource}:${entry.originalLine + 1}:${entry.originalColumn + 1}`
      : `${file}:${line}:${column}`;
  return `    at ${name ? `${name} (${at})` : at}`;
}

/** What led to the present call outside the library, a line for each call, the innermost first; in a bundle all of it. */
export function callers(most: number): () => string {
  const places: Place[] = [];
  const library = ownFolder();
  for (const call of calls()) {
    if (places.length === most) break;
    const file = call.getFileName();
    if (!file || (library && file.includes(library))) continue;
    const [line, column] = [call.getLineNumber() ?? 0, call.getColumnNumber() ?? 0];
    places.push({ name: call.getFunctionName(), file, line, column });
  }
  return () => places.map(describe).join('\n');
}
