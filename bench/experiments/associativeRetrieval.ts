// The synthetic retrieval experiment of Schlag, Irie and Schmidhuber 2021 (spec 3.2): a memory of N pairs, with (setting
// 2) or without (setting 1) keys that come again with another value. Data, initialisation, optimiser and stopping rule
// are the published ones. Run: node --import=tsx bench/experiments/associativeRetrieval.ts --help
import { parseArgs } from 'node:util';
import * as fw from '../../lib';

const USAGE = `Associative retrieval (Schlag et al. 2021)

  --keys <n>        N, different keys and values (default 40)
  --setting <name>  update: keys return with new values; capacity: every key once (default update)
  --rule <name>     delta or sum (default delta)
  --features <name> dpfp1, dpfp2, dpfp3 or elu1 (default dpfp1)
  --seed <n>        (default 1)
  --max-steps <n>   (default 100000)
  --device <name>   cpu or js (default: the fastest there is)
  --help            this text`;

const KEY_WIDTH = 64;
const EVALUATE_EVERY = 100;
const PATIENCE = 10;

type Batch = ReturnType<fw.data.AssociativeRetrieval['evaluation']>;

interface Settings {
  rule: 'delta' | 'sum';
  features: fw.FeatureMapOptions;
  keys: number;
}

/** One memory: keys and strengths from the pair, queries from the key alone, values as they are. */
class Retrieval extends fw.nn.Module {
  embedding: fw.nn.Embedding;
  toKey: fw.nn.Linear;
  toStrength: fw.nn.Linear;
  toQuery: fw.nn.Linear;

  constructor(private readonly settings: Settings) {
    super();
    const N = settings.keys;
    const width = Math.floor(2.2 * N);
    this.embedding = new fw.nn.Embedding(N, width);
    this.toKey = new fw.nn.Linear(N + width, KEY_WIDTH);
    this.toStrength = new fw.nn.Linear(N + width, 1);
    this.toQuery = new fw.nn.Linear(width, KEY_WIDTH);
    fw.noGrad(() => {
      for (const t of [...this.toKey.parameters(), ...this.toQuery.parameters()]) {
        fw.scope(() => t.copy_(fw.rand(t.shape, { low: -1 / 8, high: 1 / 8 })));
      }
    });
  }

  /** What the memory answers to every query: [B, Q, N]. */
  forward({ batchSize: B, length: L, queryCount: Q, keys, values, queries }: Batch): fw.Tensor {
    const { rule, features } = this.settings;
    const N = this.settings.keys;
    const ids = (data: Int32Array, n: number): fw.Tensor => fw.tensor(data, { shape: [B, n], dtype: 'int32' });
    const v = fw.tensor(oneHot(values, N), { shape: [B, L, N] });
    const pairs = fw.cat([v, this.embedding.forward(ids(keys, L))], 2);
    const k = fw.featureMap(this.toKey.forward(pairs), { ...features, sumNorm: true }).unsqueeze(2);
    const q = fw.featureMap(this.toQuery.forward(this.embedding.forward(ids(queries, Q))), {
      ...features,
      sumNorm: true,
      sumNormEps: 1e-6,
    });
    const write = { outputFinalState: true, scale: 1 };
    if (rule === 'delta') {
      const beta = this.toStrength.forward(pairs).sigmoid();
      return q.matmul(fw.deltaRule(k, k, v.unsqueeze(2), { beta, ...write }).finalState!.squeeze(1));
    }
    const { finalState, finalNormalizer } = fw.linearAttention(k, k, v.unsqueeze(2), { normalize: true, ...write });
    const total = q.matmul(finalNormalizer!.permute(0, 2, 1));
    return q.matmul(finalState!.squeeze(1)).div(total.add(1e-6));
  }

  /** Half the squared error, summed over values, for every query that counts; and how many do. */
  loss(batch: Batch): { sum: fw.Tensor; count: number } {
    const N = this.settings.keys;
    const { batchSize: B, queryCount: Q, labels } = batch;
    const counted = Float32Array.from(labels, (label) => (label >= 0 ? 1 : 0));
    const target = fw.tensor(oneHot(labels, N), { shape: [B, Q, N] });
    const errors = this.forward(batch).sub(target).square().sum(-1);
    const sum = errors
      .mul(fw.tensor(counted, { shape: [B, Q] }))
      .sum()
      .mul(0.5);
    return { sum, count: counted.reduce((a, b) => a + b, 0) };
  }
}

function oneHot(ids: Int32Array, n: number): Float32Array {
  const out = new Float32Array(ids.length * n);
  ids.forEach((id, i) => {
    if (id >= 0) out[i * n + id] = 1;
  });
  return out;
}

function featuresOf(name: string): fw.FeatureMapOptions {
  const nu = /^dpfp([123])$/.exec(name);
  if (nu) return { featureMap: 'dpfp', nu: Number(nu[1]) };
  if (name === 'elu1') return { featureMap: 'elu1' };
  throw new Error(`--features must be dpfp1, dpfp2, dpfp3 or elu1, got ${name}`);
}

function choose<const T extends string>(option: string, value: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (!found) throw new Error(`--${option} must be ${choices.join(' or ')}, got ${value}`);
  return found;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      keys: { type: 'string', default: '40' },
      setting: { type: 'string', default: 'update' },
      rule: { type: 'string', default: 'delta' },
      features: { type: 'string', default: 'dpfp1' },
      seed: { type: 'string', default: '1' },
      'max-steps': { type: 'string', default: '100000' },
      device: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(USAGE);
  if (values.device) fw.setDefaultDevice(choose('device', values.device, ['cpu', 'js']));
  const keys = Number(values.keys);
  const seed = Number(values.seed);
  fw.manualSeed(seed);
  const data = fw.data.associativeRetrieval2021({
    keys,
    seed,
    setting: choose('setting', values.setting, ['update', 'capacity']),
  });
  const model = new Retrieval({
    keys,
    rule: choose('rule', values.rule, ['delta', 'sum']),
    features: featuresOf(values.features),
  });
  const optimizer = new fw.optim.Adam(model.parameters(), { lr: 1e-3 });
  const evaluation = data.evaluation();
  const started = performance.now();
  let [best, since] = [Infinity, 0];
  for (let step = 1; step <= Number(values['max-steps']); step++) {
    fw.scope(() => {
      const { sum, count } = model.loss(data.batch(step - 1));
      sum.div(count).backward();
      optimizer.step();
      optimizer.zeroGrad();
    });
    if (step % EVALUATE_EVERY > 0) continue;
    const measured = fw.noGrad(() => fw.scope(() => model.loss(evaluation)));
    const loss = (await measured.sum.data())[0] / measured.count;
    measured.sum.dispose();
    since = loss < best ? 0 : since + 1;
    best = Math.min(best, loss);
    console.log(`step ${step}  evaluation loss ${loss.toFixed(5)}  best ${best.toFixed(5)}`);
    if (loss <= 1e-3 || since > PATIENCE) break;
  }
  console.log(`best ${best.toFixed(5)} after ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
