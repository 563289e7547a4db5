// A model while it reads: every matrix memory of it is shown to whoever looks on.
import { scope, type Tensor } from '../core';
import { noGrad } from '../autograd';
import { disposeState, inTurns, persistState, type Stages, type State } from '../inference';
import { type AdaptedModel, CausalLM, Recurrent } from '../models';
import type { Module } from '../nn';
import { keepSettings, tensor } from '../ops';
import { Pace } from '../platform';
import { type MemoryCall, observeMemories } from '../rules';

/** Tokens that are read at once: what others wait for. */
const SLICE = 16;

/** Families in which a token's write is known with the next token only: what they read is not cut. */
const WHOLE: ReadonlySet<string> = new Set(['mamba3']);

/** Runs synchronous work of a model that is looked at. */
export type Look = <T>(work: () => T) => T;

/** Some tokens of one sequence. */
export interface Slice {
  /** How many. */
  tokens: number;
  /** Reads them; what memories are seen in is what `look` runs. */
  read(look: Look): Promise<void> | void;
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

/** What a language model, or one with an adapter, reads behind `initial`, which stays as it is; with turns for others between its layers. */
export function readingOf(
  read: CausalLM | AdaptedModel,
  name: string,
  ids: Int32Array,
  initial: State | null,
): Reading {
  const model = read instanceof CausalLM ? read : read.base;
  const settings = keepSettings();
  function* slices(): Generator<Slice> {
    let state = initial;
    const forget = (): void => {
      if (state !== initial) disposeState(state);
    };
    try {
      const length = WHOLE.has(name) ? ids.length : SLICE;
      for (let at = 0; at < ids.length; at += length) {
        const part = ids.subarray(at, at + length);
        const readPart = async (look: Look): Promise<void> => {
          const shape = [1, part.length];
          const input = tensor(part, { shape, dtype: 'int32', device: model.device }).persist();
          try {
            const options = { state, outputState: true };
            const stages =
              read instanceof CausalLM ? read.model.stages(input, options) : read.backboneStages(input, options);
            const result = await inTurns(stages as Stages<Result>, {
              pace: new Pace(),
              atRest: () => {},
              settings: (work) => look(() => settings(work)),
            });
            persistState(result);
            result.output.dispose();
            forget();
            state = result.state;
          } finally {
            input.dispose();
          }
        };
        yield { tokens: part.length, read: readPart };
      }
    } finally {
      forget();
    }
  }
  return { name, model, tokens: ids.length, slices };
}

type Result = { output: Tensor; state: State };

/** Shows `take` every matrix memory of a slice, layers counted from 1; its tensors are freed when `take` returns. */
export async function observe(
  model: Module,
  slice: Slice,
  take: (layer: number, call: MemoryCall) => void,
): Promise<void> {
  const modules = [...model.namedModules()];
  let place = '';
  const tell = (call: MemoryCall): void => {
    const number = /\d+/.exec(place);
    take(number ? Number(number[0]) + 1 : 1, call);
  };
  await slice.read((work) => {
    const changed = modules.map(([, module]) => module).filter((module) => module.training);
    const hooks = modules.flatMap(([path, module]) =>
      module instanceof Recurrent || /\.\d+$/.test(path)
        ? [module.registerForwardPreHook(() => void (place = path))]
        : [],
    );
    try {
      for (const module of changed) module.training = false;
      return noGrad(() => scope(() => observeMemories(tell, work)));
    } finally {
      for (const module of changed) module.training = true;
      for (const hook of hooks) hook.remove();
    }
  });
}

/** Whether a reading has a matrix memory to look at. */
export async function keepsMatrix({ model, slices }: Reading): Promise<boolean> {
  let told = false;
  for (const slice of slices()) await observe(model, slice, () => void (told = true));
  return told;
}
