// One line of JSON for everything that happens; no texts of users in it unless they were asked for.

export type LogLevel = 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, unknown>>;

/** Where lines go. */
export interface Log {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export function jsonLog(write: (line: string) => void): Log {
  const line =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void =>
      write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }, asLists)}\n`);
  return { info: line('info'), warn: line('warn'), error: line('error') };
}

/** Ids of prompts. */
function asLists(_: string, value: unknown): unknown {
  return value instanceof Int32Array ? Array.from(value) : value;
}
