// Values that no option and no argument may have: a typed error that names the argument, on every device.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

type Case = [argument: string, pattern: RegExp, call: () => unknown];

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`values out of range on ${device}`, () => {
    const on = { device } as const;
    const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, on);
    const ints = (data: number[] | number[][]): fw.Tensor => fw.tensor(data, { dtype: 'int32', ...on });
    const x = z(2, 4);
    const logits = z(3, 5);
    const target = ints([0, 1, 2]);
    const [q, k, v] = [z(1, 3, 2, 4), z(1, 3, 2, 4), z(1, 3, 2, 4)];
    const tq = z(1, 2, 4);
    const sizes = { vocabSize: 11, hiddenSize: 16, numLayers: 1, numHeads: 2, device } as const;
    const entropy = (options: object) => () => fw.crossEntropy(logits, target, options);
    const model = fw.createModel('deltanet', sizes);
    const bad = [NaN, -1, Infinity, '1'] as number[];
    const layers = [{ weightIh: z(8, 4), weightHh: z(8, 2) }];

    const CASES: Case[] = [
      ['reduction', /'mean' \| 'sum' \| 'none', got "avg"/, entropy({ reduction: 'avg' })],
      ['reduction', /got null/, entropy({ reduction: null })],
      ['ignoreIndex', /whole number/, entropy({ ignoreIndex: 1.5 })],
      ['labelSmoothing', /from 0 to 1/, entropy({ labelSmoothing: 1.1 })],
      ...bad.flatMap((value): Case[] => [
        ['zLoss', /zLoss must be a number from 0/, entropy({ zLoss: value })],
        ['logitSoftcap', /logitSoftcap must be a number from 0/, entropy({ logitSoftcap: value })],
        ['eps', /layerNorm: eps/, () => fw.layerNorm(x, null, null, value)],
        ['eps', /rmsNorm: eps/, () => fw.rmsNorm(x, null, { eps: value })],
        ['eps', /l2Norm: eps/, () => fw.l2Norm(x, value)],
        ['eps', /groupNorm: eps/, () => fw.groupNorm(x, 2, null, null, value)],
        ['eps', /rmsNormGated: eps/, () => fw.rmsNormGated(x, x, null, { eps: value })],
        ['eps', /RMSNorm: eps/, () => new fw.nn.RMSNorm(4, value)],
        ['eps', /LayerNorm: eps/, () => new fw.nn.LayerNorm(4, value)],
        ['eps', /gradcheck: eps/, () => fw.gradcheck((t) => t.sum(), [], { eps: value })],
        ['tolerance', /gradcheck: tolerance/, () => fw.gradcheck((t) => t.sum(), [], { tolerance: value })],
        [
          'normalizeEps',
          /linearAttention: normalizeEps/,
          () => fw.linearAttention(q, k, v, { normalize: true, normalizeEps: value }),
        ],
        [
          'normalizeEps',
          /deltaRule: normalizeEps/,
          () => fw.deltaRule(q, k, v, { normalize: true, normalizeEps: value }),
        ],
        ['sumNormEps', /sumNormEps/, () => fw.featureMap(x, { featureMap: 'elu1', sumNormEps: value })],
        ['featureEps', /featureEps/, () => fw.featureMap(x, { featureMap: 'relu', featureEps: value })],
        ['normEps', /normEps/, () => fw.deltaRule(q, k, v, { featureMap: 'rebased', normEps: value })],
        ['std', /randn: std/, () => fw.randn([2], { std: value, ...on })],
        ['base', /rope: base/, () => fw.rope(q, { base: value })],
        ['p', /Dropout: p/, () => new fw.nn.Dropout(value)],
        ['initializer_range', /initializer_range/, () => fw.createModel('gla', { ...sizes, initializerRange: value })],
        ['norm_eps', /norm_eps/, () => fw.createModel('kda', { ...sizes, normEps: value })],
      ]),
      ['outputScale', /outputScale/, () => fw.linearAttention(q, k, v, { normalize: true, outputScale: NaN })],
      ['scale', /deltaRule: scale/, () => fw.deltaRule(q, k, v, { scale: NaN })],
      ['activation', /'silu' \| 'sigmoid'/, () => fw.rmsNormGated(x, x, null, { activation: 'relu' as never })],
      ['groupSize', /groupSize must be a divisor of 4/, () => fw.rmsNormGated(x, x, null, { groupSize: 3 })],
      ['groupSize', /groupSize/, () => fw.rmsNormGated(x, x, null, { groupSize: 0 })],
      ['approximate', /'none' \| 'tanh'/, () => x.gelu('fast' as never)],
      ['min', /clamp: min/, () => x.clamp(NaN, 1)],
      ['max', /clamp: max/, () => x.clamp(0, '1' as never)],
      ['low', /rand: low/, () => fw.rand([2], { low: -Infinity, ...on })],
      ['high', /high must be at least low, 1/, () => fw.rand([2], { low: 1, high: 0.5, ...on })],
      ['mean', /randn: mean/, () => fw.randn([2], { mean: NaN, ...on })],
      ['value', /full: value must be a number/, () => fw.full([2], '1' as never, on)],
      ['value', /whole number/, () => fw.full([2], 0.5, { dtype: 'int32', ...on })],
      ['base', /above 0/, () => fw.rope(q, { base: 0 })],
      ['offset', /rope: offset/, () => fw.rope(q, { offset: -1 })],
      ['offset', /rope: offset/, () => fw.rope(q, { offset: 2 ** 31 })],
      ['modulo', /rope: modulo/, () => fw.rope(q, { modulo: -2 })],
      ['frequencies[1]', /finite/, () => fw.rope(q, { frequencies: [1, NaN] })],
      ...[0, -1, 1.5, NaN].map((window): Case => [
        'window',
        /window must be a whole number >= 1/,
        () => fw.softmaxAttention(q, k, v, { window }),
      ]),
      [
        'activation',
        /shortConvolution.step: activation/,
        () =>
          fw.noGrad(() =>
            fw.shortConvolutionStep(z(1, 4), z(4, 2), { activation: 'relu' as never, state: z(1, 4, 1) }),
          ),
      ],
      ['layers', /at least one layer/, () => fw.lstm(z(1, 2, 4), [])],
      ['weightHh0', /weightHh0 must be a Tensor/, () => fw.lstm(z(1, 2, 4), [{ weightIh: z(8, 4) } as never])],
      [
        'initial hidden',
        /initial hidden must be a Tensor/,
        () => fw.lstm(z(1, 2, 4), layers, { cell: z(1, 1, 2) } as never),
      ],
      [
        'gradient',
        /gradient must be a Tensor/,
        () =>
          fw
            .ones([2], { requiresGrad: true, ...on })
            .mul(2)
            .backward([1, 1] as never),
      ],
      ['on', /setChecks: on must be true, false or 'values'/, () => fw.setChecks('no' as never)],
      ['n', /setNumThreads: n/, () => fw.setNumThreads('2' as never)],
      ['n', /setNumThreads: n/, () => fw.setNumThreads(0)],
      ['n', /manualSeed/, () => fw.manualSeed(-1)],
      ['n', /manualSeed/, () => fw.manualSeed(0.5)],
      ['numHeads', /numHeads must be a whole number >= 1/, () => fw.createModel('deltanet', { ...sizes, numHeads: 0 })],
      ['numHeads', /a divisor of 16/, () => fw.createModel('deltanet', { ...sizes, numHeads: 3 })],
      ['name', /did you mean 'deltanet'/, () => fw.createModel('deltanett' as 'deltanet', sizes)],
      ['name', /'linear-transformer' \| /, () => fw.createModel('nothing like it' as 'deltanet', sizes)],
      ['rope_theta', /above 0/, () => fw.createModel('transformer', { ...sizes, ropeTheta: 0 })],
      ['inFeatures', /Linear/, () => new fw.nn.Linear(0, 3)],
      ['width', /ShortConvolution/, () => new fw.nn.ShortConvolution(3, 0)],
      ['labels', /int32/, () => model.forward(ints([[1, 2]]), { labels: z(1, 2) })],
      ['labels', /batch, time like ids/, () => model.forward(ints([[1, 2]]), { labels: ints([[1]]) })],
      ['residual', /residual must be a Tensor/, () => fw.rmsNorm(x, null, { residual: 5 as never })],
      ['residual', /residual must be \[2, 4\]/, () => fw.rmsNorm(x, null, { residual: z(2, 3) })],
      ['lower_bound', /at most 0, got 1/, () => fw.createModel('kda', { ...sizes, lowerBound: 1 })],
      ['clamp_min', /at most 0, got 0.5/, () => fw.createModel('gla', { ...sizes, clampMin: 0.5 })],
      ['featureMap', /featureMap must be/, () => fw.deltaRule(q, k, v, { featureMap: '' as never })],
      ...([0, '', NaN, false] as never[]).flatMap((none): Case[] => [
        ['initialState', /initialState must be a Tensor/, () => fw.deltaRule(q, k, v, { initialState: none })],
        [
          'initialState',
          /initialState must be a Tensor/,
          () => fw.linearAttention(q, k, v, { normalize: true, initialState: none }),
        ],
        [
          'initialNormalizer',
          /initialNormalizer must be a Tensor/,
          () => fw.deltaRule(q, k, v, { normalize: true, initialNormalizer: none }),
        ],
        ['beta', /beta must be a Tensor/, () => fw.deltaRule(q, k, v, { beta: none })],
        ['beta', /beta must be a Tensor/, () => fw.deltaRule(q, k, v, { normalize: true, beta: none })],
        ['gate', /gate must be a Tensor/, () => fw.gatedLinearAttention(q, k, v, { gate: none })],
        ['gate', /gate must be a Tensor/, () => fw.deltaProduct(q, k, v, { numHouseholder: 1, gate: none })],
        ...(['beta', 'gate'] as const).map((name): Case => [
          name,
          /^deltaRule.step: .* must be a Tensor/,
          () => fw.noGrad(() => fw.deltaRule.step(tq, tq, tq, { state: z(1, 2, 4, 4), normalize: true, [name]: none })),
        ]),
        ['cuSeqlens', /a list of numbers/, () => fw.deltaRule(q, k, v, { cuSeqlens: none })],
        ['cuSeqlens', /a list of numbers/, () => fw.deltaProduct(q, k, v, { numHouseholder: 1, cuSeqlens: none })],
        ['cuSeqlens', /a list of numbers/, () => fw.softmaxAttention(q, k, v, { cuSeqlens: none })],
        ['cuSeqlens', /a list of numbers/, () => fw.rope(q, { cuSeqlens: none })],
        ['cuSeqlens', /a list of numbers/, () => fw.shortConvolution(z(1, 3, 4), z(4, 2), { cuSeqlens: none })],
        ['cuSeqlens', /a list of numbers/, () => model.forward(ints([[1, 2]]), { cuSeqlens: none })],
        [
          'initialState',
          /initialState must be a Tensor/,
          () => fw.shortConvolution(z(1, 3, 4), z(4, 2), { initialState: none }),
        ],
        ['bias', /bias must be a Tensor/, () => fw.shortConvolution(z(1, 3, 4), z(4, 2), { bias: none })],
        ['bias', /bias must be a Tensor/, () => fw.linear(x, z(3, 4), none)],
        ['residual', /residual must be a Tensor/, () => fw.linear(x, z(3, 4), null, { residual: none })],
        ['weight', /weight must be a Tensor/, () => fw.layerNorm(x, none)],
        ['labels', /labels must be a Tensor/, () => model.forward(ints([[1, 2]]), { labels: none })],
      ]),
      [
        'initialState',
        /initialState must be a Tensor/,
        () => fw.linearAttention(q, k, v, { normalize: true, initialState: 5 as never }),
      ],
      [
        'initialState',
        /\[N, HV, K, V\]/,
        () => fw.linearAttention(q, k, v, { normalize: true, initialState: z(2, 4) }),
      ],
      [
        'initialNormalizer',
        /\[N, HV, K\]/,
        () => fw.linearAttention(q, k, v, { normalize: true, initialNormalizer: z(2, 4) }),
      ],
      ...([fw.linearAttention, fw.deltaRule] as const).flatMap((rule): Case[] => [
        [
          'initialNormalizer',
          /the sum of keys before/,
          () => rule(q, k, v, { normalize: true, initialState: z(1, 2, 4, 4) }),
        ],
        [
          'normalizer',
          /normalizer must be a Tensor/,
          () => fw.noGrad(() => rule.step(tq, tq, tq, { state: z(1, 2, 4, 4), normalize: true })),
        ],
      ]),
      ['labels', /a Tensor/, () => model.forward(ints([[1, 2]]), { labels: [[1, 2]] as never })],
    ];

    for (const [argument, pattern, call] of CASES) {
      it(`${argument}: ${pattern.source}, ${call.toString().replace(/\s+/g, ' ').slice(0, 60)}`, () => {
        let caught: unknown;
        try {
          call();
        } catch (error) {
          caught = error;
        }
        expect(caught).to.be.instanceOf(fw.FastWeightsError);
        const error = caught as fw.FastWeightsError;
        expect(error.message).to.match(pattern);
        expect(error.argument).to.equal(argument);
      });
    }

    it('clamp with min > max gives max everywhere', () => {
      const found = fw.tensor([-3, 0.5, 4], on).clamp(2, 1);
      expect([...found.dataSync()]).to.deep.equal([1, 1, 1]);
    });

    it('ids: which one, and the range', async () => {
      const session = model.createSession();
      for (const [given, argument, found] of [
        [[1, 2, 11], 'ids[2]', '11'],
        [[-1], 'ids[0]', '-1'],
        [[1, 0.5], 'ids[1]', '0.5'],
        [[1, NaN], 'ids[1]', 'NaN'],
        [['1'], 'ids[0]', '"1"'],
        [[[1, 2]], 'ids[0]', '[1, 2]'],
        [ints([[3, 40]]), 'ids[1]', '40'],
        [new Float32Array([1, 2.5]), 'ids[1]', '2.5'],
      ] as const) {
        const pattern = /^feed: ids\[\d\] must be a whole number from 0 to 10, got/;
        const error = expectError('INVALID_ARGUMENT', pattern, () => session.feed(given as never));
        expect(error.argument).to.equal(argument);
        expect(error.found).to.equal(found);
      }
      const error: unknown = await model
        .generate([5, 11])
        .next()
        .catch((reason: unknown) => reason);
      expect((error as Error).message).to.match(/^generate: ids\[1\] must be a whole number from 0 to 10, got 11/);
      session.dispose();
    });

    it('generation: lengths, seeds, stop tokens, sampling', async () => {
      for (const [argument, options] of [
        ['stopTokens[0]', { stopTokens: [-1] }],
        ['stopTokens[1]', { stopTokens: [3, 11] }],
        ['stopTokens[0]', { stopTokens: [1.5] }],
        ['stopTokens[0]', { stopTokens: ['3'] }],
        ['stopTokens', { stopTokens: 3 }],
        ['temperature', { temperature: NaN }],
        ['temperature', { temperature: -1 }],
        ['temperature', { temperature: Infinity }],
        ['topK', { topK: 0 }],
        ['topK', { topK: 2.5 }],
        ['topP', { topP: 0 }],
        ['topP', { topP: 1.01 }],
        ['topP', { topP: NaN }],
        ['maxNewTokens', { maxNewTokens: 1.5 }],
        ['maxNewTokens', { maxNewTokens: -1 }],
        ['seed', { seed: -1 }],
        ['seed', { seed: 0.5 }],
        ['signal', { signal: 'stop' }],
        ['signal', { signal: new AbortController() }],
      ] as [string, fw.GenerateOptions][]) {
        const error: unknown = await model
          .generate([1], options)
          .next()
          .catch((reason: unknown) => reason);
        expect(error, JSON.stringify(options)).to.be.instanceOf(fw.FastWeightsError);
        expect((error as fw.FastWeightsError).code).to.equal('INVALID_ARGUMENT');
        expect((error as fw.FastWeightsError).argument).to.equal(argument);
        expect((error as fw.FastWeightsError).message).to.match(/^generate: /);
      }
    });
  });
}
