// The synthetic retrieval data of Schlag, Irie and Schmidhuber 2021 (spec 3.2). A position is a pair (key, value), and
// queries read without writing, so it feeds a memory rather than a language model.
import { checkChoice, checkInteger, checkOptions, type HostRandom, type OptionNames } from '../../core';
import { evaluationRandom, IGNORED, MAX_STEP, trainingRandom } from '../dataset';
import { distinct } from '../sampling';

/** Options of `associativeRetrieval2021`. */
export interface AssociativeRetrievalOptions {
  /** N: different keys, and different values. Default 40. */
  keys?: number;
  /** `capacity` (setting 1): L = N, nothing twice. `update` (setting 2): L = 2 N, drawn with replacement. The default. */
  setting?: 'capacity' | 'update';
  /** Default 0. */
  seed?: number;
  /** Sequences in the evaluation set, default 20. */
  evaluationSize?: number;
}

const OPTIONS: OptionNames<AssociativeRetrievalOptions> = {
  keys: true,
  setting: true,
  seed: true,
  evaluationSize: true,
};

/** Sequences of pairs to write into a memory, and queries to read it with. */
export interface RetrievalBatch {
  /** B; 32 by default in training, all of the set in the evaluation. */
  batchSize: number;
  /** L: pairs in a sequence. */
  length: number;
  /** Q: queries per sequence. */
  queryCount: number;
  /** Key ids [B, L]. */
  keys: Int32Array;
  /** Value ids [B, L]. */
  values: Int32Array;
  /** Key ids [B, Q]. */
  queries: Int32Array;
  /** Value ids [B, Q]: the value beside the last occurrence of the query; IGNORED past a row's last query. */
  labels: Int32Array;
}

/** Batches of pairs; no `Dataset`, since keys, values and queries come apart. */
export interface AssociativeRetrieval {
  /** Always `associativeRetrieval2021`. */
  readonly name: string;
  /** A line for people: the setting and the number of keys. */
  readonly description: string;
  /** N */
  readonly keys: number;
  /** A training batch: one query per sequence, the key at a position drawn uniformly. */
  batch(step: number, batchSize?: number): RetrievalBatch;
  /**
   * The fixed evaluation set: every key of a sequence as a query, the first 200 of them in ascending order. In setting 2
   * too its sequences have N positions, as in the authors' program.
   */
  evaluation(): RetrievalBatch;
}

interface Row {
  keys: number[];
  values: number[];
  queries: number[];
}

const MOST_QUERIES = 200;

/**
 * The capacity and update tasks of Schlag, Irie and Schmidhuber 2021 (spec 3.2): pairs of N keys and N values, then the
 * value beside the last occurrence of a key.
 */
export function associativeRetrieval2021(options: AssociativeRetrievalOptions = {}): AssociativeRetrieval {
  const name = 'associativeRetrieval2021';
  checkOptions(name, options, OPTIONS);
  const N = checkInteger(name, 'keys', options.keys ?? 40, 1);
  const setting = checkChoice(name, 'setting', options.setting ?? 'update', ['capacity', 'update']);
  const seed = checkInteger(name, 'seed', options.seed ?? 0);
  const evaluationSize = checkInteger(name, 'evaluationSize', options.evaluationSize ?? 20, 1, MAX_STEP);
  const L = setting === 'capacity' ? N : 2 * N;

  const drawIds = (random: HostRandom, length: number): number[] =>
    setting === 'capacity' ? distinct(random, length, 0, N) : Array.from({ length }, () => random.below(N));

  return {
    name,
    description: `${setting === 'capacity' ? 'setting 1' : 'setting 2'} with ${N} keys`,
    keys: N,
    batch(step, batchSize = 32) {
      const random = trainingRandom(seed, checkInteger(name, 'step', step, 0, MAX_STEP - 1));
      const rows = Array.from({ length: checkInteger(name, 'batchSize', batchSize, 1) }, () => {
        const keys = drawIds(random, L);
        return { keys, values: drawIds(random, L), queries: [keys[random.below(L)]] };
      });
      return retrievalBatch(rows);
    },
    evaluation() {
      const rows = Array.from({ length: evaluationSize }, (_, i) => {
        const random = evaluationRandom(seed, i);
        const keys = drawIds(random, N);
        const queries = [...new Set(keys)].sort((a, b) => a - b).slice(0, MOST_QUERIES);
        return { keys, values: drawIds(random, N), queries };
      });
      return retrievalBatch(rows);
    },
  };
}

/** Rows with fewer queries than the longest repeat their first one, ignored. */
function retrievalBatch(rows: Row[]): RetrievalBatch {
  const queryCount = Math.max(...rows.map((row) => row.queries.length));
  const queries = new Int32Array(rows.length * queryCount);
  const labels = new Int32Array(rows.length * queryCount).fill(IGNORED);
  rows.forEach((row, b) => {
    queries.fill(row.queries[0], b * queryCount, (b + 1) * queryCount);
    row.queries.forEach((query, i) => {
      queries[b * queryCount + i] = query;
      labels[b * queryCount + i] = row.values[row.keys.lastIndexOf(query)];
    });
  });
  return {
    batchSize: rows.length,
    length: rows[0].keys.length,
    queryCount,
    keys: Int32Array.from(rows.flatMap((row) => row.keys)),
    values: Int32Array.from(rows.flatMap((row) => row.values)),
    queries,
    labels,
  };
}
