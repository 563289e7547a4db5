// Inspections of whole models: what is found in which family, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { inputsOf, inspectFastWeights, type MemoryInputs } from '../../lib/inspect';
import { headsOf } from '../../lib/inspect/memory';
import { modelFamilies } from '../../lib/models';
import { expectRejection } from '../support/errors';
import { expectClose } from '../support/tolerance';

const sizes = { vocabSize: 11, hiddenSize: 8, numLayers: 2, numHeads: 2, device: 'js', dtype: 'float64' } as const;
const ids = [1, 5, 2, 5, 3, 9, 1];
/** The matrices of families that keep others than one S. */
const MATRICES: Record<string, string[]> = {
  srwm: ['W_y', 'W_q', 'W_k', 'w_b'],
  'recurrent-delta': ['W'],
  'delta-rnn': ['W', 'R'],
  abc: ['H', 'Hv'],
  gsa: ['H', 'Hv'],
  raven: ['H', 'Hv'],
  cyfa: ['H', 'Hv'],
  'mesa-net': ['Hkk', 'Hkv'],
  'delta-lstm': ['W_i', 'R_i', 'W_u', 'R_u', 'W_o', 'R_o'],
  hgrn: [],
  rwkv4: [],
  'fast-weight-memory': [],
  xlstm: ['C'],
  'ttt-linear': [],
  titans: [],
  lact: [],
  'path-attention': [],
  deltaformer: [],
  'forgetting-transformer': [],
  mla: [],
  transformer: [],
  'transformer-fla': [],
  lstm: [],
  rnn: [],
  elstm: [],
  mamba: ['h'],
  samba: ['h'],
  'log-linear-mamba2': [],
};
/** Steps per token of families that write several times. */
const STEPS: Record<string, number> = { 'gated-deltaproduct': 2 };
/** Of families whose heads are others than the model's: those of channels. */
const HEADS: Record<string, number> = { mamba: 16, samba: 16, rodimus: 1 };
/** Why some are refused. */
const REASONS: Record<string, RegExp> = {
  'fast-weight-memory': /third order/,
  'log-linear-mamba2': /weighs the states of its levels/,
  rwkv4: /two sums for each channel/,
  'ttt-linear': /differently for each token of a mini-batch/,
  titans: /momentum writes again/,
  lact: /three matrices/,
};
/** Layers with matrices, of families where some have none. */
const LAYERS: Record<string, number[]> = {
  samba: [1],
  yoco: [1],
  bamba: [1],
  'qwen3-next': [1],
  'qwen3.5': [1],
  'qwen3.5-moe': [1],
  'olmo-hybrid': [1],
  minimax: [2],
  'kimi-linear': [1],
};

describe('fast weights of models, inspected', () => {
  for (const { name } of modelFamilies) {
    const matrices = MATRICES[name] ?? ['S'];
    it(`${name}: ${matrices.join(', ') || 'refused'}`, async () => {
      using model = fw.createModel(name, sizes);
      if (matrices.length === 0) {
        const error = await expectRejection('UNSUPPORTED', /keeps no matrix/, inspectFastWeights(model, ids));
        expect(error.argument).to.equal('model');
        expect(error.message).to.match(REASONS[name] ?? /(it keeps the keys|its state is a vector)/);
        for (const family of modelFamilies) {
          const listed = error.expected!.split(', ').includes(family.name);
          expect(listed, family.name).to.equal((MATRICES[family.name] ?? ['S']).length > 0);
        }
        return;
      }
      model.train();
      const { memories, omitted, tokens } = await inspectFastWeights(model, ids);
      expect([omitted, tokens, model.training]).to.eql([0, ids.length, true]);
      const expected = (LAYERS[name] ?? [1, 2]).flatMap((layer) =>
        matrices.flatMap((matrix) => Array.from({ length: HEADS[name] ?? 2 }, (_, i) => `${layer} ${matrix} ${i + 1}`)),
      );
      expect(memories.map(({ layer, matrix, head }) => `${layer} ${matrix} ${head}`)).to.eql(expected);
      for (const { course } of memories) {
        course.dual.forEach(({ output }, t) => {
          output.forEach((x, j) => expect(x).to.be.closeTo(course.outputs[t][j], 1e-9));
        });
        for (const x of course.strength ?? []) expect(x).to.be.within(0, 2);
        for (const x of course.forgets ?? []) expect(x).to.be.within(0, 1);
        expect(course.norm).to.have.lengthOf((STEPS[name] ?? 1) * ids.length + 1);
        for (const { value } of course.rank) expect(value).to.be.within(0, 8);
      }
    });
  }

  it('the states of a model are those of its session', async () => {
    using model = fw.createModel('gated-deltanet', sizes);
    const { memories } = await inspectFastWeights(model, ids, { layer: 2, head: 1 });
    const input = fw.tensor([ids], { dtype: 'int32', device: 'js' });
    const { state } = fw.noGrad(() => model.forward(input, { outputState: true }));
    const memory = (state as { memory: fw.Tensor }[])[1].memory.slice(1, 0, 1);
    expect(memories[0].course.norm.at(-1)).to.be.closeTo(memory.norm().item(), 1e-9);
  });

  for (const { name } of modelFamilies) {
    if (MATRICES[name]?.length === 0) continue;
    it(`${name}: a long text is read in slices, and its end behind a state, as if at once`, async () => {
      using model = fw.createModel(name, sizes);
      const long = Array.from({ length: 37 }, (_, i) => (i * i + 3 * i) % 11);
      const calls: MemoryInputs[] = [];
      const input = fw.tensor([long], { dtype: 'int32', device: 'js' });
      fw.observeMemories(
        (call) => {
          for (let h = 0; h < headsOf(call); h++) calls.push(inputsOf(call, h));
        },
        () => void fw.noGrad(() => model.forward(input)),
      );
      const { memories } = await inspectFastWeights(model, long);
      expect(memories).to.have.lengthOf(calls.length);
      using session = model.createSession();
      session.feed(long.slice(0, 20)).dispose();
      using snapshot = session.snapshot();
      const behind = await inspectFastWeights(model, long.slice(20), { initialState: snapshot.state });
      memories.forEach(({ inputs, course, writesPerToken }, i) => {
        for (const part of ['q', 'k', 'v', 'gate', 'beta'] as const) {
          if (calls[i][part]) expectClose(part, inputs[part]!.data, calls[i][part].data, 1e-9);
          else expect(inputs[part]).to.equal(calls[i][part]);
        }
        expectClose('norm behind', behind.memories[i].course.norm, course.norm.slice(20 * writesPerToken), 1e-9);
      });
    });
  }

  it('has all places, whichever are chosen', async () => {
    using model = fw.createModel('gsa', sizes);
    const { places, memories } = await inspectFastWeights(model, ids, { layer: 2, head: 1, matrix: 'Hv' });
    const [keyDim, valueDim] = [memories[0].inputs.keyDim, memories[0].inputs.valueDim];
    expect(memories.map(({ layer, head, matrix }) => `${layer} ${head} ${matrix}`)).to.eql(['2 1 Hv']);
    expect(places.map(({ layer, matrix, heads }) => `${layer} ${matrix} ${heads}`)).to.eql([
      '1 H 2',
      '1 Hv 2',
      '2 H 2',
      '2 Hv 2',
    ]);
    expect(places[3]).to.deep.include({ rule: memories[0].rule, keyDim, valueDim });
  });

  it('frees what it made, aborted or not, and leaves the state that it began with', async () => {
    using model = fw.createModel('gated-deltanet', sizes);
    const long = Array.from({ length: 60 }, (_, i) => i % 11);
    using session = model.createSession();
    session.feed([1, 2, 3]).dispose();
    using snapshot = session.snapshot();
    const initialState = snapshot.state;
    const bytes = (): number => fw.memory().devices.find(({ device }) => device === 'js')!.bytes;
    const before = bytes();
    const once = await inspectFastWeights(model, long, { initialState, survey: true });
    expect(bytes()).to.equal(before);
    const controller = new AbortController();
    const broken = inspectFastWeights(model, long, { initialState, signal: controller.signal });
    controller.abort();
    await expectRejection('ABORTED', /inspectFastWeights: aborted/, broken);
    expect(bytes()).to.equal(before);
    const again = await inspectFastWeights(model, long, { initialState });
    expect(again.memories[0].course.norm).to.eql(once.memories[0].course.norm);
  });

  it('tells how many tokens each head holds, whichever is chosen; not of channels', async () => {
    using model = fw.createModel('gated-deltaproduct', sizes);
    const all = await inspectFastWeights(model, ids);
    expect(all.places.map(({ holds }) => holds)).to.eql([undefined, undefined]);
    const { places, memories } = await inspectFastWeights(model, ids, { layer: 2, head: 1, survey: true });
    expect(memories).to.have.lengthOf(1);
    const sums = all.memories.map(({ course, writesPerToken }) =>
      course.fates.reduce((sum, { kept }) => sum + Math.max(0, Math.min(1, kept.at(-1)!)) / writesPerToken, 0),
    );
    expectClose(
      'holds',
      places.flatMap(({ holds }) => [...holds!]),
      sums,
      1e-9,
    );
    using wide = fw.createModel('mamba', { ...sizes, hiddenSize: 40 });
    const channels = await inspectFastWeights(wide, ids, { layer: 1, head: 1, survey: true });
    expect(channels.places.map(({ heads, holds }) => [heads, holds])).to.eql([
      [80, null],
      [80, null],
    ]);
    const options = { survey: 1 } as never;
    await expectRejection('INVALID_ARGUMENT', /survey must be true or false/, inspectFastWeights(model, ids, options));
  });

  it('leaves out heads, then layers, beyond the limit, and says how many', async () => {
    using model = fw.createModel('deltanet', sizes);
    const all = await inspectFastWeights(model, ids);
    const numbers = ids.length * (5 * 4 + 1.5 * ids.length);
    const some = await inspectFastWeights(model, ids, { limit: (3.5 * numbers) | 0 });
    expect(all.memories).to.have.lengthOf(4);
    expect(some.memories.map(({ layer, head }) => [layer, head])).to.eql([
      [1, 1],
      [1, 2],
      [2, 1],
    ]);
    expect(some.omitted).to.equal(1);
    expect((await inspectFastWeights(model, ids, { limit: 0 })).memories).to.have.lengthOf(1);
  });

  it('a channel of Mamba is a column of its state; packed sequences are not told of', async () => {
    using model = fw.createModel('mamba', sizes);
    const { memories, omitted } = await inspectFastWeights(model, ids, { layer: 2, limit: 500 });
    expect(omitted + memories.length).to.equal(16);
    const input = fw.tensor([ids], { dtype: 'int32', device: 'js' });
    const { state } = fw.noGrad(() => model.forward(input, { outputState: true }));
    const last = (state as fw.models.MambaState[])[1].memory;
    for (const { head, course } of memories) {
      const channel = last.slice(1, head - 1, head);
      expect(course.norm.at(-1)).to.be.closeTo(channel.norm().item(), 1e-9);
    }
    const alone = await inspectFastWeights(model, ids, { layer: 2, head: 15 });
    expect(alone.memories[0].course.norm.at(-1)).to.be.closeTo(last.slice(1, 14, 15).norm().item(), 1e-9);
    let told = 0;
    fw.observeMemories(
      () => told++,
      () => void fw.noGrad(() => model.forward(input, { cuSeqlens: [0, 3, ids.length] })),
    );
    expect(told).to.equal(0);
  });

  it('refuses layers and heads that there are not, no tokens, unknown options', async () => {
    using model = fw.createModel('deltanet', sizes);
    const refused = async (options: object, argument: string, given: number[] = ids): Promise<void> => {
      const { argument: named } = await expectRejection(
        'INVALID_ARGUMENT',
        /./,
        inspectFastWeights(model, given, options),
      );
      expect(named).to.equal(argument);
    };
    await refused({ layer: 3 }, 'layer');
    await refused({ layer: 0 }, 'layer');
    await refused({ head: 3 }, 'head');
    await refused({ heads: 1 }, 'heads');
    await refused({}, 'ids', []);
    await refused({ limit: -1 }, 'limit');
    await refused({ matrix: 'W' }, 'matrix');
    await refused({ matrix: 1 }, 'matrix');
    await refused({ signal: {} }, 'signal');
    await expectRejection(
      'SHAPE',
      /initialState must be a state of 2 layers/,
      inspectFastWeights(model, ids, { initialState: [null] }),
    );
  });
});
