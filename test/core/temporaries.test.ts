// Operators free what they make on the way, also where no scope is open.
import { expect } from 'chai';
import * as fw from '../../lib';

const storages = (): number => fw.memory().devices.reduce((n, d) => n + d.storages, 0);

describe('temporaries', () => {
  it('of operators in place, with numbers, and of loading a state are freed', () => {
    const x = fw.ones([3, 4]);
    const row = fw.ones([4]);
    const linear = new fw.nn.Linear(3, 2);
    const state = Object.fromEntries(linear.namedParameters().map(([name, t]) => [name, t.detach().clone()]));
    const before = storages();
    fw.noGrad(() => {
      x.add_(1).mul_(row).mul_(2);
      x.transpose(0, 1).fill_(3);
      x.slice(1, 0, 2).copy_(fw.scope(() => row.slice(0, 0, 2)));
    });
    x.maximum(2).dispose();
    x.gt(0).dispose();
    linear.loadStateDict(state);
    expect(storages()).to.equal(before);
    expect(x.tolist()).to.deep.equal(Array.from({ length: 3 }, () => [1, 1, 3, 3]));
  });

  it('pass through inner scopes without escaping from their own', () => {
    const before = storages();
    fw.scope(() => {
      const x = fw.rand([10]);
      expect(fw.scope(() => ({ x })).x).to.equal(x);
      x.sum().dispose();
    });
    expect(storages()).to.equal(before);
  });

  it('of operators and rules are freed when their backward pass has run', () => {
    const leaf = (shape: number[]): fw.Tensor => fw.rand(shape, { requiresGrad: true });
    const [q, k, v, beta, gate] = [
      [1, 70, 2, 16],
      [1, 70, 2, 16],
      [1, 70, 2, 16],
      [1, 70, 2],
      [1, 70, 2],
    ].map(leaf);
    const [x, w, up, down] = [
      [100, 8],
      [12, 8],
      [12, 8],
      [8, 12],
    ].map(leaf);
    const leaves = [q, k, v, beta, gate, x, w, up, down];
    const results: (() => fw.Tensor)[] = [
      () => fw.deltaRule(q, k, v, { beta, gate: gate.neg(), qkL2Norm: true }).output,
      () => fw.linearAttention(q, k, v, { normalize: true, featureMap: 'elu1' }).output,
      () =>
        fw.deltaProduct(q, fw.cat([k, k], 1), fw.cat([v, v], 1), { numHouseholder: 2, beta: fw.cat([beta, beta], 1) })
          .output,
      () => fw.rmsNorm(x, null),
      () => fw.linear(x, w, null, { activation: 'silu' }),
      () => fw.feedForward(x, { gate: w, up, down }),
    ];
    const spend = (y: fw.Tensor): void => {
      const direction = fw.ones(y.shape);
      y.backward(direction);
      for (const t of [direction, y, ...leaves.map((leaf) => leaf.grad)]) t?.dispose();
      for (const t of leaves) t.grad = null;
    };
    for (const [i, build] of results.entries()) {
      const before = storages();
      spend(fw.scope(build));
      expect(storages(), `${i} in a scope`).to.equal(before);
    }
    const before = storages();
    spend(fw.deltaRule(q, k, v, { beta, qkL2Norm: true }).output);
    for (const build of results.slice(3)) spend(build());
    expect(storages(), 'without a scope').to.equal(before);
  });
});
