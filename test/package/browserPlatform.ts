// What a browser build puts in the place of lib/platform: no files, no addons, no environment.

const missing = (what: string) => (): never => {
  throw new Error(`there are no ${what} in a page`);
};

export const base64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));
export const deflate = missing('compressors');
export const sha256 = missing('checksums');
export const sameHex = missing('checksums');
export const randomHex = missing('temporary files');
export const asBuffer = (bytes: Uint8Array): Uint8Array => bytes;

export const [closeSync, existsSync, openSync, readFileSync, readSync, rmSync, statSync] = Array.from(
  { length: 7 },
  () => missing('files'),
);
export const [appendFile, mkdir, open, readdir, readFile, rename, rm, rmdir, stat] = Array.from({ length: 9 }, () =>
  missing('files'),
);
export const tmpdir = missing('files');
export const [basename, dirname, join, parse, resolve] = Array.from({ length: 5 }, () => missing('paths'));
export const sep = '/';

export const loadModule = missing('modules');
export const importFile = missing('modules');
export const findModule = (): undefined => undefined;
export const packageFolder = (): undefined => undefined;
export const packageFile = missing('files');
export const packageVersion = (): string => 'in a page';
export const callers = (): (() => string) => () => '';
export const bundleFile = (): undefined => undefined;
export const compile = missing('native kernels');

export const environment = (): undefined => undefined;
export const [giveWay, startThread, thisThread, watchEventLoop] = Array.from({ length: 4 }, () => missing('threads'));
export const manyListeners = missing('signals of servers');
export const processId = 0;
export const processBegan = 0;
export const signalsProcess = missing('processes');
export const processMark = (): undefined => undefined;
export const warn = (message: string): void => console.warn(message);
export const operatingSystem = 'browser';
export const architecture = 'browser';
export const engine = 'this browser';
export const runtimeVersion = '';
export const processorModel = (): string => '';
export const hardwareThreads = (): number => 1;
export const machineMemory = (): { total: number; free: number } => ({ total: 0, free: 0 });

export const later = (milliseconds: number, action: () => void): void => void setTimeout(action, milliseconds);
export const LONGEST_TURN = 8;
export const breathe = (): Promise<void> => new Promise((done) => setTimeout(done));
export class Pace {
  readonly due = true;
  rest = breathe;
}
