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
});
