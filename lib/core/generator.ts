// Random generators for tensors: a seed, and a stream number that every drawing operator takes one of.
import { checkInteger } from './errors';
import { seedWords } from './philox';
import { callSynchronous } from './synchronous';

/** What a generator needs to go on exactly where it was. */
export interface GeneratorState {
  seed: number;
  stream: number;
}

export class Generator {
  constructor(
    readonly seed: number,
    private stream = 0,
  ) {}

  get state(): GeneratorState {
    return { seed: this.seed, stream: this.stream };
  }

  /** The first of so many fresh streams. */
  next(count = 1): number {
    const first = this.stream;
    this.stream += count;
    return first;
  }
}

/** Of the process, or of the function that runs now. */
let current = new Generator(0);

/** Starts the streams of `seed` anew; the same calls then draw the same numbers on every device. */
export function manualSeed(seed: number): void {
  current = new Generator(checkInteger('manualSeed', 'n', seed));
}

/** Runs the synchronous function `fn` with a generator of its own; the process's is left alone. */
export function withSeed<T>(seed: number, fn: () => T): T {
  const generator = new Generator(checkInteger('withSeed', 'n', seed));
  return callSynchronous('withSeed', () => withGenerator(generator, fn), fn);
}

/** Runs `fn`, which draws from `generator`. */
export function withGenerator<T>(generator: Generator, fn: () => T): T {
  const before = current;
  current = generator;
  try {
    return fn();
  } finally {
    current = before;
  }
}

/** How often streams were taken so far, of any generator: whether something was drawn meanwhile. */
let drawings = 0;

export function countDrawings(): number {
  return drawings;
}

export function generatorState(): GeneratorState {
  return current.state;
}

/** A generator's state for so many streams that nothing else draws from: those from its `stream` on. */
export function takeStreams(count: number): GeneratorState {
  drawings++;
  return { seed: current.seed, stream: current.next(count) };
}

/** The arguments that a drawing kernel needs, a fresh stream each time. */
export function nextStream(): { seedLow: number; seedHigh: number; stream: number } {
  drawings++;
  return { ...seedWords(current.seed), stream: current.next() };
}
