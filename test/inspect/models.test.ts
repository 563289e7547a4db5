// Inspections of whole models: what is found in which family, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { inspectFastWeights } from '../../lib/inspect';
import { modelFamilies } from '../../lib/models';
import { expectRejection } from '../support/errors';

const sizes = { vocabSize: 11, hiddenSize: 8, numLayers: 2, numHeads: 2, device: 'js', dtype: 'float64' } as const;
const ids = [1, 5, 2, 5, 3, 9, 1];
/** The matrices of families that keep others than one S. */
const MATRICES: Record<string, string[]> = {
  srwm: ['W_y', 'W_q', 'W_k', 'w_b'],
  'recurrent-delta': ['W'],
  'delta-rnn': ['W', 'R'],
  gsa: ['H', 'Hv'],
  'mesa-net': ['Hkk', 'Hkv'],
  'delta-lstm': ['W_i', 'R_i', 'W_u', 'R_u', 'W_o', 'R_o'],
  rwkv4: [],
  'fast-weight-memory': [],
  xlstm: ['C'],
  'ttt-linear': [],
  titans: [],
  lact: [],
  transformer: [],
  lstm: [],
  rnn: [],
  elstm: [],
  mamba: ['h'],
  'log-linear-mamba2': [],
};
/** Steps per token of families that write several times. */
const STEPS: Record<string, number> = { 'gated-deltaproduct': 2 };
/** Of families whose heads are others than the model's: those of channels. */
const HEADS: Record<string, number> = { mamba: 16 };
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

  it('leaves out heads, then layers, beyond the limit, and says how many', async () => {
    using model = fw.createModel('deltanet', sizes);
    const all = await inspectFastWeights(model, ids);
    const numbers = ids.length * (5 * 4 + ids.length / 2);
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
  });
});
