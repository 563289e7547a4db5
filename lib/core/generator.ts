// The process's random generator for tensors: a seed, and a stream number that every drawing operator takes one of.
import { checkInteger } from './errors';
import { seedWords } from './philox';

/** What a generator needs to go on exactly where it was. */
export interface GeneratorState {
  seed: number;
  stream: number;
}

let state: GeneratorState = { seed: 0, stream: 0 };

/** Starts the streams of `seed` anew; the same calls then draw the same numbers on every device. */
export function manualSeed(seed: number): void {
  state = { seed: checkInteger('manualSeed', 'n', seed), stream: 0 };
}

export function generatorState(): GeneratorState {
  return { ...state };
}

export function setGeneratorState(saved: GeneratorState): void {
  state = { ...saved };
}

/** The arguments that a drawing kernel needs, a fresh stream each time. */
export function nextStream(): { seedLow: number; seedHigh: number; stream: number } {
  return { ...seedWords(state.seed), stream: state.stream++ };
}
