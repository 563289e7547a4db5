// The matrix memories of a model while it reads a sequence.
import {
  argumentError,
  checkInteger,
  checkOptions,
  describe,
  FastWeightsError,
  type OptionNames,
  scope,
} from '../core';
import { noGrad } from '../autograd';
import { CausalLM, modelFamilies, Recurrent } from '../models';
import type { Module } from '../nn';
import { tensor } from '../ops';
import { type MemoryCall, observeMemories } from '../rules';
import { type MemoryCourse, measureMemory } from './measure';
import { headsOf, inputsOf, type MemoryInputs } from './memory';

/** Options of `inspectFastWeights`. */
export interface InspectOptions {
  /** Only this layer, counted from 1; all by default. */
  layer?: number | null;
  /** Only this head, counted from 1; all by default. */
  head?: number | null;
  /**
   * The most numbers to keep of all memories together, 2 ** 20 by default, which makes a page of about 3 MB: heads and then
   * layers beyond it are left out, and named in `omitted`. One memory is always kept.
   */
  limit?: number;
}

const OPTIONS: OptionNames<InspectOptions> = { layer: true, head: true, limit: true };
const LIMIT = 2 ** 20;

/** A head's memory, and what it did. */
export interface InspectedMemory {
  /** Of the model, counted from 1. */
  layer: number;
  /** Counted from 1. */
  head: number;
  /** The rule that keeps it: 'deltaRule'. */
  rule: string;
  /** Which of the rule's matrices: 'S', 'W_y'. */
  matrix: string;
  /** Writes for each token: 1, several with `deltaProduct`. */
  writesPerToken: number;
  /** What it was given at each step. */
  inputs: MemoryInputs;
  /** What it did. */
  course: MemoryCourse;
}

/** What `inspectFastWeights` found. */
export interface Inspection {
  /** The family, as `createModel` calls it, or the name of another model. */
  model: string;
  /** How many tokens were read. */
  tokens: number;
  /** By layer, matrix and head. */
  memories: InspectedMemory[];
  /** How many memories the limit left out. */
  omitted: number;
}

/** A model, and what it reads. */
export interface Reading {
  /** What the inspection calls it. */
  name: string;
  /** In evaluation mode while it reads. Layers are numbered by the lists that they stand in, from 1; outside of lists all are 1. */
  model: Module;
  /** How many tokens it reads. */
  tokens: number;
  /** Reads them, one sequence, as a whole. */
  read(): void;
}

/** Families of the library whose memory cannot be followed as a matrix, and why. */
const WITHOUT: ReadonlyMap<string, string> = new Map([
  ['log-linear-mamba2', 'each query weighs the states of its levels anew'],
  ['rwkv4', 'two sums for each channel are all it remembers'],
  ['fast-weight-memory', 'its memory is a tensor of third order'],
  ['ttt-linear', 'what is written counts differently for each token of a mini-batch'],
  ['titans', 'its momentum writes again, at each token, what earlier ones have written'],
  ['lact', 'it is a network of three matrices, one inside the other'],
  ['transformer', 'it keeps the keys and values themselves'],
  ...['lstm', 'rnn', 'elstm'].map((name): [string, string] => [name, 'its state is a vector']),
]);

type Take = (layer: number, call: MemoryCall) => void;

/** Shows `take` every matrix memory of a reading, layers counted from 1; its tensors are freed when `take` returns. */
function observe({ model, read }: Reading, take: Take): void {
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
export function keepsMatrix(reading: Reading): boolean {
  let told = false;
  observe(reading, () => void (told = true));
  return told;
}

function familyName({ config }: CausalLM): string {
  return modelFamilies.find(({ modelType }) => modelType === config.modelType)?.name ?? config.modelType;
}

/**
 * Reads token ids with a language model and follows its matrices of fast weights: how each step changed them, what they knew
 * of a key before and after it was written, strengths, decays, norm, effective rank, and from which earlier writes each query
 * read (the dual form). Everything is computed again in float64 from what the rules were given. `renderInspection` makes a page
 * of it. UNSUPPORTED for models without such matrices, INVALID_ARGUMENT for layers and heads that there are not.
 */
export async function inspectFastWeights(
  model: CausalLM,
  ids: ArrayLike<number>,
  options: InspectOptions = {},
): Promise<Inspection> {
  const where = 'inspectFastWeights';
  if (!(model instanceof CausalLM)) {
    throw argumentError('INVALID_ARGUMENT', where, 'model', 'a language model of the library', describe(model));
  }
  if (typeof ids !== 'object' || !(ids?.length > 0)) {
    throw argumentError('INVALID_ARGUMENT', where, 'ids', 'a list of one token id at least', describe(ids));
  }
  Array.from(ids).forEach((id, i) => checkInteger(where, `ids[${i}]`, id, 0, model.config.vocabSize - 1));
  using input = tensor(Int32Array.from(ids), { shape: [1, ids.length], dtype: 'int32', device: model.device });
  const reading = { name: familyName(model), model, tokens: ids.length, read: () => void model.forward(input) };
  const others = modelFamilies.map(({ name }) => name as string).filter((name) => !WITHOUT.has(name));
  return inspectReading(where, reading, others, options);
}

/** The same of any model; `others` are named where this one keeps no matrix. */
export async function inspectReading(
  where: string,
  reading: Reading,
  others: readonly string[],
  options: InspectOptions = {},
): Promise<Inspection> {
  checkOptions(where, options, OPTIONS);
  const limit = checkInteger(where, 'limit', options.limit ?? LIMIT);
  const { name, tokens } = reading;
  type Kept = Omit<InspectedMemory, 'course'> & { order: number };
  const found: Kept[] = [];
  let omitted = 0;
  const heads = new Map<number, number>();
  observe(reading, (layer, call) => {
    const { rule, matrix } = call;
    heads.set(layer, Math.max(heads.get(layer) ?? 0, headsOf(call)));
    if ((options.layer ?? layer) !== layer) return;
    const writesPerToken = call.inputs.v.shape[1] / tokens;
    if (!Number.isInteger(writesPerToken)) {
      const message = `${where}: ${rule} of layer ${layer} runs over pieces of the text, which cannot be followed`;
      throw new FastWeightsError('UNSUPPORTED', message, { argument: 'model' });
    }
    const [, steps, , valueDim] = call.inputs.v.shape;
    const size = numbersOf({ steps, valueDim, keyDim: call.inputs.q.shape[3] });
    for (let head = 1; head <= headsOf(call); head++) {
      if ((options.head ?? head) !== head) continue;
      // Where heads are channels there are thousands: those for which there is no room behind the ones before are not copied.
      if (options.head == null && (head - 1) * size > limit) {
        omitted++;
        continue;
      }
      const own = { layer, head, rule, matrix, writesPerToken, inputs: inputsOf(call, head - 1) };
      found.push({ ...own, order: found.length });
    }
  });
  if (heads.size === 0) {
    const expected = others.join(', ');
    const reason = WITHOUT.has(name) ? ` (${WITHOUT.get(name)})` : '';
    const message = `${where}: ${name} keeps no matrix of fast weights that rules are seen to write${reason}; those that do: ${expected}`;
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'model', expected, found: name });
  }
  checkThere(where, 'layer', options.layer, [...heads.keys()]);
  const most = Math.max(...[...heads].map(([layer, count]) => ((options.layer ?? layer) === layer ? count : 0)));
  checkThere(
    where,
    'head',
    options.head,
    Array.from({ length: most }, (_, i) => i + 1),
  );
  // The first heads of all layers before the second ones.
  let room = limit;
  const kept = [...found]
    .sort((a, b) => a.head - b.head || a.order - b.order)
    .filter(({ inputs }, i) => (room -= numbersOf(inputs)) >= 0 || i === 0)
    .sort((a, b) => a.order - b.order);
  const memories: InspectedMemory[] = [];
  for (const { order: _, ...memory } of kept) {
    memories.push({ ...memory, course: await measureMemory(memory.inputs) });
  }
  return { model: name, tokens, memories, omitted: omitted + found.length - kept.length };
}

/** On the page: keys, values, what is read, changes and weights. */
function numbersOf({ steps, keyDim, valueDim }: Pick<MemoryInputs, 'steps' | 'keyDim' | 'valueDim'>): number {
  return steps * (2 * keyDim + 3 * valueDim + steps / 2);
}

function checkThere(where: string, argument: string, value: number | null | undefined, there: readonly number[]): void {
  if (value == null || there.includes(value)) return;
  const expected = there.length === 1 ? `${there[0]}` : `one of ${there.join(', ')}`;
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, String(value));
}
