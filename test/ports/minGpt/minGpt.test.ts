// minGPT's character model (github.com/karpathy/minGPT at 37baab7, projects/chargpt) in this library's words, against the
// original in PyTorch 1.13: from the same weights the same 60 losses of its training loop, and the same greedy text.
// reference.safetensors holds the weights before the first step and, as metadata, what the original then printed.
import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as fw from '../../../lib';
import { targets } from '../../support/golden';
import { GPT } from './model';

const TEXT =
  'First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\nFirst Citizen:\n' +
  'You are all resolved rather to die than to famish?\n\nAll:\nResolved. resolved.\n';
const file = path.join(__dirname, 'reference.safetensors');

/** Emits batches of characters. */
class CharDataset {
  readonly itos = [...new Set(TEXT)].sort();
  private readonly stoi = new Map(this.itos.map((ch, i) => [ch, i]));

  constructor(readonly blockSize: number) {}

  get length(): number {
    return TEXT.length - this.blockSize;
  }

  /** Encodes every character to an integer. */
  encode(text: string): number[] {
    return [...text].map((ch) => this.stoi.get(ch)!);
  }

  item(idx: number): [x: number[], y: number[]] {
    // grab a chunk of (blockSize + 1) characters from the data
    const dix = this.encode(TEXT.slice(idx, idx + this.blockSize + 1));
    return [dix.slice(0, -1), dix.slice(1)];
  }
}

function recorded(): Record<string, string> {
  const bytes = readFileSync(file);
  const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString();
  return (JSON.parse(header) as { __metadata__: Record<string, string> }).__metadata__;
}

for (const { device, dtype } of targets()) {
  if (dtype !== 'float32') continue;
  describe(`minGPT on ${device}`, () => {
    it('reaches the losses of the original from its weights, and writes the same', async () => {
      const before = fw.devices().find((d) => d.available)!.device;
      fw.setDefaultDevice(device);
      try {
        await train();
      } finally {
        fw.setDefaultDevice(before);
      }
    });
  });
}

async function train(): Promise<void> {
  const trainDataset = new CharDataset(16);
  const model = new GPT({
    nLayer: 2,
    nHead: 2,
    nEmbd: 16,
    vocabSize: trainDataset.itos.length,
    blockSize: trainDataset.blockSize,
    embdPdrop: 0,
    residPdrop: 0,
    attnPdrop: 0,
  });
  const weights = await fw.loadSafetensors(file);
  model.loadStateDict(weights);
  const optimizer = model.configureOptimizers({ weightDecay: 0.1, learningRate: 5e-3, betas: [0.9, 0.95] });
  model.train();
  const losses: number[] = [];
  for (let iter = 0; iter < 60; iter++) {
    fw.scope(() => {
      // fetch the next batch (x, y)
      const items = [0, 13, 26, 39].map((j) => trainDataset.item((iter * 7 + j) % trainDataset.length));
      const [x, y] = [0, 1].map((i) =>
        fw.tensor(
          items.map((item) => item[i]),
          { dtype: 'int32' },
        ),
      );

      // forward the model
      const { loss } = model.forward(x, y);

      // backprop and update the parameters
      model.zeroGrad();
      loss!.backward();
      fw.optim.clipGradNorm(model.parameters(), 1);
      optimizer.step();
      losses.push(loss!.item());
    });
  }
  const reference = recorded();
  const expected = JSON.parse(reference.losses) as number[];
  losses.forEach((loss, i) => expect(loss, `step ${i}`).to.be.closeTo(expected[i], 2e-5 * expected[i]));

  model.eval();
  const context = fw.tensor([trainDataset.encode('First')], { dtype: 'int32' });
  const written = model.generate(context, 20);
  expect([...written.dataSync()]).to.deep.equal(JSON.parse(reference.greedy));
  expect(model.generate(context, 3, { doSample: true, topK: 5 }).shape).to.deep.equal([1, 8]);
  for (const t of [...Object.values(weights), context, written]) t.dispose();
  optimizer.dispose();
  model.dispose();
}
