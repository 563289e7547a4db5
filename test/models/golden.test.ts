// Whole checkpoints of published architectures: what the library computes from them against the reference programs.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';
import { modelFamilies } from '../../lib/models';
import { forwardFailures, idsOf, inferenceFailures, type Model, required } from '../golden/checkpoint';
import { type GoldenFile, goldenFolder, readGolden } from '../support/golden';

async function checkRoundTrip(model: Model, file: GoldenFile, device: fw.Device, maxShardBytes: number): Promise<void> {
  const dir = await mkdtemp(path.join(tmpdir(), 'fast-weights-model-'));
  try {
    await model.savePretrained(dir, { maxShardBytes });
    const again = await fw.AutoModelForCausalLM.fromPretrained(dir, { device });
    const tokens = idsOf(required(file, 'input_ids'), device);
    const [a, b] = [model, again].map((m) => fw.noGrad(() => fw.scope(() => m.forward(tokens).logits.dataSync())));
    expect(a).to.deep.equal(b);
    again.dispose();
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** Whether the family of a folder is there. */
function isKnown(dir: string): boolean {
  const { model_type: type } = JSON.parse(readFileSync(path.join(dir, 'config.json'), 'utf8')) as {
    model_type: string;
  };
  return modelFamilies.some(({ modelType }) => modelType === type);
}

const folder = path.join(goldenFolder ?? '', 'models');

if (goldenFolder && existsSync(folder)) {
  const available = fw.devices().filter((d) => d.available);
  for (const name of readdirSync(folder).filter((entry) => isKnown(path.join(folder, entry)))) {
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
          expect(forwardFailures(model, file, { device, dtype: 'float32' })).to.deep.equal([]));
        it(`greedy tokens and logits step by step on ${device}`, async () =>
          expect(await inferenceFailures(model, file)).to.deep.equal([]));
        it(`saved and loaded: the same bits on ${device}`, async () => {
          await checkRoundTrip(model, file, device, 5e9);
          await checkRoundTrip(model, file, device, 20_000);
        });
      }
      it('logits, loss and gradients in float64 on js', async () => {
        const model = await fw.AutoModelForCausalLM.fromPretrained(dir, { device: 'js', dtype: 'float64' });
        expect(forwardFailures(model, file, { device: 'js', dtype: 'float64' })).to.deep.equal([]);
        model.dispose();
      });
    });
  }
}
