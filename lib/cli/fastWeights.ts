// The fast weight matrices of a model while it reads, as a table of pictures: a row per layer, a column per moment.
import { Tensor } from '../core';
import type { State } from '../inference';
import type { HeatmapGrid, Matrix } from '../viz';
import type { Dataset } from '../data';
import type { createModel } from '../models';

type LanguageModel = ReturnType<typeof createModel>;

const MOMENTS = 5;
const ROWS = 4;

/** [K, V] matrices of the first head, one per layer that has such a memory. */
async function matricesIn(state: State): Promise<Matrix[]> {
  if (state instanceof Tensor) {
    if (state.ndim !== 4) return [];
    const [, , rows, columns] = state.shape;
    const head = state.slice(0, 0, 1).slice(1, 0, 1);
    const data = await head.data();
    head.dispose();
    return [{ rows, columns, data }];
  }
  if (state === null || typeof state !== 'object') return [];
  const parts = await Promise.all(Object.values(state).map((part) => matricesIn(part as State)));
  return parts.flat();
}

/** What is in the memories of a session now. */
export async function memoriesOf(session: ReturnType<LanguageModel['createSession']>): Promise<Matrix[]> {
  const snapshot = session.snapshot();
  try {
    return await matricesIn(snapshot.state);
  } finally {
    snapshot.dispose();
  }
}

/** The memories while the first sequence of the evaluation set goes by; undefined for models without matrices. */
export async function fastWeightsOf(model: LanguageModel, data: Dataset): Promise<HeatmapGrid | undefined> {
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
  const layers = Math.min(ROWS, columns[0].length);
  if (layers === 0) return undefined;
  return {
    title: 'First head of each layer, reading a validation sequence',
    columnLabels: ends.map((end) => `after ${end} tokens`),
    rows: Array.from({ length: layers }, (_, i) => ({ label: `memory ${i + 1}`, cells: columns.map((c) => c[i]) })),
  };
}
