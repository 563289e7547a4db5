// A model while it reads: every matrix memory of it is shown to whoever looks on.
import { type Device, scope } from '../core';
import { noGrad } from '../autograd';
import { disposeState, persistState, type State } from '../inference';
import { type CausalLM, Recurrent } from '../models';
import type { Module } from '../nn';
import { tensor } from '../ops';
import { type MemoryCall, observeMemories } from '../rules';

/** Tokens that are read at once: what others wait for. */
const SLICE = 16;

/** Families in which a token's write is known with the next token only: what they read is not cut. */
const WHOLE: ReadonlySet<string> = new Set(['mamba3']);

/** Some tokens of one sequence. */
export interface Slice {
  /** How many. */
  tokens: number;
  /** Reads them. */
  read(): void;
}

/** A model, and what it reads. */
export interface Reading {
  /** What the inspection calls it. */
  name: string;
  /** In evaluation mode while it reads. Layers are numbered by the lists that they stand in, from 1; outside of lists all are 1. */
  model: Module;
  /** How many tokens it reads. */
  tokens: number;
  /** Reads them, one sequence, piece by piece. */
  slices(): Iterable<Slice>;
}

/** What a language model reads behind `initial`, which stays as it is. */
export function readingOf(model: CausalLM, name: string, ids: Int32Array, initial: State | null): Reading {
  function* slices(): Generator<Slice> {
    let state = initial;
    const forget = (): void => {
      if (state !== initial) disposeState(state);
    };
    try {
      const length = WHOLE.has(name) ? ids.length : SLICE;
      for (let at = 0; at < ids.length; at += length) {
        const part = ids.subarray(at, at + length);
        const read = (): void => {
          const input = idTensor(part, model.device);
          const after = model.model.forward(input, { state, outputState: true }).state!;
          persistState(after);
          forget();
          state = after;
        };
        yield { tokens: part.length, read };
      }
    } finally {
      forget();
    }
  }
  return { name, model, tokens: ids.length, slices };
}

const idTensor = (ids: Int32Array, device: Device) => tensor(ids, { shape: [1, ids.length], dtype: 'int32', device });

/** Reads a slice; `take` is shown every matrix memory, layers counted from 1, whose tensors are freed when it returns. */
export function observe(model: Module, { read }: Slice, take: (layer: number, call: MemoryCall) => void): void {
  const modules = [...model.namedModules()];
  const changed = modules.map(([, module]) => module).filter((module) => module.training);
  let place = '';
  const hooks = modules.flatMap(([path, module]) =>
    module instanceof Recurrent || /\.\d+$/.test(path)
      ? [module.registerForwardPreHook(() => void (place = path))]
      : [],
  );
  const tell = (call: MemoryCall): void => {
    const number = /\d+/.exec(place);
    take(number ? Number(number[0]) + 1 : 1, call);
  };
  try {
    for (const module of changed) module.training = false;
    noGrad(() => scope(() => observeMemories(tell, read)));
  } finally {
    for (const module of changed) module.training = true;
    for (const hook of hooks) hook.remove();
  }
}

/** Whether a reading has a matrix memory to look at. */
export function keepsMatrix({ model, slices }: Reading): boolean {
  let told = false;
  for (const slice of slices()) observe(model, slice, () => void (told = true));
  return told;
}
