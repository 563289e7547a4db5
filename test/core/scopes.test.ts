// Scopes: synchronous ones, those for asynchronous code, and what belongs to the garbage collector.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError, expectRejection } from '../support/errors';
import { collectGarbage } from '../support/garbage';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

for (const device of ['cpu', 'js'] as const) {
  const one = (value = 1): fw.Tensor => fw.tensor([value], { device });
  const live = (): number => fw.memory().devices.find((d) => d.device === device)?.storages ?? 0;

  describe(`scopes on ${device}`, () => {
    it('functions that set something refuse a promise, free what was made and put everything back', async () => {
      const before = live();
      const failed = async (): Promise<never> => {
        one();
        await sleep(1);
        throw new Error('later');
      };
      const calls: [string, () => unknown][] = [
        ['scope', () => fw.scope(failed)],
        ['noGrad', () => fw.scope(() => fw.noGrad(failed))],
        ['enableGrad', () => fw.scope(() => fw.enableGrad(failed))],
        ['withSeed', () => fw.scope(() => fw.withSeed(1, failed))],
        ['withPrecision', () => fw.scope(() => fw.withPrecision('medium', failed))],
        ['withChecks', () => fw.scope(() => fw.withChecks(true, failed))],
        ['scope', () => fw.scope(() => ({ then: (f: () => void) => f() }))],
        ['noGrad', () => fw.noGrad(() => Object.assign(() => 0, { then: () => 0 }))],
        ['checkpoint', () => fw.scope(() => fw.checkpoint(failed as never, one()))],
      ];
      for (const [name, call] of calls) {
        expectError(
          'INVALID_ARGUMENT',
          new RegExp(`^${name}: fn must be a synchronous function.*returned a promise`),
          call,
        );
      }
      using s = fw.scope();
      expectError('INVALID_ARGUMENT', /^scope.run: fn must be/, () => s.run(failed));
      s.dispose();
      expect(live()).to.equal(before);
      const generators: (() => unknown)[] = [function* () {}, async function* () {}];
      for (const generator of generators) {
        expectError('INVALID_ARGUMENT', /noGrad: fn must be .*, got a generator/, () => fw.noGrad(generator));
      }
      expectError('INVALID_ARGUMENT', /scope: fn must be a function, got 5/, () => fw.scope(5 as never));
      // A promise that nobody awaits must not end the process.
      await sleep(5);
      expect(fw.scope(() => one().mul(2).requiresGrad)).to.equal(false);
      expect(fw.float32MatmulPrecision()).to.equal('highest');
    });

    it('a scope object owns what its own run makes, over any number of calls and awaits', async () => {
      const before = live();
      const s = fw.scope();
      const outside = one();
      const [x, kept] = s.run(() => [one(), one(7)]);
      await sleep(1);
      const y = s.run(() => x.add(1));
      expect(s.keep(kept)).to.equal(kept);
      const inner = s.run(() => fw.scope(() => y.add(1)));
      expect((await inner.data())[0]).to.equal(3);
      s.dispose();
      s.dispose();
      expect([x, y, inner, kept, outside].map((t) => t.isDisposed)).to.eql([true, true, true, false, false]);
      expectError('DISPOSED', /scope.run: the scope was disposed/, () => s.run(() => 0));
      kept.dispose();
      outside.dispose();
      expect(live()).to.equal(before);
    });

    it('keeps for the scope around it', () => {
      const before = live();
      fw.scope(() => {
        using s = fw.scope();
        const x = s.run(() => s.keep(one()));
        const y = s.keep(s.run(() => one()));
        const hidden = Symbol('hidden');
        const [z] = fw.scope(() => [
          {
            [hidden]: one(),
            get other(): never {
              throw new Error('run');
            },
          },
        ]);
        s.dispose();
        expect(z[hidden].isDisposed).to.equal(false);
        expectError('DISPOSED', /scope.keep/, () => s.keep(x));
        expect([x, y].map((t) => t.isDisposed)).to.eql([false, false]);
        x.dispose();
      });
      expect(live()).to.equal(before);
    });

    it('cannot be disposed inside its run', () => {
      using s = fw.scope();
      const x = s.run(() => {
        const made = one();
        expectError('INVALID_ARGUMENT', /scope.dispose: scope must be one that is not running/, () => s.dispose());
        return made;
      });
      expect(x.isDisposed).to.equal(false);
    });

    it('overlapping tasks do not notice each other', async () => {
      await collectGarbage();
      const before = live();
      const task = async (n: number): Promise<number> => {
        using s = fw.scope();
        let x = s.run(() => one(n));
        for (let i = 0; i < 5; i++) {
          await sleep(n % 3);
          x = s.run(() => fw.noGrad(() => x.mul(2).add(1)));
          await x.data();
        }
        return (await x.data())[0];
      };
      const results = await Promise.all([1, 2, 3].map(task));
      expect(results).to.eql([63, 95, 127]);
      expect(live()).to.equal(before);
    });

    it('a function that throws frees what it and scopes left open inside it made', async () => {
      await collectGarbage();
      const before = live();
      expect(() =>
        fw.scope(() => {
          one();
          fw.scope().run(() => one());
          throw new Error('stop');
        }),
      ).to.throw('stop');
      expect(live()).to.equal(before + 1);
      await collectGarbage();
      expect(live(), 'a scope that nobody holds').to.equal(before);
    });

    it('what a lost scope owned lives as long as it is reached', async () => {
      const x = (() => fw.scope().run(() => one(5)))();
      await collectGarbage();
      expect(x.item()).to.equal(5);
      x.dispose();
    });

    it('a scope that stays open forgets what was freed by hand', () => {
      using s = fw.scope();
      s.run(() => {
        for (let i = 0; i < 5000; i++) one().dispose();
      });
      const { owner } = s as unknown as { owner: { tensors: unknown[] } };
      expect(owner.tensors.length).to.be.below(1100);
    });
  });

  describe(`what no scope owns on ${device}`, () => {
    it('is freed when nothing reaches it: tensors, graphs, models and their gradients', async () => {
      await collectGarbage();
      const before = live();
      (() => {
        const x = fw.rand([8, 8], { device, requiresGrad: true });
        const y = x.matmul(x).tanh();
        y.sum().backward(undefined, { retainGraph: true });
        fw.scope(() => x.mul(2).exp().mul(x));
        const layer = new fw.nn.Linear(3, 2, { device });
        layer
          .forward(fw.ones([2, 3], { device }))
          .sum()
          .backward();
        const optimizer = new fw.optim.AdamW(layer.parameters(), { lr: 0.1 });
        optimizer.step();
      })();
      expect(live()).to.be.above(before + 5);
      await collectGarbage();
      expect(live()).to.equal(before);
    });

    it('lives while a view, a graph or a backward pass needs it', async () => {
      const view = (() =>
        fw
          .tensor(
            [
              [1, 2],
              [3, 4],
            ],
            { device },
          )
          .slice(0, 1))();
      const w = fw.tensor([3], { device, requiresGrad: true });
      const y = (() =>
        fw.scope(() =>
          w
            .square()
            .mul(fw.tensor([5], { device }))
            .square(),
        ))();
      await collectGarbage();
      expect(view.tolist()).to.eql([[3, 4]]);
      y.backward();
      // y = 25 w^4
      expect(w.grad!.item()).to.equal(2700);
      for (const t of [view, y, w]) t.dispose();
    });

    it('a gradient belongs to its leaf, whoever set it', () => {
      const before = live();
      const w = fw.tensor([1, 2], { device, requiresGrad: true });
      fw.scope(() => {
        w.grad = fw.ones([2], { device });
      });
      w.square().sum().backward();
      expect([...w.grad!.dataSync()]).to.eql([3, 5]);
      w.grad!.dispose();
      expect(w.grad).to.equal(null);
      fw.scope(() => w.square().sum().backward());
      expect([...w.grad!.dataSync()]).to.eql([2, 4]);
      expectError('INVALID_ARGUMENT', /grad must be a Tensor or null/, () => (w.grad = 3 as never));
      const y = fw.scope(() => w.square().sum());
      w.dispose();
      y.backward();
      expect(w.grad).to.equal(null);
      y.dispose();
      expect(live()).to.be.at.most(before + 2);
    });

    it('its gradient is freed with a leaf', () => {
      const before = live();
      fw.scope(() => {
        const x = fw.tensor([2], { device, requiresGrad: true });
        x.square().backward();
        expect(x.grad!.item()).to.equal(4);
      });
      expect(live()).to.equal(before);
    });

    it('10,000 operators in an asynchronous loop stay flat', async () => {
      await collectGarbage();
      const before = live();
      let most = 0;
      for (let i = 0; i < 10_000; i++) {
        const y = fw.ones([64, 64], { device }).add(i % 7);
        if (i % 10 === 0) await y.data();
        most = Math.max(most, live() - before);
      }
      // 20,000 storages are 328 MB.
      expect(most).to.be.below(15_000);
      await collectGarbage();
      expect(live()).to.be.at.most(before + 1);
    }).timeout(30_000);
  });

  describe(`errors change nothing on ${device}`, () => {
    const leaf = (value: number): fw.Tensor => fw.tensor([value], { device, requiresGrad: true });

    it('a backward pass over a tensor that was changed in place', () => {
      const before = live();
      fw.scope(() => {
        const [a, b] = [leaf(1), leaf(2)];
        const y = a.square().add(b.square()).sum();
        fw.noGrad(() => a.add_(1));
        for (let i = 0; i < 2; i++) expectError('GRAPH', /changed in place/, () => y.backward());
        expect([a.grad, b.grad]).to.eql([null, null]);
      });
      expect(live()).to.equal(before);
    });

    it('a gradient set by hand that does not fit', () => {
      fw.scope(() => {
        const [a, b] = [leaf(1), leaf(2)];
        a.grad = fw.ones([4], { device });
        expectError('GRAPH', /grad must be .*\[1\].*got .*\[4\]/, () => a.mul(2).mul(b).sum().backward());
        expect(b.grad).to.equal(null);
      });
    });

    it('gradients that were there before a checkpoint threw, and those of a checkpoint within', () => {
      fw.scope(() => {
        const [x, w, u] = [leaf(2), leaf(3), leaf(5)];
        fw.noGrad(() => (u.grad = u.mul(0).add(7)));
        let fails = false;
        const loss = (): fw.Tensor => {
          // The oldest node: when it throws, the others have given u and w theirs.
          const start = fw.checkpoint((a) => {
            if (fails) throw new Error('no');
            return a.mul(1);
          }, x);
          return fw
            .checkpoint((a) => fw.checkpoint((b) => b.mul(u), a).mul(w), start)
            .mul(u.mul(w))
            .sum();
        };
        const y = loss();
        fails = true;
        expect(() => y.backward()).to.throw('no');
        expect([x.grad, w.grad, u.grad!.item()]).to.eql([null, null, 7]);
        fails = false;
        loss().backward();
        // x u^2 w^2
        expect([x.grad!.item(), w.grad!.item(), u.grad!.item()]).to.eql([225, 300, 187]);
      });
    });

    it('checkpoint, whose function throws when it runs again', () => {
      const before = live();
      fw.scope(() => {
        const x = leaf(2);
        let calls = 0;
        const y = fw.checkpoint((t) => {
          if (calls++ > 0) throw new Error('no');
          return fw.dropout(t.square(), 0.5);
        }, x);
        const state = fw.withSeed(3, () => {
          expect(() => y.backward()).to.throw('no');
          return fw.rand([1], { device: 'js' }).item();
        });
        expect(state).to.equal(fw.withSeed(3, () => fw.rand([1], { device: 'js' }).item()));
        expect(x.grad).to.equal(null);
      });
      expect(live()).to.equal(before);
    });

    it('checkpoint refuses what is no tensor and what changes its shape', () => {
      fw.scope(() => {
        const x = leaf(2);
        expectError('INVALID_ARGUMENT', /checkpoint: fn must be/, () => fw.checkpoint((() => 1) as never, x));
        let calls = 0;
        const y = fw.checkpoint((t) => (calls++ ? t.expand(2) : t.mul(2)), x);
        expectError('GRAPH', /checkpoint: fn returned \[2\] when it ran again, and \[1\] at first/, () => y.backward());
      });
    });
  });
}

describe('gradients as functions', () => {
  it('gradcheck puts the inputs back when the function throws', () => {
    const x = fw.tensor([1, 2], { device: 'js', dtype: 'float64' });
    let calls = 0;
    const fn = (t: fw.Tensor): fw.Tensor => {
      if (calls++ === 2) throw new Error('no');
      return t.square().sum();
    };
    expect(() => fw.gradcheck(fn, [x])).to.throw('no');
    expect(x.tolist()).to.eql([1, 2]);
    expectError('INVALID_ARGUMENT', /grad: fn must be/, () => fw.grad((async () => x) as never)(x));
    expectError('INVALID_ARGUMENT', /gradcheck: fn must be/, () => fw.gradcheck(() => 3 as never, [x]));
  });
});

describe('gradients of some leaves', () => {
  it('grad and gradcheck leave those of all others alone', () => {
    const where = { device: 'js', dtype: 'float64' } as const;
    fw.scope(() => {
      const p = fw.tensor([3], { ...where, requiresGrad: true });
      const x = fw.tensor([2], where);
      const fn = (t: fw.Tensor): fw.Tensor => t.square().mul(p).sum();
      expect(fw.grad(fn)(x).item()).to.equal(12);
      expect(fw.noGrad(() => fw.grad(fn)(x)).item()).to.equal(12);
      fw.gradcheck(fn, [x]);
      expect(p.grad).to.equal(null);
    });
  });
});

describe('memory()', () => {
  it('names the callers of what makes tensors, not the library', () => {
    fw.withChecks(true, () =>
      fw.scope(() => {
        const x = fw.rand([4, 4]);
        for (const make of [
          () => fw.rand([2]),
          () => x.mul(2),
          () => fw.matmul(x, x),
          () => x.softmax(),
          () => x.mean(),
        ]) {
          const before = new Set(fw.memory().live);
          make();
          const made = fw.memory().live.filter((record) => !before.has(record));
          expect(made.length).to.be.above(0);
          for (const { site } of made) expect(site!.split('\n')[0]).to.include('scopes.test');
        }
      }),
    );
  });

  it('counts what is cached and what kernels keep, and trimMemory gives it back', async () => {
    const cpu = (): fw.MemoryReport['devices'][number] => fw.memory().devices.find((d) => d.device === 'cpu')!;
    const x = fw.ones([512, 512], { device: 'cpu' });
    const product = fw.matmul(x, x);
    // Threads take their memory when the work runs.
    await product.data();
    product.dispose();
    x.dispose();
    expect(cpu().cachedBytes).to.be.at.least(2 * 4 * 512 * 512);
    expect(cpu().scratchBytes).to.be.above(0);
    await fw.zeros([1], { device: 'cpu' }).data();
    fw.trimMemory();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(cpu().cachedBytes).to.be.below(1000);
    expect(cpu().scratchBytes).to.equal(0);
    using y = fw.ones([512, 512], { device: 'cpu' });
    expect(fw.matmul(y, y).slice(0, 0, 1).slice(1, 0, 1).item()).to.equal(512);
  });
});

describe('errors of asynchronous code', () => {
  it('name a tensor that was freed meanwhile', async () => {
    const s = fw.scope();
    const x = s.run(() => fw.ones([2]));
    s.dispose();
    await expectRejection('DISPOSED', /data: a tensor of shape \[2\]/, x.data());
  });
});
