// The two ways a file fails: it cannot be reached (IO), or it is not what it should be (FORMAT).
import { argumentError, describe, FastWeightsError } from '../core';

export function checkPath(where: string, path: unknown, argument: 'path' | 'dir' = 'path'): string {
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return path;
  const expected = argument === 'dir' ? 'the path of a folder' : 'the path of a file';
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, describe(path));
}

/** Wraps what the file system threw; an error of the library passes unchanged. */
export function ioError(where: string, path: string, cause: unknown): FastWeightsError {
  if (cause instanceof FastWeightsError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new FastWeightsError('IO', `${where}: ${path}: ${reason}`, { argument: path, cause });
}

/** `where` names the file and what in it is at fault. */
export function formatError(where: string, expected: string, found: string, cause?: unknown): FastWeightsError {
  return new FastWeightsError('FORMAT', `${where} must be ${expected}, got ${found}`, {
    argument: where,
    expected,
    found,
    cause,
  });
}

/** The code of a system error (`ENOENT`, ...), if it is one. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
