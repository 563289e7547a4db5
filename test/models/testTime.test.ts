// TTT and Titans models at settings that the tests of all families do not have.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

const where = { device: 'js', dtype: 'float64' } as const;
const sizes = { vocabSize: 13, hiddenSize: 8, numLayers: 2, numHeads: 2, intermediateSize: 8, initializerRange: 0.3 };

/** Without the sites of allocations, which take longer to record than a small operator does to run. */
const unchecked = (test: () => void) => (): void => fw.withChecks(false, test);

const MODELS: [title: string, make: () => fw.models.CausalLM][] = [
  [
    'two inner layers, a gate, shared queries and keys',
    () =>
      fw.createModel('ttt-linear', {
        ...sizes,
        ...where,
        ...{ tttLayerType: 'mlp', useGate: true, shareQk: true, miniBatchSize: 5, tieWordEmbeddings: false },
      }),
  ],
  ['mini-batches of one token', () => fw.createModel('ttt-linear', { ...sizes, ...where, miniBatchSize: 1 })],
  ['chunks of one token', () => fw.createModel('titans', { ...sizes, ...where, chunkSize: 1 })],
  ['chunks of five tokens', () => fw.createModel('titans', { ...sizes, ...where, chunkSize: 5, baseRate: 5 })],
  [
    'large chunks, here of five tokens',
    () => fw.createModel('lact', { ...sizes, ...where, chunkSize: 5, innerSize: 3, baseRate: 9, muon: false }),
  ],
  [
    'large chunks without momentum, here of one token',
    () => fw.createModel('lact', { ...sizes, ...where, chunkSize: 1, momentum: false, muon: false }),
  ],
];

describe('models that learn at test time', () => {
  for (const [title, make] of MODELS) {
    it(
      `${title}: fed in pieces as all at once`,
      unchecked(() => {
        const model = fw.withSeed(3, make);
        const ids = Array.from({ length: 23 }, (_, i) => (i * i) % 13);
        const whole = fw.noGrad(() => model.forward(fw.tensor([ids], { dtype: 'int32', device: 'js' })).logits);
        const session = model.createSession();
        for (const [from, to] of [
          [0, 3],
          [3, 14],
          [14, 15],
          [15, 16],
          [16, 23],
        ]) {
          const logits = fw.scope(() => session.feed(ids.slice(from, to)).dataSync());
          expectClose(`after ${to}`, logits, whole.slice(1, to - 1, to).dataSync(), 1e-10);
        }
      }),
    );
  }

  it('names weights as the authors of TTT do, and begins where they do', () => {
    const model = fw.createModel('ttt-linear', { ...sizes, ...where });
    const weights = Object.keys(model.stateDict());
    const layer = 'model.layers.1.seq_modeling_block';
    for (const name of ['W1', 'b1', 'q_proj.weight', 'learnable_ttt_lr_weight', 'ttt_norm_bias', 'post_norm.bias']) {
      expect(weights).to.include(`${layer}.${name}`);
    }
    expect(weights).to.include('model.layers.0.ffn_norm.weight').and.not.include('lm_head.weight');
    const { memory } = (model.initialState(2) as fw.models.TestTimeState[])[1];
    const own = model.stateDict()[`${layer}.W1`].dataSync();
    expect([...memory.W1.slice(0, 1).dataSync()]).to.deep.equal([...own]);
  });

  it('refuses by name what it does not compute', () => {
    const make = (more: object) => (): unknown => fw.createModel('ttt-linear', { ...sizes, ...where, ...more });
    expectError('UNSUPPORTED', /pre_conv true is not supported/, make({ preConv: true }));
    expectError('INVALID_ARGUMENT', /ttt_layer_type must be/, make({ tttLayerType: 'deep' }));
    expectError('INVALID_ARGUMENT', /num_attention_heads must be/, make({ numAttentionHeads: 3 }));
    const model = fw.createModel('titans', { ...sizes, ...where });
    const ids = fw.tensor([[1, 2, 3]], { dtype: 'int32', device: 'js' });
    const packed = (): unknown => model.forward(ids, { cuSeqlens: [0, 1, 3], outputState: true });
    expectError('UNSUPPORTED', /no common place in a chunk/, packed);
  });
});
