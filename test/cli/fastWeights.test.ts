// What the report shows of the fast weights of a model.
import { expect } from 'chai';
import '../../lib';
import { writesOf } from '../../lib/cli/fastWeights';
import { createTask } from '../../lib/data';
import { createModel, type ModelName } from '../../lib/models';

const data = createTask('associativeRecall', { nKeys: 4, nValues: 4, pairs: 4, evaluationSize: 1 });

describe('what tokens do to fast weights', () => {
  const expected: [ModelName, string[]][] = [
    ['deltanet', ['strength', 'known before', 'known after']],
    ['gated-deltanet', ['strength', 'forgets', 'known before', 'known after']],
    ['kda', ['strength', 'forgets', 'known before', 'known after']],
    ['gla', ['forgets', 'known before', 'known after']],
    ['linear-transformer', ['known before', 'known after']],
    ['recurrent-delta', ['strength', 'known before', 'known after']],
    ['transformer', []],
  ];
  for (const [name, rows] of expected) {
    it(`of ${name}: ${rows.join(', ') || 'nothing'}`, async () => {
      const sizes = { vocabSize: data.vocabSize, hiddenSize: 16, numLayers: 2, numHeads: 2 };
      using model = createModel(name, { ...sizes, device: 'js' });
      const writes = await writesOf(model, data);
      if (rows.length === 0) return expect(writes).to.equal(undefined);
      const { tokens, rows: found } = writes!;
      expect(tokens).to.have.lengthOf(data.sequenceLength);
      expect(found.map(({ label }) => label)).to.eql(
        [1, 2].flatMap((layer) => rows.map((row) => `layer ${layer} ${row}`)),
      );
      for (const { label, values } of found) {
        expect(values).to.have.lengthOf(tokens.length);
        // An empty memory answers nothing; after one write it answers that value.
        if (label.endsWith('before')) expect(values[0]).to.be.NaN;
        else if (label.endsWith('after')) expect(values[0]).to.be.closeTo(1, 1e-6);
        else for (const value of Array.from(values)) expect(value).to.be.within(0, 1);
      }
    });
  }

  it('of one memory that has only been written once: the delta rule of strength 1 answers what it wrote last', async () => {
    const sizes = { vocabSize: data.vocabSize, hiddenSize: 16, numLayers: 1, numHeads: 1 };
    using model = createModel('deltanet', {
      ...sizes,
      useBeta: false,
      convSize: null,
      useShortConv: false,
      device: 'js',
    });
    const { rows } = (await writesOf(model, data))!;
    expect(rows.map(({ label }) => label)).to.eql(['layer 1 known before', 'layer 1 known after']);
    for (const value of Array.from(rows[1].values)) expect(value).to.be.closeTo(1, 1e-4);
  });
});
