// The completion of binary patterns, and a plastic network that learns it.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const { patternCompletion, wrongSigns } = fw.data;

describe('pattern completion', () => {
  it('shows every pattern in every cycle, then half of one of them', () => {
    const data = patternCompletion({ bits: 51, seed: 4 });
    expect([data.length, data.width]).to.eql([2 * 5 * 10 + 6, 52]);
    const { inputs, targets, batchSize } = data.batch(3, 2);
    expect([batchSize, inputs.length, targets.length]).to.eql([2, 2 * 106 * 52, 2 * 51]);
    for (let b = 0; b < 2; b++) {
      const rows = Array.from({ length: 106 }, (_, t) => [...inputs.slice((b * 106 + t) * 52, (b * 106 + t + 1) * 52)]);
      expect(rows.every((row) => row[51] === 20)).to.equal(true);
      const target = [...targets.slice(b * 51, (b + 1) * 51)];
      const shown: string[][] = [[], []];
      for (let i = 0; i < 10; i++) {
        const block = rows.slice(10 * i, 10 * i + 10).map((row) => row.slice(0, 51));
        for (const row of block.slice(0, 6)) expect(row).to.eql(block[0]);
        for (const row of block.slice(6)) expect(row.every((x) => x === 0)).to.equal(true);
        expect(block[0].filter((x) => x === -20).length).to.equal(25);
        shown[Math.floor(i / 5)].push(block[0].map((x) => x / 20).join());
      }
      expect(new Set(shown[0]).size).to.equal(5);
      expect([...shown[0]].sort()).to.eql([...shown[1]].sort());
      expect(shown[0]).to.include(target.join());
      for (const row of rows.slice(100)) {
        expect(row.filter((x) => x === 0).length).to.equal(25);
        row.slice(0, 51).forEach((x, i) => expect(x === 0 || x === 20 * target[i]).to.equal(true));
      }
    }
    expect(data.batch(3, 2)).to.eql(patternCompletion({ bits: 51, seed: 4 }).batch(3, 2));
    expect(data.batch(4, 2)).to.not.eql(data.batch(3, 2));
    expect(data.evaluation()).to.eql(data.evaluation());
  });

  it('counts signs, and refuses what it is not', () => {
    expect(wrongSigns([0.1, -3, 0, 2], [1, 1, -1, 1])).to.equal(0.5);
    expectError('SHAPE', /outputs/, () => wrongSigns([1], [1, 2]));
    expectError('INVALID_ARGUMENT', /bits/, () => patternCompletion({ bits: 0 }));
    expectError('INVALID_ARGUMENT', /hidden/, () => patternCompletion({ hidden: 2 }));
    expectError('INVALID_ARGUMENT', /bit;/, () => patternCompletion({ bit: 3 } as never));
  });

  it('is learnt by a plastic network, and not by one without plasticity', () => {
    const data = patternCompletion({ bits: 20, patterns: 2, cycles: 1, shown: 3, pause: 1, evaluationSize: 100 });
    const errorAfter = (steps: number, plastic: boolean): number =>
      fw.withSeed(2, () =>
        fw.scope(() => {
          const net = new fw.nn.PlasticRnn(data.width, data.width, { project: false });
          if (!plastic) fw.noGrad(() => net.alpha.zero_());
          const parameters = plastic ? net.parameters() : [net.w];
          const adam = new fw.optim.Adam(parameters, { lr: 0.03 });
          const run = ({ batchSize, length, width, inputs }: fw.data.PatternBatch): fw.Tensor => {
            const x = fw.tensor(inputs, { shape: [batchSize, length, width] });
            const { output } = net.forward(x);
            return output.select(1, length - 1).slice(1, 0, width - 1);
          };
          for (let s = 0; s < steps; s++) {
            fw.scope(() => {
              const batch = data.batch(s, 8);
              const target = fw.tensor(batch.targets, { shape: [8, data.width - 1] });
              run(batch).sub(target).square().sum().div(8).backward();
              adam.step();
              adam.zeroGrad();
            });
          }
          const batch = data.evaluation();
          return wrongSigns(
            fw
              .noGrad(() => run(batch))
              .contiguous()
              .dataSync(),
            batch.targets,
          );
        }),
      );
    const found = fw.withChecks(false, () => [errorAfter(80, true), errorAfter(20, false)]);
    expect(found[0]).to.be.below(0.1);
    expect(found[1]).to.be.above(0.2);
  });
});
