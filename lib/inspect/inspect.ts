// The matrix memories of a model while it reads a sequence.
import {
  argumentError,
  checkInteger,
  checkOptions,
  checkString,
  describe,
  FastWeightsError,
  type OptionNames,
  scope,
} from '../core';
import { noGrad } from '../autograd';
import { checkSignal, checkStateLike, type State } from '../inference';
import { type AdaptedModel, CausalLM, modelFamilies } from '../models';
import { Pace } from '../platform';
import type { MemoryCall } from '../rules';
import { type MemoryCourse, measureMemory } from './measure';
import { inputsOf, joinInputs, type MemoryInputs } from './memory';
import { checkChoice, type MemoryPlace, placeOf } from './places';
import { observe, type Reading, readingOf } from './reading';
import { Survey } from './survey';

/** Which memories to look at, and how. */
export interface InspectOptions {
  /** Only this layer, counted from 1; all by default. */
  layer?: number | null;
  /** Only this head, counted from 1; all by default. */
  head?: number | null;
  /** Only this one of a rule's matrices, such as 'S' or 'W_y'; all by default. */
  matrix?: string | null;
  /**
   * The most numbers to keep of all memories together, 2 ** 20 by default, which makes a page of about 3 MB: heads and then
   * layers beyond it are left out, and named in `omitted`. One memory is always kept.
   */
  limit?: number;
  /** Whether `places` are to tell how many tokens each head holds, whichever are chosen; false by default. */
  survey?: boolean;
  /** Aborting it ends the call with an ABORTED error. */
  signal?: AbortSignal;
}

/** Options of `inspectFastWeights`. */
export interface InspectModelOptions extends InspectOptions {
  /** What the model remembers before the first of the tokens, such as `snapshot.state` of one sequence; it stays as it is. Nothing by default. */
  initialState?: State;
}

const OPTIONS: OptionNames<InspectModelOptions> = {
  layer: true,
  head: true,
  matrix: true,
  limit: true,
  survey: 'flag',
  signal: true,
  initialState: true,
};
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
  /** All that there are, whichever were chosen, in the order in which the model comes to them. */
  places: MemoryPlace[];
  /** By layer, matrix and head. */
  memories: InspectedMemory[];
  /** How many memories the limit left out. */
  omitted: number;
}

/** Families of the library whose memory cannot be followed as a matrix, and why. */
const WITHOUT: ReadonlyMap<string, string> = new Map([
  ['log-linear-mamba2', 'each query weighs the states of its levels anew'],
  ['rwkv4', 'two sums for each channel are all it remembers'],
  ['fast-weight-memory', 'its memory is a tensor of third order'],
  ['ttt-linear', 'what is written counts differently for each token of a mini-batch'],
  ['titans', 'its momentum writes again, at each token, what earlier ones have written'],
  ['lact', 'it is a network of three matrices, one inside the other'],
  ...['transformer', 'transformer-fla', 'forgetting-transformer', 'path-attention', 'deltaformer', 'mla'].map(
    (name): [string, string] => [name, 'it keeps the keys and values themselves'],
  ),
  ...['hgrn', 'lstm', 'rnn', 'elstm'].map((name): [string, string] => [name, 'its state is a vector']),
]);

function familyName({ config }: CausalLM): string {
  return modelFamilies.find(({ modelType }) => modelType === config.modelType)?.name ?? config.modelType;
}

/**
 * Reads token ids with a language model, or one with an adapter (`withAdapter`), all of a session's (`session.ids`) or its last ones behind the state before them, and
 * follows its matrices of fast weights: how each step changed them, what they knew of a key before and after it was written, how
 * much of each write is left and which later ones took the rest, strengths, decays, norm, singular values, and from which earlier
 * writes each query read (the dual form). It reads with turns for everything else in this thread; everything is computed again in
 * float64 from what the rules were given. `renderInspection` makes a page of it. UNSUPPORTED for models without such matrices,
 * INVALID_ARGUMENT for layers, heads and matrices that there are not.
 */
export async function inspectFastWeights(
  model: CausalLM | AdaptedModel,
  ids: ArrayLike<number>,
  options: InspectModelOptions = {},
): Promise<Inspection> {
  const where = 'inspectFastWeights';
  const base = model instanceof CausalLM ? model : (model as unknown) instanceof Object && model.base;
  if (!(base instanceof CausalLM)) {
    throw argumentError('INVALID_ARGUMENT', where, 'model', 'a language model of the library', describe(model));
  }
  if (typeof ids !== 'object' || !(ids?.length > 0)) {
    throw argumentError('INVALID_ARGUMENT', where, 'ids', 'a list of one token id at least', describe(ids));
  }
  Array.from(ids).forEach((id, i) => checkInteger(where, `ids[${i}]`, id, 0, base.config.vocabSize - 1));
  checkOptions(where, options, OPTIONS);
  const { initialState = null, ...rest } = options;
  if (initialState !== null) {
    noGrad(() => scope(() => checkStateLike(where, 'initialState', initialState, model.initialState(1))));
  }
  const reading = readingOf(model, familyName(base), Int32Array.from(ids), initialState);
  const others = modelFamilies.map(({ name }) => name as string).filter((name) => !WITHOUT.has(name));
  return inspectReading(where, reading, others, rest);
}

type Kept = Omit<InspectedMemory, 'course'>;

/** The same of any model; `others` are named where this one keeps no matrix. */
export async function inspectReading(
  where: string,
  reading: Reading,
  others: readonly string[],
  options: InspectOptions = {},
): Promise<Inspection> {
  checkOptions(where, options, OPTIONS);
  const { layer, head, matrix, signal } = options;
  const limit = checkInteger(where, 'limit', options.limit ?? LIMIT);
  if (matrix != null) checkString(where, 'matrix', matrix);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw argumentError('INVALID_ARGUMENT', where, 'signal', 'an AbortSignal', describe(signal));
  }
  const { name, model, tokens } = reading;
  const pace = new Pace();
  let places: MemoryPlace[] = [];
  let omitted = 0;
  // Of every slice the same memories in the same order.
  const slices: Kept[][] = [];
  const survey = options.survey ? new Survey() : null;
  for (const slice of reading.slices()) {
    const found: Kept[] = [];
    places = [];
    omitted = 0;
    await observe(model, slice, (at, call) => {
      const place = placeOf(at, call);
      survey?.add(places.length, call);
      places.push(place);
      if ((layer ?? at) !== at || (matrix ?? call.matrix) !== call.matrix) return;
      const writesPerToken = writesOf(where, call, at, slice.tokens);
      const size = numbersOf({ ...place, steps: tokens * writesPerToken });
      for (let h = 1; h <= place.heads; h++) {
        if ((head ?? h) !== h) continue;
        // Where heads are channels there are thousands: those for which there is no room behind the ones before are not copied.
        if (head == null && (h - 1) * size > limit) {
          omitted++;
          continue;
        }
        const { rule } = call;
        found.push({ layer: at, head: h, rule, matrix: call.matrix, writesPerToken, inputs: inputsOf(call, h - 1) });
      }
    });
    slices.push(found);
    await pace.rest();
    checkSignal(where, signal);
  }
  if (places.length === 0) throw withoutMatrix(where, name, others);
  checkChoice(where, places, options);
  const found = slices[0].map((memory, i) => ({ ...memory, inputs: joinInputs(slices.map((all) => all[i].inputs)) }));
  const kept = withinLimit(found, limit);
  const memories: InspectedMemory[] = [];
  for (const memory of kept) {
    const course = await measureMemory(memory.inputs, () => checkSignal(where, signal));
    memories.push({ ...memory, course });
  }
  if (survey) {
    const holds = await survey.holds(places.length, tokens, () => checkSignal(where, signal));
    places = places.map((place, i) => ({ ...place, holds: holds[i] }));
  }
  return { model: name, tokens, places, memories, omitted: omitted + found.length - kept.length };
}

function writesOf(where: string, { rule, inputs }: MemoryCall, layer: number, tokens: number): number {
  const writes = inputs.v.shape[1] / tokens;
  if (Number.isInteger(writes)) return writes;
  const message = `${where}: ${rule} of layer ${layer} runs over pieces of the text, which cannot be followed`;
  throw new FastWeightsError('UNSUPPORTED', message, { argument: 'model' });
}

/** The first heads of all layers before the second ones, so long as there is room. */
function withinLimit(found: readonly Kept[], limit: number): Kept[] {
  let room = limit;
  const order = found.map((_, i) => i).sort((a, b) => found[a].head - found[b].head || a - b);
  const kept = new Set(order.filter((at, i) => (room -= numbersOf(found[at].inputs)) >= 0 || i === 0));
  return found.filter((_, i) => kept.has(i));
}

/** On the page: keys, values, what is read, changes, weights, and what became of writes. */
function numbersOf({ steps, keyDim, valueDim }: Pick<MemoryInputs, 'steps' | 'keyDim' | 'valueDim'>): number {
  return steps * (2 * keyDim + 3 * valueDim + 1.5 * steps);
}

function withoutMatrix(where: string, name: string, others: readonly string[]): FastWeightsError {
  const expected = others.join(', ');
  const reason = WITHOUT.has(name) ? ` (${WITHOUT.get(name)})` : '';
  const message = `${where}: ${name} keeps no matrix of fast weights that rules are seen to write${reason}; those that do: ${expected}`;
  return new FastWeightsError('UNSUPPORTED', message, { argument: 'model', expected, found: name });
}
