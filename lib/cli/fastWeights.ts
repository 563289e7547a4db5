// The fast weights of a model while it reads, as pictures: the matrices at some moments, and what each token does to them.
import { breathe } from '../platform';
import { Tensor } from '../core';
import type { Session, State } from '../inference';
import { type CausalLM, FastWeightMixer, type RuleInputs } from '../models';
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

/** What a layer's first head was given at a token: its key as the rule takes it, the value, and the gates that it has. */
interface Write {
  key: Float64Array;
  value: Float64Array;
  strength?: number;
  forgets?: number;
}

/** Of a single token. */
function writeOf({ k, v, beta, gate, qkL2Norm, sumNorm }: RuleInputs, { heads, keyDim, valueDim }: Sizes): Write {
  const key = Float64Array.from(k.dataSync().subarray(0, keyDim));
  const size = qkL2Norm ? Math.hypot(...key) : sumNorm ? key.reduce((a, b) => a + b, 0) : 1;
  const ofHead = (t: Tensor | null | undefined): ArrayLike<number> | undefined =>
    t?.dataSync().subarray(0, t.size / heads);
  const [strengths, gates] = [ofHead(beta), ofHead(gate)];
  return {
    key: key.map((x) => x / (size || 1)),
    value: Float64Array.from(v.dataSync().subarray(0, valueDim)),
    ...(strengths && { strength: mean(strengths) }),
    ...(gates && { forgets: 1 - mean(Array.from(gates, Math.exp)) }),
  };
}

type Sizes = FastWeightMixer['sizes'];

function mean(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, x) => sum + x / values.length, 0);
}

/** The cosine between what a memory answers to a key and a value; NaN where it answers nothing. */
function agreement({ columns, data }: Matrix, { key, value }: Write): number {
  const answer = value.map((_, j) => key.reduce((sum, x, i) => sum + x * data[i * columns + j], 0));
  const dot = answer.reduce((sum, x, j) => sum + x * value[j], 0);
  return dot / (Math.hypot(...answer) * Math.hypot(...value));
}

/** What the first tokens of the evaluation set do to the memories of a model; undefined for models without any. */
export async function writesOf(model: CausalLM, data: Dataset): Promise<TokenStrips | undefined> {
  const mixers = [...model.namedModules()].flatMap(([, module]) => (module instanceof FastWeightMixer ? module : []));
  const count = Math.min(ROWS, mixers.length);
  if (count === 0) return undefined;
  const [batch] = data.evaluation(1);
  const ids = batch.inputs.subarray(0, Math.min(TOKENS, batch.sequenceLength));
  const rows = Array.from({ length: count }, () => new Map<string, number[]>());
  const writes: Write[] = [];
  mixers.forEach((mixer, i) => (mixer.watch = (inputs) => void (writes[i] = writeOf(inputs, mixer.sizes))));
  try {
    using session = model.createSession();
    let before = await memoriesOf(session);
    for (const id of ids) {
      session.feed([id]).dispose();
      const after = await memoriesOf(session);
      rows.forEach((row, i) => {
        const { strength, forgets } = writes[i];
        const known = {
          'known before': agreement(before[i], writes[i]),
          'known after': agreement(after[i], writes[i]),
        };
        for (const [name, value] of Object.entries({ strength, forgets, ...known })) {
          if (value !== undefined) row.set(name, [...(row.get(name) ?? []), value]);
        }
      });
      before = after;
      await breathe();
    }
  } finally {
    for (const mixer of mixers) mixer.watch = null;
  }
  return {
    title: `First head of each layer, the first ${ids.length} tokens`,
    tokens: Array.from(ids, (id) => data.decode([id])),
    rows: rows.flatMap((row, i) =>
      [...row].map(([name, values]): TokenRow => ({ label: `layer ${i + 1} ${name}`, values })),
    ),
  };
}
