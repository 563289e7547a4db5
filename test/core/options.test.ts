// Options objects at every public function: unknown names with the nearest known one, flags, and values out of range.
import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fw from '../../lib';
import { refuseKey } from '../../lib/core';
import { expectError } from '../support/errors';

const on = { device: 'js' } as const;
const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, on);
const ids = (data: number[] | number[][]): fw.Tensor => fw.tensor(data, { dtype: 'int32', ...on });
const sizes = { vocabSize: 11, hiddenSize: 16, numLayers: 1, numHeads: 2, device: 'js' } as const;

/** Calls with an options object; `given` goes into it as it is. */
type Call = (given: never) => unknown;

const [q, k, v] = [z(1, 3, 2, 4), z(1, 3, 2, 4), z(1, 3, 2, 4)];
const [q1, k1, v1, state] = [z(1, 2, 4), z(1, 2, 4), z(1, 2, 4), z(1, 2, 4, 4)];
const gates: Record<string, Record<string, fw.Tensor | number>> = {
  linearAttention: {},
  retention: {},
  gatedLinearAttention: {},
  deltaRule: {},
  deltaProduct: { numHouseholder: 1 },
  generalizedDeltaRule: { a: k, b: k },
  ojaRule: {},
  comba: { p: k },
  gatedDeltaRule2: { eraseGate: k, writeGate: v },
  rwkv6: {},
};
type AnyRule = ((...args: unknown[]) => unknown) & { step(...args: unknown[]): unknown };
const rule = (name: string): AnyRule => (fw as unknown as Record<string, AnyRule>)[name];
const logits = z(3, 5);
const norm = z(2, 4);
const model = fw.createModel('deltanet', sizes);
const layer = { weightIh: z(8, 4), weightHh: z(8, 2) };
const small = { vocabSize: 11, hiddenSize: 16, numHiddenLayers: 1 };
const nowhere = path.join(tmpdir(), 'fast-weights-nowhere');
const dataset = fw.data.tasks.parity({ maxLength: 3 });

/** Every public function with an options object: a call with the options given, and a wrong name with its nearest. */
const CALLS: [name: string, wrong: string, near: string | null, call: Call][] = [
  ...Object.keys(gates).flatMap((name): typeof CALLS => [
    [name, 'qkL2Nrom', 'qkL2Norm', (given) => rule(name)(q, k, v, { ...gates[name], ...(given as object) })],
    [
      `${name}.step`,
      'sclae',
      'scale',
      (given) => fw.noGrad(() => rule(name).step(q1, k1, v1, { ...gates[name], state, ...(given as object) })),
    ],
  ]),
  ['deltaRule', 'betaa', 'beta', (given) => fw.deltaRule(q, k, v, given)],
  ['deltaRule.step', 'initialState', null, (given) => fw.deltaRule.step(q1, k1, v1, { state, ...(given as object) })],
  ['retention', 'gate', null, (given) => fw.retention(q, k, v, given)],
  ['recurrence', 'eraseForm', 'eraseFrom', (given) => fw.recurrence({ q, k, v }, given)],
  ['recurrence', 'betaa', 'beta', (given) => fw.recurrence({ q, k, v, ...(given as object) })],
  ['recurrence.step', 'secondWrit', 'secondWrite', (given) => fw.recurrence.step({ q: q1, k: k1, v: v1 }, given)],
  ['tensor', 'dtyp', 'dtype', (given) => fw.tensor([1], given)],
  ['zeros', 'shpe', null, (given) => fw.zeros([1], given)],
  ['ones', 'devcie', 'device', (given) => fw.ones([1], given)],
  ['full', 'requireGrad', 'requiresGrad', (given) => fw.full([1], 2, given)],
  ['arange', 'dtpye', 'dtype', (given) => fw.arange(0, 3, 1, given)],
  ['rand', 'hihg', 'high', (given) => fw.rand([1], given)],
  ['randn', 'sdt', 'std', (given) => fw.randn([1], given)],
  [
    'backward',
    'retainGrpah',
    'retainGraph',
    (given) =>
      fw
        .ones([1], { ...on, requiresGrad: true })
        .mul(2)
        .backward(undefined, given),
  ],
  ['gradcheck', 'tolerence', 'tolerance', (given) => fw.gradcheck((x) => x.sum(), [], given)],
  ['crossEntropy', 'labelSmothing', 'labelSmoothing', (given) => fw.crossEntropy(logits, ids([0, 1, 2]), given)],
  ['featureMap', 'freatureMap', 'featureMap', (given) => fw.featureMap(norm, given)],
  ['linear', 'actvation', 'activation', (given) => fw.linear(norm, z(3, 4), null, given)],
  ['feedForward', 'gaet', 'gate', (given) => fw.feedForward(norm, given)],
  ['lstm', 'biasIhh', 'biasIh', (given) => fw.lstm(z(1, 2, 4), [{ ...layer, ...(given as object) }])],
  ['lstm', 'cel', 'cell', (given) => fw.lstm(z(1, 2, 4), [layer], given)],
  ['rmsNorm', 'epsilon', null, (given) => fw.rmsNorm(norm, null, given)],
  ['rmsNormGated', 'normBeforGate', 'normBeforeGate', (given) => fw.rmsNormGated(norm, norm, null, given)],
  ['rope', 'bsae', 'base', (given) => fw.rope(q, given)],
  ['softmaxAttention', 'windw', 'window', (given) => fw.softmaxAttention(q, k, v, given)],
  ['shortConvolution', 'activtion', 'activation', (given) => fw.shortConvolution(z(1, 3, 4), z(4, 2), given)],
  ['tokenShift', 'initialSate', 'initialState', (given) => fw.tokenShift(z(1, 3, 4), given)],
  ['tokenShift.step', 'stat', 'state', (given) => fw.tokenShiftStep(z(1, 4), given)],
  ['kdaGate', 'lowerBonud', 'lowerBound', (given) => fw.kdaGate(z(2, 3), z(2), z(6), given)],
  ['shortConvolution.step', 'stat', 'state', (given) => fw.shortConvolutionStep(z(1, 4), z(4, 2), given)],
  ['Linear', 'bais', 'bias', (given) => new fw.nn.Linear(2, 2, given)],
  ['Embedding', 'dtyep', 'dtype', (given) => new fw.nn.Embedding(2, 2, given)],
  ['LayerNorm', 'bais', 'bias', (given) => new fw.nn.LayerNorm(2, 1e-5, given)],
  ['SwiGLU', 'bais', 'bias', (given) => new fw.nn.SwiGLU(2, 2, given)],
  ['ShortConvolution', 'actvation', 'activation', (given) => new fw.nn.ShortConvolution(2, 2, given)],
  ['loadStateDict', 'strcit', 'strict', (given) => model.loadStateDict(model.stateDict(), given)],
  ['forward', 'lables', 'labels', (given) => model.forward(ids([[1, 2]]), given)],
  ['forward', 'outputSate', 'outputState', (given) => model.model.forward(ids([[1, 2]]), given)],
  ['createSession', 'histroy', 'history', (given) => model.createSession(given)],
  ['sampleToken', 'temprature', 'temperature', (given) => fw.sampleToken([1, 2], given, null as never)],
  [
    'createModel',
    'hiddenSzie',
    'hiddenSize',
    (given) => fw.createModel('deltanet', { ...sizes, ...(given as object) }),
  ],
  ['createModel', 'lowerBound', null, (given) => fw.createModel('deltanet', { ...sizes, ...(given as object) })],
  ...fw.models.modelFamilies.map(({ name }): (typeof CALLS)[number] => [
    'createModel',
    'initialiserRange',
    'initializerRange',
    (given) => fw.createModel(name, { ...sizes, ...(given as object) }),
  ]),
  [
    'delta_net',
    'hidden_szie',
    'hidden_size',
    (given) => new fw.models.DeltaNetForCausalLM({ ...small, ...(given as object) }),
  ],
  [
    'linear_attn',
    'featureMpa',
    'featureMap',
    (given) => new fw.models.LinearAttentionForCausalLM({ ...small, ...(given as object) }),
  ],
  [
    'retnet',
    'use_output_gat',
    'use_output_gate',
    (given) => new fw.models.RetNetForCausalLM({ ...small, ...(given as object) }),
  ],
  ['gla', 'clampMni', 'clampMin', (given) => new fw.models.GLAForCausalLM({ ...small, ...(given as object) })],
  [
    'delta_net_2021',
    'featuremap',
    'featureMap',
    (given) => new fw.models.DeltaNet2021ForCausalLM({ ...small, ...(given as object) }),
  ],
  [
    'gated_deltanet',
    'num_v_haeds',
    'num_v_heads',
    (given) => new fw.models.GatedDeltaNetForCausalLM({ ...small, ...(given as object) }),
  ],
  ['kda', 'lowerBonud', 'lowerBound', (given) => new fw.models.KDAForCausalLM({ ...small, ...(given as object) })],
  ['llama', 'ropeTehta', 'ropeTheta', (given) => new fw.models.LlamaForCausalLM({ ...small, ...(given as object) })],
  ['lstm', 'vocab_sz', 'vocab_size', (given) => new fw.models.LstmForCausalLM({ ...small, ...(given as object) })],
  ['fromConfig', 'dvice', 'device', (given) => fw.AutoModelForCausalLM.fromConfig({ modelType: 'lstm' }, given)],
  ['mqar', 'vocabSzie', 'vocabSize', (given) => fw.data.tasks.mqar(given)],
  ['parity', 'maxLegnth', 'maxLength', (given) => fw.data.tasks.parity(given)],
  ['wordProblem', 'gruop', 'group', (given) => fw.data.tasks.wordProblem(given)],
  ['listOps', 'detph', 'depth', (given) => fw.data.tasks.listOps(given)],
  ['codeExecution', 'statemnets', 'statements', (given) => fw.data.tasks.codeExecution(given)],
  ['formalLanguage', 'langauge', 'language', (given) => fw.data.tasks.formalLanguage(given)],
  ['copy', 'sybols', 'symbols', (given) => fw.data.createTask('copy', given)],
  ['associativeRecall', 'nKyes', 'nKeys', (given) => fw.data.tasks.associativeRecall(given)],
  ['associativeRetrieval2021', 'seting', 'setting', (given) => fw.data.associativeRetrieval2021(given)],
  ['textDataset', 'sequenceLenght', 'sequenceLength', (given) => fw.data.textDataset(given)],
  ['Trainer', 'traning', 'training', (given) => new fw.Trainer(given)],
  [
    'training',
    'lerningRate',
    'learningRate',
    (given) => new fw.Trainer({ model, data: dataset, folder: null as never, training: given }),
  ],
  ['byteTokenizer.encode', 'addSpecialToken', 'addSpecialTokens', (given) => fw.byteTokenizer().encode('a', given)],
  ['StreamDecoder', 'skipSpecial', null, (given) => new fw.StreamDecoder(fw.byteTokenizer(), given)],
  ['heat', 'widht', 'width', (given) => fw.viz.heat({ rows: 1, columns: 1, data: [1] }, given)],
  ['lineChart', 'yScael', 'yScale', (given) => fw.viz.lineChart(given)],
  ['heatmapGrid', 'limt', 'limit', (given) => fw.viz.heatmapGrid(given)],
  ['renderReport', 'subtitel', 'subtitle', (given) => fw.viz.renderReport(given)],
  ['createProgress', 'totl', 'total', (given) => fw.viz.createProgress(process.stderr, given)],
];

/** The same for functions that answer later. */
const LATER: [name: string, wrong: string, near: string, call: (given: never) => Promise<unknown>][] = [
  ['generate', 'maxNewTokns', 'maxNewTokens', (given) => model.generate([1], given).next()],
  ['generate', 'temprature', 'temperature', (given) => model.createSession().generate([1], given).next()],
  ['fromPretrained', 'devcie', 'device', (given) => fw.AutoModelForCausalLM.fromPretrained(nowhere, given)],
  ['savePretrained', 'maxShardByte', 'maxShardBytes', (given) => model.savePretrained(nowhere, given)],
  ['saveShards', 'metdata', 'metadata', (given) => fw.saveShards(nowhere, {}, given)],
  ['resumeRun', 'devise', 'device', (given) => fw.resumeRun(nowhere, {}, given)],
  ['startRun', 'modell', 'model', (given) => fw.startRun(given, nowhere)],
];

async function later(call: () => Promise<unknown>): Promise<() => never> {
  try {
    await call();
  } catch (error) {
    return () => {
      throw error as Error;
    };
  }
  return expect.fail('it did not throw');
}

describe('options objects', () => {
  const refused = (name: string, wrong: string, near: string | null, fn: () => unknown): void => {
    const hint = near ? `did you mean ${near}\\?` : 'known are ';
    const pattern = new RegExp(`^${name}: unknown option ${wrong}; ${hint}`);
    const error = expectError('INVALID_ARGUMENT', pattern, fn);
    expect(error.argument).to.equal(wrong);
    expect(error.found).to.equal(wrong);
  };

  for (const [name, wrong, near, call] of CALLS) {
    it(`${name} refuses ${wrong}, also when it is undefined`, () => {
      for (const value of [1, undefined]) refused(name, wrong, near, () => call({ [wrong]: value } as never));
    });
  }

  for (const [name, wrong, near, call] of LATER) {
    it(`${name} refuses ${wrong}`, async () => {
      refused(name, wrong, near, await later(() => call({ [wrong]: 1 } as never)));
    });
  }

  it('a file is loaded with options that are known only', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-options-'));
    const file = path.join(folder, 'x.safetensors');
    await fw.saveSafetensors(file, { x: z(2) });
    refused('loadSafetensors', 'dtpye', 'dtype', await later(() => fw.loadSafetensors(file, { dtpye: 1 } as never)));
    expectError(
      'INVALID_ARGUMENT',
      /metadata must be an object/,
      await later(() => fw.saveSafetensors(file, {}, 'x' as never)),
    );
    rmSync(folder, { recursive: true });
  });

  it('known names may be undefined, and undefined options are none', () => {
    fw.deltaRule(q, k, v, { beta: undefined, scale: undefined, mode: undefined });
    fw.zeros([1], { dtype: undefined, device: 'js' });
    fw.crossEntropy(logits, ids([0, 1, 2]), undefined);
    fw.deltaRule(q, k, v, Object.assign(Object.create(null) as object, { scale: 2 }));
  });

  it('what is no options object is refused', () => {
    for (const wrong of ['x', 3, true, null, [1], new Map([['scale', 1]]), new Float32Array(2), () => 1] as never[]) {
      for (const call of [
        () => fw.deltaRule(q, k, v, wrong),
        () => fw.zeros([1], wrong),
        () => fw.crossEntropy(logits, ids([0, 1, 2]), wrong),
        () => fw.createModel('deltanet', wrong),
        () => model.forward(ids([[1]]), wrong),
        () => fw.noGrad(() => fw.deltaRule.step(q1, k1, v1, wrong)),
      ]) {
        expectError('INVALID_ARGUMENT', /options must be an object, got /, call);
      }
    }
    expectError('INVALID_ARGUMENT', /deltaRule.step: options must be an object, got undefined/, () =>
      (fw.deltaRule.step as AnyRule)(q1, k1, v1),
    );
  });

  it('flags are true, false or not given', () => {
    for (const wrong of ['false', 0, 'yes', {}] as never[]) {
      for (const [flag, call] of [
        ['outputFinalState', () => fw.deltaRule(q, k, v, { outputFinalState: wrong })],
        ['normalize', () => fw.linearAttention(q, k, v, { normalize: wrong })],
        ['requiresGrad', () => fw.zeros([1], { requiresGrad: wrong })],
        ['interleaved', () => fw.rope(q, { interleaved: wrong })],
        ['history', () => model.createSession({ history: wrong })],
        ['bias', () => new fw.nn.Linear(2, 2, { bias: wrong })],
        ['strict', () => model.loadStateDict({}, { strict: wrong })],
        ['useGate', () => fw.createModel('deltanet', { ...sizes, useGate: wrong })],
      ] as const) {
        const error = expectError('INVALID_ARGUMENT', /must be true or false, got/, call);
        expect(error.argument).to.equal(flag);
      }
    }
  });

  it('the nearest name: letters swapped, left out, doubled or in the wrong case; none where none is near', () => {
    const known = ['beta', 'gate', 'outputFinalState'];
    const nearest = (key: string): string | undefined =>
      expectError('INVALID_ARGUMENT', /unknown option/, () => refuseKey('x', key, known)).expected;
    expect(nearest('baet')).to.equal('beta');
    expect(nearest('bta')).to.equal('beta');
    expect(nearest('OUTPUTFINALSTATE')).to.equal('outputFinalState');
    expect(nearest('outputState')).to.equal('beta | gate | outputFinalState');
    expect(nearest('toString')).to.equal('beta | gate | outputFinalState');
    expectError('INVALID_ARGUMENT', /unknown option toString/, () => fw.zeros([1], { toString: 1 } as never));
  });
});
