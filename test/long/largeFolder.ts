// A folder as large as those that are published, written here in shards of bfloat16 and loaded in a process of its own, whose
// resident memory may not exceed the weights and one tensor. `--gigabytes 7` is the default; the disk must have room for
// as much and the memory for a little more.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import path from 'node:path';
import * as fw from '../../lib';
import { formatHeader, type TensorInfo } from '../../lib/io/safetensors/header';
import { withBlankWeights } from '../../lib/nn';

const SHARD_BYTES = 2e9;
/** What a process that has loaded a small model may take beside the weights: pieces in flight that the engine has not collected. */
const SLACK = 128 * 2 ** 20;
const MEGABYTE = 1e6;

type Shapes = [name: string, shape: readonly number[]][];

const bytesOf = (shape: readonly number[]): number => 2 * shape.reduce((a, b) => a * b, 1);

/** Names and shapes of a Gated DeltaNet of so many layers, and its configuration. */
async function layout(dir: string, numLayers: number): Promise<Shapes> {
  const sizes = { vocabSize: 32000, hiddenSize: 2048, numHeads: 8, headDim: 256, intermediateSize: 5632 } as const;
  // No page of the memory is touched.
  const model = withBlankWeights(() =>
    fw.createModel('gated-deltanet', { ...sizes, numLayers, device: 'cpu', dtype: 'bfloat16' }),
  );
  const { source, architecture, modelType } = model.config;
  writeFileSync(
    path.join(dir, 'config.json'),
    JSON.stringify({ ...source, architectures: [architecture], model_type: modelType, torch_dtype: 'bfloat16' }),
  );
  const shapes = Object.entries(model.stateDict()).map(([name, t]): Shapes[number] => [name, [...t.shape]]);
  model.dispose();
  return shapes;
}

/** Fills shard after shard with small numbers. */
function writeShards(dir: string, shapes: Shapes): void {
  const block = Uint16Array.from(
    { length: 2 ** 23 },
    (_, i) => 0x3c00 + ((i * 40503) % 256) + (i % 3 === 0 ? 0x8000 : 0),
  );
  const shards: Shapes[] = [[]];
  let room = SHARD_BYTES;
  for (const [name, shape] of shapes) {
    if (bytesOf(shape) > room) {
      shards.push([]);
      room = SHARD_BYTES;
    }
    shards.at(-1)!.push([name, shape]);
    room -= bytesOf(shape);
  }
  const map: Record<string, string> = {};
  shards.forEach((shard, i) => {
    const file = `model-${i + 1}-of-${shards.length}.safetensors`;
    let end = 0;
    const infos = shard.map(([name, shape]): [string, TensorInfo] => {
      map[name] = file;
      const begin = end;
      end += bytesOf(shape);
      return [name, { dtype: 'BF16', shape: [...shape], begin, end }];
    });
    const out = openSync(path.join(dir, file), 'w');
    writeSync(out, formatHeader(infos, { format: 'pt' }));
    for (let at = 0; at < end; at += block.byteLength) {
      const bytes = new Uint8Array(block.buffer, 0, Math.min(block.byteLength, end - at));
      for (let done = 0; done < bytes.length;) done += writeSync(out, bytes, done);
    }
    closeSync(out);
    console.log(`${file}: ${(end / MEGABYTE).toFixed(0)} MB`);
  });
  writeFileSync(path.join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
}

/** Loads it; the process is ours alone. */
async function load(dir: string, weights: number, largest: number): Promise<void> {
  const small = fw.createModel('gated-deltanet', { vocabSize: 8, hiddenSize: 16, numHeads: 2, device: 'cpu' });
  small.dispose();
  const before = process.memoryUsage.rss();
  const start = Date.now();
  let [told, calls] = [0, 0];
  const model = await fw.AutoModelForCausalLM.fromPretrained(dir, {
    device: 'cpu',
    dtype: 'bfloat16',
    onProgress({ done, total, name }) {
      calls++;
      if (done / total < told) return;
      console.log(`${((100 * done) / total).toFixed(0).padStart(3)} %  ${name}`);
      told = done / total + 0.1;
    },
  });
  const seconds = (Date.now() - start) / 1000;
  const grown = process.resourceUsage().maxRSS * 1024 - before;
  const mb = (bytes: number): string => `${(bytes / MEGABYTE).toFixed(0)} MB`;
  console.log(`${calls} tensors, weights of ${mb(weights)} in ${seconds.toFixed(1)} s`);
  console.log(
    `resident memory grew by at most ${mb(grown)}; weights and the largest tensor are ${mb(weights + largest)}`,
  );
  const { logits } = fw.noGrad(() => model.forward(fw.tensor([[1, 2, 3]], { dtype: 'int32', device: 'cpu' })));
  if (!(await logits.data()).every(Number.isFinite)) throw new Error('logits that are no numbers');
  if (grown > weights + Math.max(largest, SLACK)) throw new Error('more memory than the weights and one tensor');
}

async function main(gigabytes: number): Promise<void> {
  const dir = mkdtempSync(path.join(tmpdir(), 'fast-weights-large-'));
  try {
    const [one, two] = [await layout(dir, 1), await layout(dir, 2)];
    const [first, second] = [one, two].map((shapes) => shapes.reduce((sum, [, shape]) => sum + bytesOf(shape), 0));
    const layers = Math.max(1, Math.round((gigabytes * 1e9 - first) / (second - first)) + 1);
    const shapes = await layout(dir, layers);
    const bytes = shapes.map(([, shape]) => bytesOf(shape));
    const weights = bytes.reduce((a, b) => a + b, 0);
    const { bavail, bsize } = statfsSync(dir);
    if (bavail * bsize < 1.1 * weights) throw new Error(`the disk has no room for ${weights} bytes`);
    if (freemem() < 0.5 * weights) console.log('there is little memory: pages of other processes may have to go');
    writeShards(dir, shapes);
    const task = JSON.stringify([dir, weights, Math.max(...bytes)]);
    const { status } = spawnSync(process.execPath, ['--import=tsx', __filename, '--load', task], { stdio: 'inherit' });
    process.exitCode = status ?? 1;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const [option, value] = process.argv.slice(2);
const run =
  option === '--load' ? load(...(JSON.parse(value) as [string, number, number])) : main(option ? Number(value) : 7);
run.catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
