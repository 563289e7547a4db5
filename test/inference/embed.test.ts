// Embeddings: hidden vectors behind the last norm, pooled, alone and between the ticks of a batch.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectClose } from '../support/tolerance';

const VOCABULARY = 17;
const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const bytes = (): number => fw.memory().devices.reduce((sum, d) => sum + d.bytes, 0);
const text = (n: number): number[] => Array.from({ length: n }, (_, i) => (5 * i + 3) % VOCABULARY);

async function messageOf(run: () => Promise<unknown>): Promise<string> {
  return run().then(
    () => 'none',
    (error: Error) => error.message,
  );
}

for (const device of available) {
  describe(`embed on ${device}`, () => {
    for (const family of ['gated-deltanet', 'transformer', 'lstm'] as const) {
      it(`${family}: the mean or the last hidden vector, of length 1 or as it is`, async () => {
        fw.manualSeed(3);
        const sizes = { vocabSize: VOCABULARY, hiddenSize: 16, numLayers: 2, numHeads: 2, intermediateSize: 16 };
        const model = fw.createModel(family, { ...sizes, initializerRange: 0.3, device }).eval();
        using batch = new fw.BatchedModel(model, { promptSlice: 8 });
        for (const tokens of [1, 9, 30]) {
          const rows = fw.scope(() => {
            const ids = fw.tensor(text(tokens), { shape: [1, tokens], dtype: 'int32', device });
            return fw.noGrad(() => model.model.forward(ids).output.squeeze(0).tolist()) as number[][];
          });
          const mean = rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / tokens);
          const unit = (x: number[]): number[] => x.map((each) => each / Math.hypot(...x));
          const before = bytes();
          const [whole, last, raw] = [
            await model.embed(text(tokens)),
            await model.embed(text(tokens), { pooling: 'last' }),
            await model.embed(text(tokens), { normalize: false }),
          ];
          const [sliced, lastSliced] = await Promise.all([
            batch.embed(text(tokens)),
            batch.embed(text(tokens), { pooling: 'last', normalize: false, priority: 1 }),
          ]);
          expectClose('mean', whole, unit(mean), 1e-5);
          expectClose('last', last, unit(rows[tokens - 1]), 1e-5);
          expectClose('not normalized', raw, mean, 1e-5);
          expectClose('in slices', sliced, unit(mean), 1e-5);
          expectClose('last in slices', lastSliced, rows[tokens - 1], 1e-5);
          // What earlier tests left may go meanwhile.
          expect(bytes()).to.be.at.most(before);
        }
        expect(batch.numbers.ticks).to.equal(0);
        model.dispose();
      });
    }
  });
}

describe('embed', () => {
  it('gives the same bits while others decode', async () => {
    const model = fw.createModel('gla', { vocabSize: VOCABULARY, hiddenSize: 16, numLayers: 1, numHeads: 2 });
    using batch = new fw.BatchedModel(model, { promptSlice: 8 });
    const alone = await batch.embed(text(50));
    using session = batch.createSession();
    const tokens = session.generate([1], { maxNewTokens: 40, stopTokens: [] });
    const decode = (async () => {
      for await (const _ of tokens);
    })();
    expect(await batch.embed(text(50))).to.eql(alone);
    await decode;
    model.dispose();
  });

  it('refuses what it cannot do by name', async () => {
    const model = fw.createModel('gla', { vocabSize: VOCABULARY, hiddenSize: 16, numLayers: 1, numHeads: 2 });
    expect(await messageOf(() => model.embed([]))).to.match(/ids must be at least one token/);
    expect(await messageOf(() => model.embed([1], { pooling: 'max' } as object))).to.match(/embed: pooling must be/);
    expect(await messageOf(() => model.embed([1], { signal: AbortSignal.abort() }))).to.match(/aborted/);
    using batch = new fw.BatchedModel({ ...byHand, device: 'js' });
    expect(await messageOf(() => batch.embed([1]))).to.match(/embed: model must be one with hiddenStages/);
    model.dispose();
  });
});

const byHand: Omit<fw.RecurrentModel, 'device'> = {
  vocabSize: 2,
  stopTokens: [],
  initialState: () => null,
  prefill: () => expect.fail('was asked'),
  step: () => expect.fail('was asked'),
};
