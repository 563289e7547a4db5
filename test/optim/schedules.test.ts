// Schedules against PyTorch's equations, and what attaches them to an optimiser.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const { Adafactor, AdamW, cosine, constant, linear, LRScheduler, Muon, oneCycle, ReduceLROnPlateau, SGD, warmup } =
  fw.optim;

const leaf = (): fw.Tensor => fw.nn.parameter(fw.ones([2], { device: 'js' }));

/** OneCycleLR of PyTorch, with a peak of 1: [factor, momentum]. */
function torchCycle(step: number, total: number, three = false): [number, number] {
  const anneal = (a: number, b: number, pct: number): number => b + ((a - b) / 2) * (1 + Math.cos(Math.PI * pct));
  const [initial, least] = [1 / 25, 1 / 25 / 1e4];
  const phases = three
    ? [
        [0.3 * total - 1, initial, 1, 0.95, 0.85],
        [2 * 0.3 * total - 2, 1, initial, 0.85, 0.95],
        [total - 1, initial, least, 0.95, 0.95],
      ]
    : [
        [0.3 * total - 1, initial, 1, 0.95, 0.85],
        [total - 1, 1, least, 0.85, 0.95],
      ];
  let start = 0;
  for (const [i, [end, a, b, m, n]] of phases.entries()) {
    if (step <= end || i === phases.length - 1) {
      const pct = (step - start) / (end - start);
      return [anneal(a, b, pct), anneal(m, n, pct)];
    }
    start = end;
  }
  throw new Error('no phase');
}

describe('schedules', () => {
  it('linear with warm-up', () => {
    const f = linear(100, { warmup: 10, floor: 0.1 });
    expect([f(0), f(9), f(10), f(55), f(100), f(500)].map((x) => +x.toFixed(12))).to.eql([0.1, 1, 1, 0.55, 0.1, 0.1]);
    expectError('INVALID_ARGUMENT', /linear: warmup/, () => linear(10, { warmup: 11 }));
    expectError('INVALID_ARGUMENT', /linear: floor/, () => linear(10, { floor: 2 }));
    expectError('INVALID_ARGUMENT', /linear: total/, () => linear(0));
  });

  it('one cycle, with momentum the other way', () => {
    for (const [total, threePhase] of [
      [10, false],
      [40, false],
      [40, true],
    ] as const) {
      const f = oneCycle(total, { threePhase });
      for (let s = 0; s < total; s++) {
        const [factor, momentum] = torchCycle(s, total, threePhase);
        expect(f(s)).to.be.closeTo(factor, 1e-12);
        expect(f.momentum!(s)).to.be.closeTo(momentum, 1e-12);
      }
      expect(f(10 * total)).to.be.closeTo(1 / 25e4, 1e-15);
    }
    const straight = oneCycle(11, { annealStrategy: 'linear', pctStart: 6 / 11, divFactor: 10, cycleMomentum: false });
    expect(straight(2)).to.be.closeTo(0.1 + 0.9 * 0.4, 1e-12);
    expect(straight.momentum).to.equal(undefined);
    for (const pctStart of [0, 1]) for (const s of [0, 1, 2]) expect(oneCycle(2, { pctStart })(s)).to.be.within(0, 1);
    expect(oneCycle(1)(0)).to.be.within(0, 1);
    for (const [name, options] of Object.entries({
      pctStart: { pctStart: 1.5 },
      divFactor: { divFactor: 0 },
      finalDivFactor: { finalDivFactor: -1 },
      annealStrategy: { annealStrategy: 'cosine' as never },
      baseMomentum: { baseMomentum: 1 },
      cycleMomentum: { cycleMomentum: 1 as never },
    })) {
      expectError('INVALID_ARGUMENT', new RegExp(`oneCycle: ${name}`), () => oneCycle(10, options));
    }
  });

  it('are attached to an optimiser, whose groups keep their ratios', () => {
    const optimizer = new AdamW([leaf(), { params: [leaf()], lr: 0.5 }], { lr: 2 });
    const scheduler = new LRScheduler(optimizer, warmup(4));
    expect(scheduler.getLastLr()).to.eql([0.5, 0.125]);
    scheduler.step();
    expect(optimizer.paramGroups.map(({ lr }) => lr)).to.eql([1, 0.25]);
    optimizer.addParamGroup({ params: [leaf()], lr: 8 });
    scheduler.step();
    expect(scheduler.getLastLr()).to.eql([1.5, 0.375, 6]);

    const other = new AdamW([leaf(), leaf()], { lr: 2 });
    const resumed = new LRScheduler(other, warmup(4));
    resumed.loadState(JSON.parse(JSON.stringify(scheduler.state())) as fw.optim.LRSchedulerState);
    [scheduler, resumed].forEach((s) => s.step());
    expect(resumed.getLastLr()).to.eql([2]);
    expectError('INVALID_ARGUMENT', /LRScheduler.loadState: steps/, () => resumed.loadState({ steps: -1 }));
    expectError('INVALID_ARGUMENT', /did you mean steps/, () => resumed.loadState({ step: 1 } as never));
    expectError('INVALID_ARGUMENT', /optimizer must be an optimiser/, () => new LRScheduler({} as never, constant));
    expectError('INVALID_ARGUMENT', /schedule must be a function/, () => new LRScheduler(other, 1 as never));
    expectError('INVALID_ARGUMENT', /schedule must be a number/, () => new LRScheduler(other, () => NaN));
  });

  it('set momentum where they have one, and refuse optimisers without', () => {
    const adam = new AdamW([leaf()]);
    const scheduler = new LRScheduler(adam, oneCycle(10));
    expect([scheduler.getLastLr()[0], adam.paramGroups[0].betas]).to.eql([1e-3 / 25, [0.95, 0.999]]);
    [1, 2].forEach(() => scheduler.step());
    expect(adam.paramGroups[0].betas[0]).to.be.closeTo(0.85, 1e-12);
    expect(adam.paramGroups[0].lr).to.be.closeTo(1e-3, 1e-15);
    const sgd = new SGD([leaf()], { momentum: 0.5 });
    new LRScheduler(sgd, oneCycle(10));
    expect(sgd.paramGroups[0].momentum).to.equal(0.95);
    const muon = new Muon([{ params: [leaf()], useMuon: false }]);
    new LRScheduler(muon, oneCycle(10, { maxMomentum: 0.9 }));
    expect([muon.paramGroups[0].momentum, muon.paramGroups[0].betas[0]]).to.eql([0.9, 0.9]);
    const adafactor = new Adafactor([leaf()]);
    expectError('INVALID_ARGUMENT', /optimizer must be with momentum/, () => new LRScheduler(adafactor, oneCycle(9)));
    new LRScheduler(adafactor, oneCycle(9, { cycleMomentum: false }));
    new LRScheduler(adafactor, cosine(9));
  });

  it('a plateau reduces the learning rates, over a saved state, too', () => {
    const make = (options: fw.optim.ReduceLROnPlateauOptions = {}) => {
      const optimizer = new SGD([leaf(), { params: [leaf()], lr: 0.25 }], { lr: 1 });
      return new ReduceLROnPlateau(optimizer, options);
    };
    const after = (options: fw.optim.ReduceLROnPlateauOptions, metrics: number[]): number => {
      const plateau = make(options);
      metrics.forEach((m) => plateau.step(m));
      return plateau.getLastLr()[0];
    };
    const flat = (n: number): number[] => new Array<number>(n).fill(1);
    expect([after({}, flat(11)), after({}, flat(12))]).to.eql([1, 0.1]);
    expect(after({ patience: 0, factor: 0.5 }, [3, 2, 1, 1, 1])).to.equal(0.25);
    expect(after({ patience: 0, factor: 0.5, cooldown: 2 }, flat(5))).to.equal(0.25);
    expect(after({ patience: 0, factor: 0.5, cooldown: 2 }, flat(4))).to.equal(0.5);
    expect(after({ patience: 0, threshold: 0.1, factor: 0.5 }, [1, 0.95])).to.equal(0.5);
    expect(after({ patience: 0, threshold: 0.1, factor: 0.5 }, [1, 0.85])).to.equal(1);
    expect(after({ patience: 0, threshold: 0.1, thresholdMode: 'abs', factor: 0.5 }, [10, 9.95])).to.equal(0.5);
    expect(after({ patience: 0, mode: 'max', factor: 0.5 }, [1, 2, 3, 2.9])).to.equal(0.5);
    expect(after({ patience: 0, minLr: 0.2 }, flat(4))).to.equal(0.2);
    expect(after({ patience: 0, eps: 2 }, flat(4))).to.equal(1);
    expect(after({ patience: 0, factor: 0.5 }, [1, NaN])).to.equal(0.5);
    const [a, b] = [make({ patience: 2 }), make({ patience: 2 })];
    flat(3).forEach((m) => a.step(m));
    b.loadState(JSON.parse(JSON.stringify(a.state())) as fw.optim.PlateauState);
    [a, b].forEach((plateau) => plateau.step(1));
    expect([a.getLastLr(), a.state()]).to.eql([b.getLastLr(), b.state()]);
    expect(a.getLastLr()).to.eql([0.1, 0.025]);
    for (const wrong of [{ factor: 1 }, { factor: 0 }, { patience: -1 }, { mode: 'less' }, { threshold: NaN }]) {
      expectError('INVALID_ARGUMENT', new RegExp(`ReduceLROnPlateau: ${Object.keys(wrong)[0]}`), () =>
        make(wrong as never),
      );
    }
    expectError('INVALID_ARGUMENT', /metric must be a number/, () => a.step('1' as never));
    expectError('INVALID_ARGUMENT', /badSteps/, () => a.loadState({ ...a.state(), badSteps: 0.5 }));
  });
});
