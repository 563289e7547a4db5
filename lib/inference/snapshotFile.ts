// Snapshots as safetensors files: the tensors of the state by their place in it, the ids, and as metadata the rest with a
// checksum over everything. What a file claims is held against the model before anything is made of it.
import { noGrad } from '../autograd';
import { argumentError, type DType, FastWeightsError, formatShape, isFloat, scope, Tensor } from '../core';
import {
  isJsonObject,
  type Json,
  loadEntry,
  type LoadOptions,
  type NamedTensors,
  parseJson,
  type SafetensorsFile,
} from '../io';
import { tensor } from '../ops';
import { Pace, sha256 } from '../platform';
import { History } from './history';
import { Memory } from './memory';
import type { RecurrentModel } from './model';
import { drawsOf, loadSampler, SAMPLER } from './samplerFile';
import { checkStateLike, disposeState, type State } from './state';
import { needsTrial, tryState } from './trial';

const FORMAT = 'fast-weights snapshot';
const VERSION = '2';
const NOTED = '3';
/** The names of the metadata by version. Version 1 has states as they are, and none of a sampler; 3 is 2 with a note. */
const FIRST = ['format', 'version', 'model', 'batch', 'tokens', 'said', 'numbers', 'checksum'];
const SECOND = [...FIRST, 'sampler', 'dtype'];
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  1: FIRST,
  [VERSION]: SECOND,
  [NOTED]: [...SECOND, 'note'],
};
/** Characters. */
export const LONGEST_NOTE = 4096;
const HISTORY = 'history';
const LOGITS = 'logits';
/** What is no part of the state. */
const BESIDE: readonly string[] = [HISTORY, LOGITS, SAMPLER];
/** A state whose numbers have the dtype that the model gives them. */
const EXACT = 'exact';

/** Options of `Snapshot.save`. */
export interface SnapshotOptions {
  /**
   * In what the state's floating-point numbers are stored; as they are by default. `bfloat16` takes half the bytes of
   * float32, and keeps 8 significant bits of each number. What it costs, for models of two layers of 64 that were trained
   * on text for 250 steps, after a text of 1000 tokens: over the next 300 the logits are off by at most 0.0001 (Gated
   * DeltaNet), 0.001 (DeltaNet) and 0.007 (a transformer's keys and values) of their root mean square, and the most
   * probable token was the same each time. The logits after the last token are stored exactly.
   */
  dtype?: 'bfloat16';
}

interface Contents {
  batch: number;
  memory: Memory;
  note: string;
}

/** The tensors and the numbers of a state by their paths. */
function leavesOf(state: State, path = 'state'): [string, Tensor | number][] {
  if (state === null) return [];
  if (state instanceof Tensor || typeof state === 'number') return [[path, state]];
  return Object.entries(state).flatMap(([name, part]) => leavesOf(part, `${path}.${name}`));
}

/** A state of the form of `like`, with other leaves. */
function withLeaves(like: State, leaf: (path: string) => Tensor | number, path = 'state'): State {
  if (like === null) return null;
  if (like instanceof Tensor || typeof like === 'number') return leaf(path);
  if (Array.isArray(like)) return like.map((part, i) => withLeaves(part, leaf, `${path}.${i}`));
  const parts = Object.entries(like).map(([name, part]) => [name, withLeaves(part, leaf, `${path}.${name}`)]);
  return Object.fromEntries(parts) as State;
}

const PIECE_BYTES = 2 ** 20;

interface Summed {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  read(): Promise<ArrayBufferView>;
}

/** Over the metadata and, by name, the dtype, the shape and the values of every tensor. */
async function checksum(metadata: Readonly<Record<string, string>>, tensors: readonly Summed[]): Promise<string> {
  const hash = sha256();
  const text = (value: unknown): void => hash.update(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
  text(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)));
  const pace = new Pace();
  for (const { name, dtype, shape, read } of [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    text([name, dtype, shape]);
    const { buffer, byteOffset, byteLength } = await read();
    for (let at = 0; at < byteLength; at += PIECE_BYTES) {
      hash.update(new Uint8Array(buffer, byteOffset + at, Math.min(PIECE_BYTES, byteLength - at)));
      await pace.rest();
    }
  }
  return hash.hex();
}

/** Gives `write` the tensors and the metadata of a file, which live until it is done. */
export async function saveMemory<T>(
  { identity, batch, memory, note, dtype }: Contents & SnapshotOptions & { identity: string },
  write: (tensors: NamedTensors, metadata: Record<string, string>) => Promise<T>,
): Promise<T> {
  const { history, unread, logits, sampler } = memory;
  const leaves = leavesOf(memory.state);
  const numbers = Object.fromEntries(leaves.filter(([, leaf]) => typeof leaf === 'number'));
  const made: Tensor[] = [];
  const own = (t: Tensor): Tensor => {
    made.push(t.persist());
    return t;
  };
  const idsOf = (ids: Int32Array): Tensor => own(tensor(ids, { dtype: 'int32', device: 'js' }));
  const tensors = new Map<string, Tensor>();
  const metadata = {
    format: FORMAT,
    version: note === '' ? VERSION : NOTED,
    model: identity,
    batch: String(batch),
    tokens: String(memory.tokens),
    said: unread.join(' '),
    numbers: JSON.stringify(numbers),
    sampler: sampler ? JSON.stringify(drawsOf(sampler)) : '',
    dtype: dtype ?? EXACT,
    ...(note !== '' && { note }),
  };
  try {
    for (const [name, leaf] of leaves) {
      if (!(leaf instanceof Tensor)) continue;
      const rounded = dtype !== undefined && isFloat(leaf.dtype);
      tensors.set(name, rounded ? noGrad(() => own(leaf.to(dtype).detach())) : leaf);
    }
    if (history) tensors.set(HISTORY, idsOf(history.marked));
    if (sampler) tensors.set(SAMPLER, idsOf(sampler.ids));
    // Those of several sequences are the caller's alone.
    if (logits && batch === 1) tensors.set(LOGITS, logits);
    const summed = [...tensors].map(([name, t]) => ({ name, dtype: t.dtype, shape: t.shape, read: () => t.data() }));
    return await write(tensors, { ...metadata, checksum: await checksum(metadata, summed) });
  } finally {
    disposeState(made);
  }
}

/** What a file holds; `path` names it in errors. */
export async function loadMemory(path: string, file: SafetensorsFile, model: RecurrentModel): Promise<Contents> {
  const fields = await checkedFields(path, file, model);
  const whole = (name: string, min: number, max: number, text = fields[name]): number => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw argumentError('FORMAT', path, name, `a whole number from ${min} to ${max}`, JSON.stringify(text));
  };
  // Several where guesses were wrong.
  const said = fields.said === '' ? [] : fields.said.split(' ');
  const unread = said.map((id) => whole('said', 0, model.vocabSize - 1, id));
  const batch = whole('batch', 1, unread.length === 0 ? Number.MAX_SAFE_INTEGER : 1);
  const tokens = whole('tokens', 0, Number.MAX_SAFE_INTEGER - 1);
  const history = await readHistory(path, file, { batch, tokens, vocabulary: model.vocabSize });
  const sampler = await loadSampler(
    path,
    file,
    fields.sampler ?? '',
    { batch, length: tokens + unread.length },
    model.vocabSize,
  );
  const { note = '' } = fields;
  if (note.length > LONGEST_NOTE) {
    throw argumentError('FORMAT', path, 'note', `at most ${LONGEST_NOTE} characters`, `${note.length}`);
  }
  const rounded = (fields.dtype ?? EXACT) !== EXACT;
  if (rounded && fields.dtype !== 'bfloat16') {
    throw argumentError('FORMAT', path, 'dtype', `'${EXACT}' or 'bfloat16'`, JSON.stringify(fields.dtype));
  }
  const state = await loadState(path, file, model, { batch, tokens, rounded }, numbersOf(path, fields.numbers, tokens));
  const memory = new Memory(state, tokens, history);
  memory.leave(unread, sampler);
  try {
    memory.logits = await loadLogits(path, file, model, batch);
  } catch (error) {
    memory.dispose();
    throw error;
  }
  return { batch, memory, note };
}

/** The metadata of a file of a version that there is, for this model, that nothing was changed in. */
async function checkedFields(path: string, file: SafetensorsFile, model: RecurrentModel) {
  const { metadata } = file;
  const require = (name: string, expected: string, found = metadata[name]): void => {
    if (found !== expected) throw argumentError('FORMAT', path, name, `'${expected}'`, JSON.stringify(found) ?? 'none');
  };
  require('format', FORMAT);
  if (!Object.hasOwn(FIELDS, metadata.version ?? '')) require('version', VERSION);
  require('metadata', [...FIELDS[metadata.version]].sort().join(' '), Object.keys(metadata).sort().join(' '));
  require('model', model.identity ?? 'one with an identity');
  const { checksum: given, ...rest } = metadata;
  const summed = [...file.entries.values()].map((entry) => {
    const { name, nativeDType: dtype, shape } = entry;
    return { name, dtype, shape, read: () => entry.read(dtype === 'bfloat16' ? 'float32' : dtype) };
  });
  require('checksum', await checksum(rest, summed), given);
  return metadata;
}

/** Those after the last token, where there was one. */
async function loadLogits(
  path: string,
  file: SafetensorsFile,
  { vocabSize, device }: RecurrentModel,
  batch: number,
): Promise<Tensor | null> {
  const entry = file.entries.get(LOGITS);
  if (!entry) return null;
  const { dtype, shape } = entry;
  const shapes = batch === 1 && shape.length === 2 && shape[0] === 1 && shape[1] === vocabSize;
  if (!shapes || !['F32', 'F64', 'BF16', 'F16'].includes(dtype)) {
    throw argumentError('FORMAT', path, LOGITS, `one sequence's [1, ${vocabSize}]`, `${dtype} ${formatShape(shape)}`);
  }
  return (await loadEntry(entry, { device })).persist();
}

/**
 * The numbers of a state by path. A position counts all tokens, the part of a cache that counts holds at least the last one,
 * and nothing counts more than there are.
 */
function numbersOf(path: string, text: string, tokens: number): Map<string, number> {
  const json: Json = parseJson(text, `${path}: numbers`);
  if (!isJsonObject(json)) throw argumentError('FORMAT', path, 'numbers', 'a JSON object', text);
  const entries = Object.entries(json);
  for (const [name, value] of entries) {
    const start = name.endsWith('.end') ? json[name.replace(/end$/, 'start')] : undefined;
    const least = name.endsWith('.position') ? tokens : typeof start === 'number' ? Math.min(tokens, start + 1) : 0;
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= tokens) continue;
    throw argumentError('FORMAT', path, name, `a whole number from ${least} to ${tokens}`, JSON.stringify(value));
  }
  return new Map(entries as [string, number][]);
}

async function loadState(
  path: string,
  file: SafetensorsFile,
  model: RecurrentModel,
  { batch, tokens, rounded }: { batch: number; tokens: number; rounded: boolean },
  numbers: ReadonlyMap<string, number>,
): Promise<State> {
  const refuse = (what: string, expected: string, found: string): never => {
    throw argumentError('FORMAT', path, what, expected, found);
  };
  const form = (sequences: number): State => noGrad(() => model.initialState(sequences));
  const sizeOf = (state: State): number =>
    leavesOf(state).reduce((sum, [, leaf]) => sum + (leaf instanceof Tensor ? leaf.size : 0), 0);
  const held = [...file.entries.values()].reduce((sum, { size }) => sum + size, 0);
  // Before a state of so many sequences is made.
  if (batch * scope(() => sizeOf(form(1))) > held)
    refuse('batch', `one that ${held} numbers are enough for`, `${batch}`);
  const expected = scope(() =>
    leavesOf(form(batch)).map(([name, leaf]) => [name, leaf instanceof Tensor ? leaf.dtype : 'number'] as const),
  );
  const dtypes = new Map(expected.filter((leaf): leaf is [string, DType] => leaf[1] !== 'number'));
  const same = (what: string, wanted: string[], found: string[]): void => {
    if (wanted.join('\n') !== found.sort().join('\n')) refuse(what, `those of ${wanted.join(' ')}`, found.join(' '));
  };
  same(
    'tensors',
    [...dtypes.keys()].sort(),
    [...file.entries.keys()].filter((name) => !BESIDE.includes(name)),
  );
  same('numbers', expected.flatMap(([name, kind]) => (kind === 'number' ? [name] : [])).sort(), [...numbers.keys()]);
  const tensors = new Map<string, Tensor>();
  try {
    const { device } = model;
    for (const [name, wanted] of dtypes) {
      const entry = file.entries.get(name)!;
      const dtype = rounded && entry.dtype === 'BF16' && isFloat(wanted) ? (wanted as LoadOptions['dtype']) : undefined;
      tensors.set(name, (await loadEntry(entry, { device, dtype })).persist());
    }
    const state = scope(() => {
      const like = form(batch);
      const state = withLeaves(like, (at) => tensors.get(at) ?? numbers.get(at)!);
      checkStateLike(path, 'state', state, like);
      return state;
    });
    if (needsTrial(numbers.keys(), tokens)) tryState(model, batch, state);
    return state;
  } catch (error) {
    disposeState([...tensors.values()]);
    if (!(error instanceof FastWeightsError) || !['SHAPE', 'DTYPE', 'INVALID_ARGUMENT'].includes(error.code))
      throw error;
    const { argument, expected, found } = error;
    throw new FastWeightsError('FORMAT', error.message, { argument, expected, found, cause: error });
  }
}

/** The ids of all tokens, where the session kept them. */
async function readHistory(
  path: string,
  file: SafetensorsFile,
  { batch, tokens, vocabulary }: { batch: number; tokens: number; vocabulary: number },
): Promise<History | null> {
  const entry = file.entries.get(HISTORY);
  if (!entry) return null;
  const refuse = (expected: string, found: string): never => {
    throw argumentError('FORMAT', path, HISTORY, expected, found);
  };
  if (entry.dtype !== 'I32' || entry.size !== tokens * batch) {
    refuse(`${tokens} int32 ids for each of ${batch} sequences`, `${entry.size} of ${entry.dtype}`);
  }
  const marked = (await entry.read()) as Int32Array;
  let begin = 0;
  for (let i = 0; i <= marked.length; i++) {
    if (i < marked.length && marked[i] >= 0 && i > 0) {
      if (marked[i] >= vocabulary) refuse(`ids below ${vocabulary}`, `${marked[i]}`);
      continue;
    }
    if (i < marked.length && !(~marked[i] >= 0 && ~marked[i] < vocabulary))
      refuse(`ids below ${vocabulary}`, `${marked[i]}`);
    if ((i - begin) % batch !== 0) refuse(`calls of ${batch} sequences`, `one of ${i - begin} ids`);
    begin = i;
  }
  return History.of(marked);
}
