// Whole checkpoints of published architectures: what the library computes from them against the reference programs.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';
import { type Array64, type GoldenFile, goldenFolder, readGolden } from '../support/golden';
import { expectClose, rms, toleranceOf } from '../support/tolerance';

type Model = Awaited<ReturnType<typeof fw.AutoModelForCausalLM.fromPretrained>>;

const MODELS = ['linear_attn', 'retnet', 'gla', 'delta_net', 'gated_deltanet', 'gated_deltanet-attn', 'kda', 'llama'];

function ids(array: Array64, device: fw.Device): fw.Tensor {
  return fw.tensor(array.data, { shape: array.shape, dtype: 'int32', device });
}

function get(file: GoldenFile, name: string): Array64 {
  const found = file.tensors.get(name);
  if (!found) throw new Error(`${file.name} holds no ${name}`);
  return found;
}

async function take<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function checkForward(model: Model, file: GoldenFile, device: fw.Device, dtype: 'float32' | 'float64'): void {
  const tolerance = toleranceOf(dtype);
  const tokens = ids(get(file, 'input_ids'), device);
  const { logits, loss } = model.forward(tokens, { labels: tokens });
  expect([...loss.shape]).to.deep.equal([1]);
  expectClose('loss', loss.dataSync(), get(file, 'loss64').data, tolerance.forward);
  const first = logits.slice(0, 0, 1);
  expectClose('logits64', first.dataSync(), get(file, 'logits64').data, tolerance.forward);
  expectClose('logits', logits.dataSync(), get(file, 'logits').data, toleranceOf('float32').forward);
  loss.backward();
  const references = [...file.tensors].filter(([name]) => name.startsWith('grad.'));
  const floor = 1e-3 * Math.max(...references.map(([, a]) => rms(a.data)));
  const parameters = new Map(model.namedParameters());
  expect(references).to.not.have.length(0);
  for (const [name, reference] of references) {
    const parameter = parameters.get(name.slice('grad.'.length));
    expect(parameter, name).to.not.equal(undefined);
    expectClose(name, parameter!.grad!.dataSync(), reference.data, tolerance.gradient, floor);
  }
  model.zeroGrad();
}

async function checkInference(model: Model, file: GoldenFile): Promise<void> {
  const prompt = [...get(file, 'prompt_ids').data];
  const greedy = [...get(file, 'greedy_ids').data];
  const tokens = await take(model.generate(prompt, { maxNewTokens: greedy.length, stopTokens: [] }));
  expect(tokens.map((t) => t.id)).to.deep.equal(greedy);
  const steps = get(file, 'step_logits');
  const vocabulary = steps.shape[2];
  const session = model.createSession();
  const rows = [...prompt, ...greedy.slice(0, -1)].map((id) => fw.scope(() => session.feed([id]).dataSync()));
  const all = new Float64Array(rows.length * vocabulary);
  rows.forEach((row, t) => all.set(row, t * vocabulary));
  expectClose('step_logits', all, steps.data, toleranceOf('float32').forward);
  session.dispose();
}

async function checkRoundTrip(model: Model, file: GoldenFile, device: fw.Device, maxShardBytes: number): Promise<void> {
  const dir = await mkdtemp(path.join(tmpdir(), 'fast-weights-model-'));
  try {
    await model.savePretrained(dir, { maxShardBytes });
    const again = await fw.AutoModelForCausalLM.fromPretrained(dir, { device });
    const tokens = ids(get(file, 'input_ids'), device);
    const [a, b] = [model, again].map((m) => fw.noGrad(() => fw.scope(() => m.forward(tokens).logits.dataSync())));
    expect(a).to.deep.equal(b);
    again.dispose();
  } finally {
    await rm(dir, { recursive: true });
  }
}

const folder = path.join(goldenFolder ?? '', 'models');

if (goldenFolder && existsSync(folder)) {
  const available = fw.devices().filter((d) => d.available);
  for (const name of MODELS) {
    const dir = path.join(folder, name);
    describe(`golden/models/${name}`, () => {
      const file = readGolden(path.join(dir, 'expected.safetensors'));
      for (const { device } of available) {
        let model: Model;
        before(async () => {
          model = await fw.AutoModelForCausalLM.fromPretrained(dir, { device });
        });
        after(() => model.dispose());
        it(`logits, loss and gradients on ${device}`, () =>
          fw.scope(() => checkForward(model, file, device, 'float32')));
        it(`greedy tokens and logits step by step on ${device}`, () => checkInference(model, file));
        it(`saved and loaded: the same bits on ${device}`, async () => {
          await checkRoundTrip(model, file, device, 5e9);
          await checkRoundTrip(model, file, device, 20_000);
        });
      }
      it('logits, loss and gradients in float64 on js', async () => {
        const model = await fw.AutoModelForCausalLM.fromPretrained(dir, { device: 'js', dtype: 'float64' });
        fw.scope(() => checkForward(model, file, 'js', 'float64'));
        model.dispose();
      });
    });
  }
}
