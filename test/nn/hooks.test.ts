// Hooks on modules.
import { expect } from 'chai';
import * as fw from '../../lib';
import { EVERY_PART } from '../support/everyPart';
import { expectError } from '../support/errors';

const { nn } = fw;
const js = { device: 'js', dtype: 'float64' } as const;
const values = (t: fw.Tensor): number[] => Array.from(t.dataSync());

/** y = 2 x */
class Double extends nn.Module {
  forward(x: fw.Tensor): fw.Tensor {
    return x.mul(2);
  }
}

describe('hooks on modules', () => {
  const x = fw.tensor([1, 2], js);

  it('see and replace arguments and results, in order, until they are removed', () => {
    fw.scope(() => {
      const module = new Double();
      const seen: unknown[] = [];
      const handles = [
        module.registerForwardPreHook((m, [t]) => {
          seen.push(m === module, values(t));
          return t.add(1);
        }),
        module.registerForwardPreHook((_, [t]) => [t.mul(10)]),
        module.registerForwardHook((_m, [t], y) => {
          seen.push(values(t), values(y));
          return y.neg();
        }),
        module.registerForwardHook((_m, _args, y) => void seen.push(values(y))),
      ];
      expect(values(module.forward(x))).to.eql([-40, -60]);
      expect(seen).to.eql([true, [1, 2], [20, 30], [40, 60], [-40, -60]]);
      expect(module.namedParameters()).to.eql([]);
      for (const handle of handles) handle.remove();
      handles[0].remove();
      expect(values(module.forward(x))).to.eql([2, 4]);
      expect(Object.keys(module)).to.eql(['training']);
      expect('forward' in module && !Object.hasOwn(module, 'forward')).to.equal(true);
    });
  });

  it('have the types of the arguments and of the result', () => {
    const layer = new nn.Linear(2, 2, { bias: false, ...js });
    const module: fw.nn.Module = layer;
    fw.noGrad(() => {
      layer.registerForwardPreHook((m, [t, options]) => [t.mul(m.weight.size), { ...options, activation: 'silu' }]);
      layer.registerForwardHook((_m, [t, options], y) => y.mul(t.size).mul(options?.activation === 'silu' ? 1 : 0));
      // Of a module that is not known they may be anything.
      module.registerForwardHook((_m, args: readonly unknown[], y: unknown) => void [args, y]);
      const expected = fw.linear(x.mul(4), layer.weight, null, { activation: 'silu' }).mul(2);
      expect(values(layer.forward(x))).to.eql(values(expected));
    });
  });

  it('stand before a forward that is a property, and put it back', () => {
    class Own extends nn.Module {
      forward = (t: fw.Tensor): fw.Tensor => t.add(1);
    }
    fw.scope(() => {
      const module = new Own();
      const before = module.forward;
      const handle = module.registerForwardHook((_m, _args, y) => y.mul(2));
      expect(values(module.forward(x))).to.eql([4, 6]);
      handle.remove();
      expect(module.forward).to.equal(before);
    });
  });

  it('refuse promises, what is no function, and a module without forward', () => {
    class Empty extends nn.Module {}
    const module = new Double();
    expectError('INVALID_ARGUMENT', /one with a method forward/, () => new Empty().registerForwardHook(() => 1));
    expectError('INVALID_ARGUMENT', /fn must be a function/, () => module.registerForwardHook(3 as never));
    module.registerForwardHook(() => Promise.resolve());
    expectError('INVALID_ARGUMENT', /synchronous/, () => module.forward(x));
  });

  it('run for every part of every model, and change nothing by looking', () => {
    for (const { name } of fw.models.modelFamilies) {
      fw.scope(() => {
        const sizes = { vocabSize: 11, hiddenSize: 16, numLayers: 2, numHeads: 2, device: 'js' } as const;
        const model = fw.createModel(name, { ...sizes, ...EVERY_PART[name] });
        const ids = fw.tensor([[1, 2, 3]], { device: 'js', dtype: 'int32' });
        const before = values(model.forward(ids).logits);
        const called = new Set<string>();
        const parts = [...model.namedModules()].filter(([, part]) => 'forward' in part);
        const handles = parts.map(([path, part]) => part.registerForwardHook(() => void called.add(path)));
        values(model.forward(ids).logits).forEach((v, i) => expect(v, name).to.be.closeTo(before[i], 1e-5));
        expect([...called].sort(), name).to.eql(parts.map(([path]) => path).sort());
        for (const handle of handles) handle.remove();
        expect(values(model.forward(ids).logits)).to.eql(before);
        model.dispose();
      });
    }
  });
});
