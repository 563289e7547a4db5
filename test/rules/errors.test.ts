// Bad input to rules: a typed error that names the argument and shows expected and found.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

describe('every rule', () => {
  it('refuses what is no set of inputs with a typed error', () => {
    const t = fw.zeros([1, 3, 2, 4], { device: 'js' });
    for (const name of fw.ruleNames()) {
      const rule = fw.getRule(name) as unknown as ((...args: unknown[]) => unknown) & {
        step(...args: unknown[]): unknown;
      };
      for (const args of [[], [null], [{}], [{}, null], [t], [{ q: 1, k: 2 }], [t, t, t, { nonsense: 1 }]]) {
        for (const call of [rule, rule.step]) {
          expect(() => call(...args), `${name}(${args.map(String).join(', ')})`).to.throw(fw.FastWeightsError);
        }
      }
    }
  });
});

describe('sequential rules', () => {
  const where = { device: 'js' } as const;
  const t = fw.zeros([1, 2, 1, 4], where);
  const beta = fw.zeros([1, 2, 1], where);
  const none = undefined as never;
  const own = { beta, recurrentK: t, recurrentV: t, recurrentBeta: beta };
  const lstm = Object.fromEntries(
    ['I', 'U', 'O'].flatMap((gate) =>
      Object.entries({ q: t, k: t, v: t, ...own }).map(([name, tensor]) => [name + gate, tensor]),
    ),
  );
  const cases: [string, () => unknown][] = [
    ['featureMap', () => fw.deltaRnn(t, t, t, { ...own, featureMap: 'dpfp' as never })],
    ['featureMap', () => fw.deltaLstm(lstm as never, { featureMap: 'dpfp' as never })],
    ['inputs', () => fw.fastRnn(none)],
    ['inputs', () => fw.fastRnn.step(none, none)],
    ['inputs', () => fw.selfReferential(none)],
    ['inputs', () => fw.plasticity.step(none, none)],
  ];
  it('name what is at fault', () => {
    for (const [argument, fn] of cases) {
      const error = expectError('INVALID_ARGUMENT', /must be/, fn);
      expect(error.argument, error.message).to.equal(argument);
    }
  });
});

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`bad input to rules on ${device}`, () => {
    const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device });
    const [q, k, v] = [z(2, 5, 2, 4), z(2, 5, 2, 4), z(2, 5, 4, 6)];

    before(() => fw.setChecks('values'));

    it('shapes', () => {
      const error = expectError('SHAPE', /deltaRule: beta must be \[2, 5, 4\].*got \[2, 5\]/, () =>
        fw.deltaRule(q, k, v, { beta: z(2, 5) }),
      );
      expect(error.argument).to.equal('beta');
      expect(error.found).to.equal('[2, 5]');
      expectError('SHAPE', /k must be \[2, 5, 2, 4\]/, () => fw.deltaRule(q, z(2, 5, 2, 3), v));
      expectError('SHAPE', /v must be \[2, 5, a multiple of 2, V\]/, () => fw.deltaRule(q, k, z(2, 5, 3, 6)));
      expectError('SHAPE', /gate must be/, () => fw.gatedLinearAttention(q, k, v, { gate: z(2, 5, 4, 5) }));
      expectError('SHAPE', /initialState must be \[2, 4, 4, 6\]/, () =>
        fw.deltaRule(q, k, v, { initialState: z(2, 4, 6, 4) }),
      );
      expectError('SHAPE', /beta must be \[2, 5, 2\].* or \[2, 5, 2, 4\]/, () =>
        fw.ojaRule(q, k, z(2, 5, 2, 6), { beta: z(2, 5, 2, 6), gate: z(2, 5, 2, 6) }),
      );
      expectError('SHAPE', /p must be/, () => fw.comba(q, k, v, { p: z(2, 5, 2, 3) }));
      expectError('INVALID_ARGUMENT', /a must be a Tensor/, () =>
        fw.generalizedDeltaRule(q, k, z(2, 5, 2, 6), {} as never),
      );
    });

    it('dtypes never mix: q, k and v are alike, and no gate is narrower than they are', () => {
      const vectors = { q: z(1, 2, 1, 4), k: z(1, 2, 1, 4), v: z(1, 2, 1, 4) };
      const [perHead, perChannel, lambda] = [z(1, 2, 1), z(1, 2, 1, 4), fw.ones([1, 4], { device })];
      const gates: Record<string, Record<string, fw.Tensor>> = {
        based: {},
        rebased: {},
        linearAttention: {},
        mlstm: { inputGate: perHead, forgetGate: perHead },
        rodimus: { gateLogit: perChannel, temperatureLogit: perChannel },
        gatedDeltaRule2: { eraseGate: perChannel, writeGate: perChannel },
        efla: { beta: perHead },
        kaczmarzAttention: { eta: perHead },
        qDeltaRule: { queryShare: perHead },
        comba: { p: perChannel },
        mesa: { gate: perHead, beta: perHead, lambda },
        forgettingAttention: { gate: perHead },
      };
      type Call = (q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object) => { output: fw.Tensor };
      for (const [name, own] of Object.entries(gates)) {
        const run = (given: Partial<typeof vectors>, options: object): fw.Tensor => {
          const { q, k, v } = { ...vectors, ...given };
          return (fw[name as 'based'] as Call)(q, k, v, options).output;
        };
        const narrow = Object.fromEntries(Object.entries(vectors).map(([key, t]) => [key, t.to('bfloat16')]));
        for (const key of ['q', 'k', 'v']) {
          const message = new RegExp(`^${name}: [qkv] must be (float32|bfloat16) like`);
          expectError('DTYPE', message, () => run({ [key]: narrow[key] }, own));
          expectError('DTYPE', message, () => run({ ...narrow, [key]: vectors[key as 'q'] }, own));
        }
        for (const [gate, t] of Object.entries(own)) {
          const message = new RegExp(`^${name}: ${gate} must be float32 like`);
          expectError('DTYPE', message, () => run({}, { ...own, [gate]: t.to('bfloat16') }));
        }
        expect(run(narrow, own).dtype, name).to.equal('bfloat16');
      }
      const [x, w] = [z(1, 2, 4), z(4)];
      for (const given of [{ k: x.to('bfloat16') }, { v: x.to('bfloat16') }])
        expectError('DTYPE', /^rwkv4: v must be/, () => fw.rwkv4({ k: x, v: x, timeDecay: w, timeFirst: w, ...given }));
    });

    it('dtypes, devices, and what is no tensor', () => {
      expectError('DTYPE', /k must be float32/, () => fw.deltaRule(q, k.to('bfloat16'), v));
      expectError('DTYPE', /q must be a floating-point tensor/, () => fw.deltaRule(q.to('int32'), k, v));
      expectError('INVALID_ARGUMENT', /q must be a Tensor, got \[1, 2\]/, () => fw.deltaRule([1, 2] as never, k, v));
      const other = fw.devices().find((d) => d.available && d.device !== device);
      if (other)
        expectError('DEVICE', /beta must be on/, () =>
          fw.deltaRule(q, k, v, { beta: fw.zeros([2, 5, 4], { device: other.device }) }),
        );
      const gone = z(2, 5, 4);
      gone.dispose();
      expectError('DISPOSED', /disposed/, () => fw.deltaRule(q, k, v, { beta: gone }));
    });

    it('values: gates above 0, NaN', () => {
      expectError('INVALID_ARGUMENT', /gate must be <= 0/, () =>
        fw.deltaRule(q, k, v, { gate: fw.full([2, 5, 4], 0.1, { device }) }),
      );
      expectError('INVALID_ARGUMENT', /v must be free of NaN/, () =>
        fw.deltaRule(q, k, fw.full([2, 5, 4, 6], NaN, { device })),
      );
    });

    it('cuSeqlens', () => {
      const one = [z(1, 5, 2, 4), z(1, 5, 2, 4), z(1, 5, 4, 6)] as const;
      for (const [cuSeqlens, pattern] of [
        [[0, 3, 2, 5], /never fall/],
        [[1, 5], /starting at 0/],
        [[0, 4], /ending at 5/],
        [[0, 2.5, 5], /whole numbers/],
        ['05', /a list of numbers/],
      ] as const) {
        expectError('INVALID_ARGUMENT', pattern, () =>
          fw.deltaRule(...one, { cuSeqlens: cuSeqlens as unknown as number[] }),
        );
      }
      expectError('INVALID_ARGUMENT', /batch of 1/, () => fw.deltaRule(q, k, v, { cuSeqlens: [0, 5] }));
    });

    it('options', () => {
      expectError('INVALID_ARGUMENT', /mode must be/, () => fw.deltaRule(q, k, v, { mode: 'fast' as never }));
      expectError('INVALID_ARGUMENT', /chunkSize must be 16, 32 or 64/, () =>
        fw.deltaRule(q, k, v, { chunkSize: 48 as never }),
      );
      expectError('INVALID_ARGUMENT', /featureMap must be/, () =>
        fw.linearAttention(q, k, v, { featureMap: 'cosine' as never }),
      );
      expectError('INVALID_ARGUMENT', /bonus needs read/, () => fw.recurrence({ q, k, v, bonus: z(2, 4) }, {}));
      expectError('INVALID_ARGUMENT', /eraseKey needs eraseFrom/, () => fw.recurrence({ q, k, v, eraseKey: k }));
      expectError('INVALID_ARGUMENT', /valueGate does not go with gate/, () =>
        fw.recurrence({ q, k, v, valueGate: z(2, 5, 4, 6), gate: z(2, 5, 4) }),
      );
    });

    it('steps: only outside recording, with a state of the right shape', () => {
      const [tq, tk, tv] = [z(2, 2, 4), z(2, 2, 4), z(2, 4, 6)];
      expectError('GRAPH', /only inside noGrad/, () => fw.deltaRule.step(tq, tk, tv, { state: z(2, 4, 4, 6) }));
      fw.noGrad(() => {
        expectError('SHAPE', /state must be \[2, 4, 4, 6\]/, () =>
          fw.deltaRule.step(tq, tk, tv, { state: z(2, 4, 6, 4) }),
        );
        expectError('SHAPE', /out must be/, () =>
          fw.deltaRule.step(tq, tk, tv, { state: z(2, 4, 4, 6), out: z(2, 4, 4) }),
        );
        expectError('INVALID_ARGUMENT', /state must be a Tensor/, () => fw.deltaRule.step(tq, tk, tv, {} as never));
      });
    });
  });
}

describe('options without effect', () => {
  const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device: 'js' });

  it('a steepness is refused of functions that have none, but for the 1 of them all', () => {
    for (const activation of ['tanh', 'identity', undefined] as const) {
      const make = (steepness: number): unknown => fw.linearFastNet({ keyDim: 2, valueDim: 2, activation, steepness });
      expectError('INVALID_ARGUMENT', /steepness must be left out with activation/, () => make(4));
      expect(make(1)).to.be.an('object');
    }
    expect(fw.linearFastNet({ keyDim: 2, valueDim: 2, activation: 'sigmoidSteep', steepness: 4 })).to.be.an('object');
  });

  it('postTanh is refused of rules without a subtraction', () => {
    const sizes = { inputChannels: 2, hiddenSize: 4, outputSize: 3, heads: 2 };
    for (const learningRule of ['hebb', 'oja'] as const) {
      const given = { learningRule, postTanh: true };
      const refused = /postTanh must be left out, or false, with the learning rule '(hebb|oja)'/;
      expectError('INVALID_ARGUMENT', refused, () => new fw.models.OdeModel({ ...sizes, ...given }, { device: 'js' }));
      expectError(
        'INVALID_ARGUMENT',
        refused,
        () => new fw.models.NrdeModel({ ...sizes, ...given, initialSize: 2 }, { device: 'js' }),
      );
      const { outputSize: _, ...recurrent } = { ...sizes, ...given };
      expectError(
        'INVALID_ARGUMENT',
        refused,
        () => new fw.models.OdeRecurrentFastWeights(recurrent, { device: 'js' }),
      );
      // By default it is on of the delta rule only.
      const model = new fw.models.NrdeModel({ ...sizes, learningRule, initialSize: 2 }, { device: 'js' });
      expect(model.update_net.settings.postTanh).to.equal(false);
    }
  });

  it('weights of a norm are refused without one', () => {
    const inputs = { x: z(1, 2, 3), weightIh: z(4, 3), weightHh: z(4, 4), normWeight: z(4) };
    expectError('INVALID_ARGUMENT', /normWeight must be left out without a norm/, () =>
      fw.fastRnn(inputs, { norm: false }),
    );
    expect(fw.fastRnn(inputs, { norm: false, preliminaryNorm: true }).output.shape).to.eql([1, 2, 4]);
    expect(fw.fastRnn(inputs, { innerSteps: 0 }).output.shape).to.eql([1, 2, 4]);
  });
});
