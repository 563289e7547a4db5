// Groups of parameters that join later, with live settings, and their part of the state.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';

const { Adafactor, Adam, AdamW, Lion, Muon, SGD } = fw.optim;

for (const where of targets().filter(({ dtype }) => dtype === 'float32')) {
  describe(`parameter groups on ${where.device}`, () => {
    const leaf = (value = 1): fw.Tensor => fw.nn.parameter(fw.full([3], value, where));
    const step = (optimizer: { step(): void }, leaves: fw.Tensor[]): void => {
      for (const p of leaves) p.grad = fw.ones(p.shape, where);
      optimizer.step();
      for (const p of leaves) p.grad!.dispose();
    };

    it('have settings that hold from the next step on', () => {
      const [p, q] = [leaf(), leaf()];
      const optimizer = new SGD([p, { params: [q], lr: 0.25 }], { lr: 0.5 });
      expect(optimizer.paramGroups.map(({ params, lr, momentum }) => [params, lr, momentum])).to.eql([
        [[p], 0.5, 0],
        [[q], 0.25, 0],
      ]);
      optimizer.paramGroups[1].lr = 1;
      optimizer.paramGroups[0].momentum = 0.5;
      step(optimizer, [p, q]);
      step(optimizer, [p, q]);
      expect([p.dataSync()[0], q.dataSync()[0]]).to.eql([1 - 0.5 - 0.75, -1]);
      optimizer.paramGroups[0].momentum = 0;
      step(optimizer, [p, q]);
      expect(p.dataSync()[0]).to.equal(-0.75);
      expect(optimizer.state().tensors).to.eql({});
      optimizer.lr = 1;
      expect(optimizer.paramGroups.map(({ lr }) => lr)).to.eql([1, 0.5]);
      optimizer.paramGroups[1].momentum = -1;
      expectError('INVALID_ARGUMENT', /SGD.step: momentum/, () => optimizer.step());
      optimizer.paramGroups[1].momentum = 0;
      (optimizer.paramGroups[1] as { momentun?: number }).momentun = 0;
      expectError('INVALID_ARGUMENT', /SGD.step: unknown option momentun; did you mean momentum/, () =>
        optimizer.step(),
      );
    });

    it('may join later, at the pace of the others, and are saved and loaded', () => {
      const makers = [
        (p: fw.Tensor[]) => new AdamW(p, { lr: 0.01 }),
        (p: fw.Tensor[]) => new Adam(p, { lr: 0.01 }),
        (p: fw.Tensor[]) => new SGD(p, { lr: 0.01, momentum: 0.9 }),
        (p: fw.Tensor[]) => new Lion(p, { lr: 0.01 }),
        (p: fw.Tensor[]) => new Adafactor(p, { lr: 0.01 }),
        (p: fw.Tensor[]) => new Muon([{ params: p, useMuon: false }], { lr: 0.01 }),
      ];
      for (const make of makers) {
        const join = (first: fw.Tensor, second: fw.Tensor, factor: number) => {
          const optimizer = make([first]) as fw.optim.Optimizer<fw.optim.CommonSettings>;
          optimizer.lr *= factor;
          const own = optimizer instanceof Muon ? { useMuon: false } : {};
          return { optimizer, add: () => optimizer.addParamGroup({ params: [second], weightDecay: 0.5, ...own }) };
        };
        const [a, b] = [leaf(), leaf(2)];
        const { optimizer, add } = join(a, b, 0.5);
        step(optimizer, [a]);
        add();
        expect(optimizer.paramGroups.map(({ lr, weightDecay }) => [lr, weightDecay])[1]).to.eql([0.005, 0.5]);
        step(optimizer, [a, b]);
        optimizer.paramGroups[1].lr = 0.125;
        const state = optimizer.state();
        expect([state.parameterSteps, state.groupLrs]).to.eql([{ 0: 2, 1: 1 }, [0.005, 0.125]]);
        const [c, d] = [a, b].map((t) => fw.nn.parameter(t.detach().clone()));
        const other = join(c, d, 1);
        expectError('INVALID_ARGUMENT', /groupLrs must be 1 numbers/, () => other.optimizer.loadState(state));
        other.add();
        other.optimizer.loadState(state);
        step(optimizer, [a, b]);
        step(other.optimizer, [c, d]);
        expect([c.dataSync(), d.dataSync()]).to.eql([a.dataSync(), b.dataSync()]);
        expect(other.optimizer.state().groupLrs).to.eql([0.005, 0.125]);
        const { groupLrs: _, ...older } = state;
        other.optimizer.loadState(older);
        expect(other.optimizer.state().groupLrs).to.eql([0.005, 0.005]);
      }
    });

    it('join whole or not at all', () => {
      const [p, q] = [leaf(), leaf()];
      const optimizer = new AdamW([['p', p]]);
      const wrong: [unknown, RegExp][] = [
        [{ params: [q, p] }, /parameter p|parameter 2 must be given once/],
        [{ params: [['p', q]] }, /parameter p must be given once/],
        [{ params: [q], lr: -1 }, /AdamW: lr/],
        [{ params: [q], weightDecai: 0 }, /did you mean weightDecay/],
        [[q], /group must be \{ params/],
        [undefined, /group must be/],
        [{ params: q }, /params must be a list/],
        [{ params: [p.detach()] }, /parameter 1 must be apart from the parameters/],
      ];
      for (const [group, message] of wrong) {
        expectError('INVALID_ARGUMENT', message, () => optimizer.addParamGroup(group as never));
        expect(optimizer.paramGroups.length).to.equal(1);
      }
      optimizer.addParamGroup({ params: [q] });
      step(optimizer, [p, q]);
      expect(Object.keys(optimizer.state().tensors)).to.eql(['p.mean', 'p.square', '1.mean', '1.square']);
      const bad = { ...optimizer.state(), groupLrs: [0.1, NaN] };
      expectError('INVALID_ARGUMENT', /groupLrs\[1\]/, () => optimizer.loadState(bad));
    });
  });
}
