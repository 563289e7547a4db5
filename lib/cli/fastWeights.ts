// The fast weights of a model while it reads, as pictures: the matrices at some moments, and what each token does to them.
import { FastWeightsError, Tensor } from '../core';
import type { Session, State } from '../inference';
import { type InspectedMemory, inspectFastWeights } from '../inspect';
import type { CausalLM } from '../models';
import type { HeatmapGrid, Matrix, TokenRow, TokenStrips } from '../viz';
import type { Dataset } from '../data';

const MOMENTS = 5;
const ROWS = 4;
const TOKENS = 64;

/** The tensors [B, HV, K, V] that layers of a fast-weight model keep under the name `memory`. */
function memoriesIn(state: State): Tensor[] {
  if (state === null || typeof state !== 'object' || state instanceof Tensor) return [];
  const { memory } = Array.isArray(state) ? { memory: null } : state;
  if (memory instanceof Tensor && memory.ndim === 4) return [memory];
  return Object.values(state).flatMap((part) => memoriesIn(part));
}

/** The first head's matrix in every layer of a session, as it is now. */
export async function memoriesOf(session: Session): Promise<Matrix[]> {
  using snapshot = session.snapshot();
  return Promise.all(
    memoriesIn(snapshot.state).map(async (memory) => {
      const [, , rows, columns] = memory.shape;
      const data = (await memory.data()).subarray(0, rows * columns);
      return { rows, columns, data };
    }),
  );
}

/** The memories while the first sequence of the evaluation set goes by; undefined for models without any. */
export async function fastWeightsOf(model: CausalLM, data: Dataset): Promise<HeatmapGrid | undefined> {
  const [batch] = data.evaluation(1);
  const T = batch.sequenceLength;
  const moments = Math.min(MOMENTS, T);
  const ends = Array.from({ length: moments }, (_, i) => Math.ceil((T * (i + 1)) / moments));
  using session = model.createSession();
  const columns: Matrix[][] = [];
  let from = 0;
  for (const end of ends) {
    session.feed(batch.inputs.subarray(from, end)).dispose();
    columns.push(await memoriesOf(session));
    from = end;
  }
  const count = Math.min(ROWS, columns[0].length);
  if (count === 0) return undefined;
  return {
    title: 'First head of each layer, reading a validation sequence',
    columnLabels: ends.map((end) => `after ${end} tokens`),
    rows: Array.from({ length: count }, (_, i) => ({ label: `layer ${i + 1}`, cells: columns.map((c) => c[i]) })),
  };
}

/** What the first tokens of the evaluation set do to the memories of a model; undefined for models without any. */
export async function writesOf(model: CausalLM, data: Dataset): Promise<TokenStrips | undefined> {
  const [batch] = data.evaluation(1);
  const ids = batch.inputs.subarray(0, Math.min(TOKENS, batch.sequenceLength));
  const found = await inspectFastWeights(model, ids, { head: 1 }).catch((error: unknown) => {
    if (error instanceof FastWeightsError && error.code === 'UNSUPPORTED') return undefined;
    throw error;
  });
  if (!found) return undefined;
  // Of several matrices of a layer the first, and of several writes of a token the last.
  const layers = new Map<number, InspectedMemory>();
  for (const memory of found.memories) if (!layers.has(memory.layer)) layers.set(memory.layer, memory);
  const rows = [...layers.values()].slice(0, ROWS).flatMap(({ layer, course, writesPerToken: n }) => {
    const { strength, forgets, knownBefore, knownAfter } = course;
    const series = { strength, forgets, 'known before': knownBefore, 'known after': knownAfter };
    return Object.entries(series).flatMap(([name, all]): TokenRow[] =>
      all ? [{ label: `layer ${layer} ${name}`, values: all.filter((_, t) => t % n === n - 1) }] : [],
    );
  });
  return {
    title: `First head of each layer, the first ${ids.length} tokens`,
    tokens: Array.from(ids, (id) => data.decode([id])),
    rows,
  };
}
