// Initialisations: their distributions, what they keep, and that they are the same everywhere.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const { init } = fw.nn;

function moments(t: fw.Tensor): { mean: number; std: number; min: number; max: number } {
  const values = Array.from(t.dataSync());
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  return { mean, std, min: Math.min(...values), max: Math.max(...values) };
}

const blank = (shape: number[] = [100, 200], options: fw.TensorOptions = {}): fw.Tensor => fw.zeros(shape, options);

describe('initialisations', () => {
  before(() => fw.manualSeed(7));

  /** Of a uniform distribution in +-bound. */
  const uniform = (t: fw.Tensor, bound: number): void => {
    const { mean, std, min, max } = moments(t);
    expect(mean).to.be.closeTo(0, 0.02 * bound);
    expect(std).to.be.closeTo(bound / Math.sqrt(3), 0.02 * bound);
    expect(min).to.be.within(-bound, -0.99 * bound);
    expect(max).to.be.within(0.99 * bound, bound);
  };
  const normal = (t: fw.Tensor, deviation: number, center = 0): void => {
    const { mean, std, max } = moments(t);
    expect(mean).to.be.closeTo(center, 0.03 * deviation);
    expect(std).to.be.closeTo(deviation, 0.03 * deviation);
    expect(max).to.be.greaterThan(center + 3 * deviation);
  };

  it('have the bounds and deviations of their papers', () => {
    uniform(init.uniform_(blank(), -3, 3), 3);
    normal(init.normal_(blank(), 2, 0.5), 0.5, 2);
    uniform(init.xavierUniform_(blank()), Math.sqrt(6 / 300));
    normal(init.xavierNormal_(blank(), 2), 2 * Math.sqrt(2 / 300));
    uniform(init.kaimingUniform_(blank()), Math.sqrt(6 / 200));
    // As PyTorch's linear layers begin.
    uniform(init.kaimingUniform_(blank(), { a: Math.sqrt(5) }), Math.sqrt(1 / 200));
    normal(init.kaimingNormal_(blank(), { mode: 'fanOut', nonlinearity: 'relu' }), Math.sqrt(2 / 100));
    // A kernel counts: fan in 8 * 9.
    normal(init.kaimingNormal_(blank([200, 8, 3, 3]), { nonlinearity: 'linear' }), Math.sqrt(1 / 72));
    expect(init.calculateGain('tanh')).to.equal(5 / 3);
  });

  it('truncNormal_ follows the distribution inside its bounds', () => {
    const t = init.truncNormal_(blank(), 0.5, 1, -0.5, 2);
    const values = Array.from(t.dataSync()).sort((a, b) => a - b);
    expect(values[0]).to.be.at.least(-0.5);
    expect(values.at(-1)).to.be.at.most(2);
    // Shares of a normal distribution below 0 and 1, between -1 and 1.5 deviations.
    const [low, high] = [0.15865525, 0.9331928];
    const share = (phi: number): number => (phi - low) / (high - low);
    const below = (x: number): number => values.findIndex((v) => v >= x) / values.length;
    expect(below(0)).to.be.closeTo(share(0.30853754), 0.01);
    expect(below(1)).to.be.closeTo(share(0.69146246), 0.01);
    // Far in a tail.
    const tail = moments(init.truncNormal_(blank(), 0, 1, 4, 5));
    expect(tail.mean).to.be.closeTo(4.2257, 0.01);
  });

  it('orthogonal_ makes rows or columns of one length at right angles', () => {
    for (const shape of [
      [5, 5],
      [3, 7],
      [7, 3],
      [4, 2, 3],
    ]) {
      const t = init.orthogonal_(blank(shape, { device: 'js', dtype: 'float64' }), 2);
      const rows = t.reshape(shape[0], -1);
      const wide = rows.shape[0] <= rows.shape[1] ? rows : rows.transpose(0, 1);
      const products = wide.matmul(wide.transpose(0, 1)).tolist() as number[][];
      products.forEach((row, i) => row.forEach((x, j) => expect(x).to.be.closeTo(i === j ? 4 : 0, 1e-12)));
    }
  });

  it('constants, in place, outside the tape, the same on every device', () => {
    const weight = fw.nn.parameter(blank([2, 3]));
    expect(init.eye_(weight)).to.equal(weight);
    expect(weight.tolist()).to.eql([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    expect(init.constant_(weight, 3).sum().item()).to.equal(18);
    expect(init.ones_(weight).sum().item()).to.equal(6);
    expect(init.zeros_(weight).sum().item()).to.equal(0);
    expect(weight.requiresGrad).to.equal(true);
    const places = [{ device: 'js' }, { device: 'cpu' }, { device: 'js', dtype: 'bfloat16' }] as const;
    for (const fill of [init.uniform_, init.normal_, init.truncNormal_, init.orthogonal_, init.xavierNormal_]) {
      const [a, b, c] = places
        .filter(({ device }) => device === 'js' || fw.devices().some((d) => d.device === device && d.available))
        .map((place) => {
          fw.manualSeed(3);
          return fill(blank([4, 5], place))
            .to('float32')
            .to('js')
            .dataSync();
        });
      expect(b).to.eql(a);
      if (c) c.forEach((x, i) => expect(x).to.be.closeTo(a[i], 0.01 * Math.abs(a[i]) + 1e-6));
    }
    // A view changes in its place only.
    const whole = blank([4, 3]);
    init.ones_(whole.transpose(0, 1).slice(0, 1, 2));
    expect(whole.sum(0).tolist()).to.eql([0, 4, 0]);
  });

  it('refuse what does not fit', () => {
    expectError('SHAPE', /xavierUniform_: t must be of at least two dimensions/, () => init.xavierUniform_(blank([3])));
    expectError('SHAPE', /orthogonal_/, () => init.orthogonal_(blank([3])));
    expectError('SHAPE', /eye_/, () => init.eye_(blank([1, 2, 3])));
    expectError('INVALID_ARGUMENT', /b must be above a/, () => init.truncNormal_(blank(), 0, 1, 2, 1));
    expectError('INVALID_ARGUMENT', /within some deviations/, () => init.truncNormal_(blank(), 0, 0.01, 2, 3));
    expectError('INVALID_ARGUMENT', /nonlinearity/, () =>
      init.kaimingNormal_(blank(), { nonlinearity: 'gelu' as never }),
    );
    expectError('DTYPE', /constant_/, () => init.constant_(blank([1], { dtype: 'int32' }), 1));
  });
});
