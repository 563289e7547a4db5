// The whole model of the synthetic retrieval tasks of 2021.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';
import { describeFolders } from '../golden/table';

describeFolders('synthetic2021');

const SIZES = { numKeys: 5, keySize: 4 };
const VARIANTS: fw.models.AssociativeRetrieval2021Options[] = [
  { updateRule: 'sum' },
  { updateRule: 'fwm', featureMap: 'tanh' },
  { featureMap: 'dpfp', nu: 2 },
];

for (const where of targets()) {
  describe(`AssociativeRetrieval2021 on ${where.device}, ${where.dtype}`, () => {
    const ids = (rows: number[][]): fw.Tensor => fw.tensor(rows, { dtype: 'int32', device: where.device });
    const keys = ids([
      [0, 3, 1, 3],
      [4, 4, 2, 0],
    ]);
    const values = ids([
      [5, 9, 6, 7],
      [8, 8, 5, 9],
    ]);

    for (const options of VARIANTS) {
      it(`${options.updateRule ?? 'ours'}: many queries as one after the other, from its own weights`, () => {
        fw.manualSeed(5);
        const model = new fw.models.AssociativeRetrieval2021({ ...SIZES, ...options, ...where });
        const all = model.forward(keys, values, ids([[3, 0], [4, 2]])); // prettier-ignore
        expect(all.shape).to.deep.equal([2, 2, 5]);
        const weights = Object.fromEntries(model.namedParameters()) as never;
        [ids([[3], [4]]), ids([[0], [2]])].forEach((query, i) => {
          const inputs = { ...(weights as fw.models.AssociativeRetrieval2021Inputs), keys, values, query };
          const { output } = fw.associativeRetrieval2021(inputs, options);
          const expected = all
            .slice(1, i, i + 1)
            .squeeze(1)
            .dataSync();
          expectClose(`query ${i}`, output.dataSync(), expected, toleranceOf(where.dtype).forward);
        });
        model.dispose();
      });
    }

    it('draws the directions of favor anew, orthogonal in groups, and has the names and bounds of the published program', () => {
      fw.manualSeed(6);
      const model = new fw.models.AssociativeRetrieval2021({ ...SIZES, featureMap: 'favor', nu: 6, ...where });
      const one = (): number[] => [...model.forward(keys, values, ids([[1], [2]])).dataSync()];
      expect(one()).to.not.deep.equal(one());
      expect(one().every(Number.isFinite)).to.equal(true);
      const shapes = model.namedParameters().map(([name, t]) => [name, ...t.shape]);
      expect(shapes).to.deep.equal([
        ['embeddingK.weight', 10, 11],
        ['W_k.weight', 4, 16],
        ['W_k.bias', 4],
        ['W_q.weight', 4, 11],
        ['W_q.bias', 4],
        ['W_b.weight', 1, 16],
        ['W_b.bias', 1],
      ]);
      expect(Math.max(...model.W_k.weight.abs().dataSync())).to.be.within(0.4, 0.5);
      model.dispose();
    });

    it('names what does not fit', () => {
      const model = new fw.models.AssociativeRetrieval2021({ ...SIZES, ...where });
      const query = ids([[1], [2]]);
      expectError('SHAPE', /values must be int32 \[2, 4\]/, () => model.forward(keys, values.slice(1, 0, 3), query));
      expectError('SHAPE', /query must be int32 \[2, one or more\]/, () =>
        model.forward(keys, values, keys.to(where.dtype)),
      );
      expectError('INVALID_ARGUMENT', /embeddingK.weight must be a Tensor/, () =>
        fw.associativeRetrieval2021({ keys, values, query } as never),
      );
      const wish = { ...SIZES, featureMap: 'favor' as const };
      expectError('INVALID_ARGUMENT', /nu must be/, () => new fw.models.AssociativeRetrieval2021(wish));
      model.dispose();
    });
  });
}
