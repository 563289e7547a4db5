// Evolution strategies.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose } from '../support/tolerance';

const { EvolutionStrategy } = fw.optim;

for (const where of targets().filter(({ dtype }) => dtype === 'float32')) {
  describe(`evolution strategies on ${where.device}`, () => {
    const leaf = (values: number[], dtype: fw.DType = 'float32'): fw.Tensor =>
      fw.nn.parameter(fw.tensor(values, { device: where.device, dtype }));
    const settings = { populationSize: 8, lr: 0.5, sigma: 0.2, penalty: 0.3, seed: 5 };

    it('move by the ranks of mirrored members, as the equation says', () => {
      const [a, b] = [leaf([0.5, -1, 2]), leaf([0.25])];
      const start = [...a.dataSync(), ...b.dataSync()];
      const es = new EvolutionStrategy(
        [
          ['a', a],
          ['b', b],
        ],
        settings,
      );
      const members = es.ask();
      expect([members.a.shape, members.b.shape]).to.eql([
        [8, 3],
        [8, 1],
      ]);
      const rows = Array.from({ length: 8 }, (_, i) => [
        ...members.a.select(0, i).dataSync(),
        ...members.b.select(0, i).dataSync(),
      ]);
      for (let i = 0; i < 8; i += 2)
        expectClose(
          'pair',
          rows[i].map((x, j) => (x + rows[i + 1][j]) / 2),
          start,
          1e-6,
        );
      // Two are equal once the penalty, whose effect on ranks is large here, has been taken off.
      const square = (row: number[]): number => row.reduce((sum, x) => sum + x * x, 0) / 4;
      const wished = [3, 1, 2, 2, 7, -5, 0, 4];
      const fitness = wished.map((w, i) => w + 0.3 * square(rows[i]));
      fitness[3] = wished[3] - 0.5 + 0.3 * square(rows[3]);
      const ranks = [5, 2, 4, 3, 7, 0, 1, 6].map((r) => (r - 3.5) / Math.sqrt(63 / 12));
      const expected = start.map((x, j) => {
        const noise = (i: number): number => (rows[i][j] - x) / 0.2;
        return x + (0.5 / (8 * 0.2)) * ranks.reduce((sum, r, i) => sum + r * noise(i), 0);
      });
      es.tell(fitness);
      expectClose('parameters', [...a.dataSync(), ...b.dataSync()], expected, 1e-5);
      expect(es.state()).to.eql({ generation: 1, lr: 0.5 * 0.995, sigma: 0.2 * 0.999, seed: 5 });
    });

    it('give a member to a function and take it back, and change nothing where all are equal', () => {
      for (const dtype of ['float32', 'bfloat16'] as const) {
        const p = leaf([1, -2], dtype);
        const es = new EvolutionStrategy([p], { ...settings, penalty: 0 });
        const members = es.ask()['0'];
        for (const i of [0, 5, 7]) {
          const seen = es.withMember(i, () => [...p.dataSync()]);
          expectClose(`member ${i}`, seen, members.select(0, i).dataSync(), dtype === 'float32' ? 1e-7 : 0.01);
        }
        expect(() =>
          es.withMember(1, () => {
            throw new Error('told');
          }),
        ).to.throw('told');
        es.tell(new Array<number>(8).fill(3));
        expect([...p.dataSync()]).to.eql([1, -2]);
      }
    });

    it('find a maximum with the same bits every time, and go on from a saved state', () => {
      const p = leaf([0, 0, 0]);
      const target = [0.7, -0.4, 0.1];
      const fitnessOf = (values: ArrayLike<number>): number =>
        -target.reduce((sum, x, i) => sum + (x - values[i]) ** 2, 0);
      const train = (es: InstanceType<typeof EvolutionStrategy>, generations: number): void => {
        for (let g = 0; g < generations; g++) {
          const flat = es.ask()['0'].dataSync();
          es.tell(Array.from({ length: 20 }, (_, i) => fitnessOf(flat.slice(3 * i, 3 * i + 3))));
        }
      };
      const own = { populationSize: 20, seed: 3, lr: 0.02, penalty: 0 };
      const es = new EvolutionStrategy([p], own);
      train(es, 20);
      const saved = {
        state: JSON.parse(JSON.stringify(es.state())) as fw.optim.EvolutionState,
        values: [...p.dataSync()],
      };
      train(es, 20);
      expect(fitnessOf(p.dataSync())).to.be.above(-0.01);
      const q = leaf(saved.values);
      const other = new EvolutionStrategy([q], { ...own, seed: 99, lr: 1 });
      other.loadState(saved.state);
      train(other, 20);
      expect(q.dataSync()).to.eql(p.dataSync());
    });
  });
}

describe('evolution strategies', () => {
  const p = fw.nn.parameter(fw.zeros([2], { device: 'js' }));

  it('refuse settings, fitness and states that they cannot go on with', () => {
    const es = new EvolutionStrategy([p], { populationSize: 4 });
    const refused: [string, () => unknown][] = [
      ['populationSize', () => new EvolutionStrategy([p], { populationSize: 5 })],
      ['populationSize', () => new EvolutionStrategy([p], { populationSize: 0 })],
      ['sigma', () => new EvolutionStrategy([p], { sigma: 0 })],
      ['lr', () => new EvolutionStrategy([p], { lr: -1 })],
      ['parameters', () => new EvolutionStrategy([])],
      ['parameters', () => new EvolutionStrategy(3 as never)],
      ['popSize', () => new EvolutionStrategy([p], { popSize: 4 } as never)],
      ['fitness', () => es.tell([1, 2])],
      ['fitness', () => es.tell(null as never)],
      ['fitness[1]', () => es.tell([1, NaN, 2, 3])],
      ['i', () => es.withMember(4, () => 0)],
      ['fn', () => es.withMember(0, 3 as never)],
      ['generation', () => es.loadState({ ...es.state(), generation: -1 })],
      ['state', () => es.loadState(null as never)],
    ];
    for (const [argument, fn] of refused) {
      expect(expectError('INVALID_ARGUMENT', /EvolutionStrategy/, fn).argument).to.equal(argument);
    }
    expect([es.generation, ...p.dataSync()]).to.eql([0, 0, 0]);
  });

  it('teach a Hebbian network, a whole population at once, what random weights cannot know', () => {
    // A cue comes three times with a sign that differs from episode to episode, then alone: only synapses can remember it.
    const where = { device: 'js' } as const;
    fw.withSeed(1, () =>
      fw.scope(() => {
        const P = 40;
        const net = new fw.nn.HebbianNetwork([3, 1], { ...where, rule: 'ABCD_lr', outputActivation: 'tanh' });
        const es = new EvolutionStrategy([['c', net.coefficients[0]]], {
          populationSize: P,
          seed: 2,
          lr: 0.05,
          penalty: 0,
        });
        const episode = (cue: number, sign: number): number[][] => [
          ...new Array<number[]>(3).fill([Number(cue === 0), Number(cue === 1), sign]),
          [Number(cue === 0), Number(cue === 1), 0],
        ];
        const cases = [0, 1].flatMap((cue) => [-1, 1].map((sign) => ({ sign, x: episode(cue, sign) })));
        const fitnessOf = (coefficients: fw.Tensor): number[] => {
          const fitness = new Array<number>(P).fill(0);
          cases.forEach(({ sign, x }) => {
            const batch = fw.tensor(x, where).unsqueeze(0).expand(P, 4, 3);
            const weights = { weight1: fw.full([P, 3, 1], 0.1, where) };
            const { output } = net.forward(batch, { weights, coefficients: [coefficients] });
            output
              .select(1, 3)
              .dataSync()
              .forEach((y, i) => (fitness[i] += y * sign));
          });
          return fitness;
        };
        const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / P;
        const before = mean(fitnessOf(es.ask().c));
        for (let g = 0; g < 15; g++) fw.scope(() => es.tell(fw.noGrad(() => fitnessOf(es.ask().c))));
        expect(before).to.be.below(2);
        expect(mean(fitnessOf(es.ask().c))).to.be.above(3);
      }),
    );
  });
});
