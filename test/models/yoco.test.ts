// What YOCO computes above and below, written out; what its states hold; its configurations and new weights.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

const EXACT = { device: 'js', dtype: 'float64' } as const;
const [T, D] = [6, 16];
const SIZES = { vocabSize: 11, hiddenSize: D, numHiddenLayers: 4, numSelfDecoderLayers: 2, intermediateSize: 8 };
const LOWER = { numHeads: 2, headDim: 4 };
const UPPER = { numHeads: 4, numKvHeads: 2, qkvBias: true, qkNorm: true, ropeTheta: 50, ropeInvFreq: 'yoco' } as const;

const make = (given: object = {}): fw.models.YOCOForCausalLM =>
  new fw.models.YOCOForCausalLM({ ...SIZES, selfDecoderAttn: LOWER, crossDecoderAttn: UPPER, ...given }, EXACT);

/** x [1, T, H, D] with neighbouring coordinates turned by their position times these angles. */
const turned = (x: fw.Tensor, frequencies: readonly number[]): fw.Tensor => {
  const [even, odd] = [0, 1].map((i) => x.reshape(1, T, x.shape[2], -1, 2).select(-1, i));
  const positions = fw.arange(0, T, 1, EXACT).reshape(T, 1, 1);
  const angles = positions.mul(fw.tensor([...frequencies], EXACT));
  const [cos, sin] = [angles.cos(), angles.sin()];
  const pairs = [even.mul(cos).sub(odd.mul(sin)), even.mul(sin).add(odd.mul(cos))];
  return fw.stack(pairs, -1).reshape(...x.shape);
};

const normed = (x: fw.Tensor, eps: number): fw.Tensor => x.div(x.square().mean(-1, true).add(eps).sqrt());

describe('YOCO', () => {
  it('attends above to the keys and values of one place', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const model = fw.withSeed(1, () => make());
        fw.withSeed(2, () => {
          for (const [name, t] of model.namedParameters()) if (/norm|bias/.test(name)) fw.nn.init.normal_(t, 1, 0.5);
        });
        const weights = Object.fromEntries(model.namedParameters());
        const linear = (x: fw.Tensor, name: string): fw.Tensor => {
          const y = x.matmul(weights[`model.${name}.weight`].transpose(0, 1));
          const bias = weights[`model.${name}.bias`] as fw.Tensor | undefined;
          return bias ? y.add(bias) : y;
        };
        const norm = (x: fw.Tensor, name: string, eps = 1e-6): fw.Tensor =>
          normed(x, eps).mul(weights[`model.${name}.weight`]);
        const ids = fw.tensor([[3, 1, 4, 1, 5, 9]], { dtype: 'int32', device: 'js' });
        const { self_layers } = model.model as unknown as { self_layers: fw.models.Recurrent[] };
        let x = weights['model.embeddings.weight'].indexSelect(0, ids.reshape(T)).mul(4).unsqueeze(0);
        for (const layer of self_layers) x = layer.forward(x).output;
        const heads = (y: fw.Tensor, n: number): fw.Tensor => y.reshape(1, T, n, 4);
        const memory = norm(x, 'shared_kv_builder.kv_norm');
        // Angles 1 and 1 / base of two pairs.
        const angles = [1, 1 / 50];
        const perQuery = (y: fw.Tensor): fw.Tensor => fw.repeatInterleave(y, 2, 2);
        const keys = perQuery(turned(heads(linear(memory, 'shared_kv_builder.k_proj'), 2), angles));
        const values = perQuery(heads(linear(memory, 'shared_kv_builder.v_proj'), 2));
        const seen = fw.tril(fw.ones([T, T], EXACT)).log();
        for (const i of [0, 1]) {
          const at = `cross_layers.${i}`;
          const query = heads(linear(norm(x, `${at}.attn_norm`), `${at}.attn.q_proj`), 4);
          const q = turned(norm(query, `${at}.attn.q_norm`, 1e-5), angles);
          const scores = fw.einsum('bthd,bshd->bhts', q, keys).div(2).add(seen).softmax(-1);
          const read = fw.einsum('bhts,bshd->bthd', scores, values).reshape(1, T, D);
          x = x.add(linear(read, `${at}.attn.o_proj`));
          const y = norm(x, `${at}.mlp_norm`);
          const hidden = linear(y, `${at}.mlp.gate_proj`)
            .silu()
            .mul(linear(y, `${at}.mlp.up_proj`));
          x = x.add(linear(hidden, `${at}.mlp.down_proj`));
        }
        const expected = norm(x, 'norm').matmul(model.lm_head.weight.transpose(0, 1));
        expectClose('logits', model.forward(ids).logits.dataSync(), expected.dataSync(), 1e-9);
        const state = model.initialState(3) as { keys: fw.Tensor; memory: fw.Tensor }[];
        expect(state.map((each) => (each.memory ?? each.keys).shape)).to.deep.equal([
          [3, 2, 4, 8],
          [3, 2, 4, 8],
          [3, 0, 2, 4],
        ]);
      }),
    ));

  it('forgets below by learned gates, where it is gated retention', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const frequencies = [1, 0.5, 0.1, 0.01];
        const shape = { hiddenSize: D, numHeads: 2, frequencies, gateNormalizer: 3, normEps: 0.01 };
        const layer = fw.withSeed(1, () => new fw.models.GatedRetention(shape, EXACT));
        const x = fw.withSeed(2, () => fw.randn([1, T, D], EXACT));
        const heads = (proj: fw.nn.Linear): fw.Tensor => proj.forward(x).reshape(1, T, 2, 8);
        const [q, k] = [layer.q_proj, layer.k_proj].map((proj) => turned(heads(proj), frequencies));
        const sums = layer.gk_proj.forward(x).sigmoid().log().div(3).cumsum(1).transpose(1, 2);
        const left = sums.unsqueeze(3).sub(sums.unsqueeze(2));
        const weights = fw.tril(fw.einsum('bthd,bshd->bhts', q, k).mul(left.exp())).div(Math.sqrt(8));
        const read = fw.einsum('bhts,bshd->bthd', weights, heads(layer.v_proj));
        const gated = normed(read, 0.01).mul(heads(layer.g_proj).silu()).reshape(1, T, D);
        expectClose('output', layer.forward(x).output.dataSync(), layer.o_proj.forward(gated).dataSync(), 1e-9);
      }),
    ));

  it('calls its weights by the halves that they are of, and each once', () => {
    using model = make();
    const names = Object.keys(model.stateDict()).filter((name) => name.startsWith('model.'));
    const parts = names.map((name) => name.split('.')[1]);
    expect([...new Set(parts)]).to.deep.equal([
      'embeddings',
      'self_layers',
      'shared_kv_builder',
      'cross_layers',
      'norm',
    ]);
    const all = model.model.namedModules();
    expect([...all].map(([path]) => path).filter((path) => path.startsWith('layers'))).to.deep.equal([]);
  });

  it('reads its halves, and refuses what they are not made of', () => {
    const sizes = { vocabSize: 3, hiddenSize: 64, intermediateSize: 1 };
    using plain = fw.nn.withBlankWeights(() => new fw.models.YOCOForCausalLM(sizes, { device: 'js' }));
    const { numHiddenLayers, numSelfLayers, lower, cross } = plain.config;
    expect([numHiddenLayers, numSelfLayers, cross.numHeads, cross.numKvHeads]).to.deep.equal([21, 10, 32, 32]);
    expect(lower.shape).to.include({ numHeads: 6, numValueHeads: 6, keyDim: 256, valueDim: 512, convSize: 4 });
    const lowerOf = (selfDecoderAttn: object): object => {
      using model = make({ selfDecoderAttn });
      return model.config.lower;
    };
    expect(lowerOf({ type: 'gated_retention', numHeads: 2 })).to.deep.include({ type: 'gated_retention' });
    const angles = (given: object): readonly number[] =>
      (lowerOf({ type: 'gated_retention', numHeads: 2, ...given }) as { shape: fw.models.GatedRetentionShape }).shape
        .frequencies;
    expect(angles({ ropeTheta: 16 })).to.deep.equal([1, 1 / 2, 1 / 4, 1 / 8]);
    expect(angles({ ropeTheta: 8, ropeInvFreq: 'yoco' }).map((x) => 1 / x)).to.deep.equal([1, 2, 4, 8]);
    expect(angles({ numHeads: 8, ropeInvFreq: 'yoco' })).to.deep.equal([1]);
    const refused: [given: object, message: RegExp][] = [
      [{ numSelfDecoderLayers: 5 }, /num_self_decoder_layers must be a whole number from 1 to 4, got 5/],
      [{ selfDecoderAttn: { type: 'swa', numHeads: 2 } }, /window_size must be a whole number/],
      [{ selfDecoderAttn: { type: 'mamba' } }, /type must be/],
      [{ selfDecoderAttn: { numHeads: 2, numVHeads: 3 } }, /num_heads must be a divisor of 3/],
      [{ selfDecoderAttn: { type: 'swa', numHeads: 4, numVHeads: 3, windowSize: 2 } }, /num_v_heads must be a divisor/],
      [{ selfDecoderAttn: { type: 'gated_retention', numHeads: 16 } }, /num_heads must be heads of an even width/],
      [{ selfDecoderAttn: { window: 3 } }, /unknown option window/],
      [{ crossDecoderAttn: { numHeads: 3 } }, /num_heads must be a divisor of 16/],
      [{ crossDecoderAttn: { numHeads: 4, numKvHeads: 3 } }, /num_kv_heads must be a divisor of 4/],
      [{ crossDecoderAttn: { numHeads: 4, ropeInvFreq: 'llama' } }, /rope_inv_freq must be/],
    ];
    for (const [given, message] of refused) expectError('INVALID_ARGUMENT', message, () => make(given));
    expectError('UNSUPPORTED', /attn .* is not supported/, () => make({ attn: { layers: [0], numHeads: 2 } }));
  });

  it('draws its weights as published', () => {
    using model = new fw.models.YOCOForCausalLM(
      {
        ...SIZES,
        hiddenSize: 64,
        selfDecoderAttn: { type: 'gated_retention', numHeads: 2 },
        crossDecoderAttn: { numHeads: 2 },
      },
      { device: 'js' },
    );
    const weights = Object.fromEntries(model.namedParameters());
    const largest = (name: string): number => Math.max(...weights[`model.${name}.weight`].dataSync().map(Math.abs));
    const bounds: Record<string, number> = {
      'self_layers.1.mlp.gate_proj': 1 / 8,
      'self_layers.1.mlp.down_proj': 8 ** -0.5,
      'self_layers.0.attn.g_proj': 2 ** -2.5 * (6 / 128) ** 0.5,
      'self_layers.0.attn.gk_proj': 2 ** -2.5 * (6 / 66) ** 0.5,
      'self_layers.0.attn.o_proj': 0.5 * (6 / 128) ** 0.5,
      'shared_kv_builder.k_proj': 1 / 8,
      'cross_layers.1.attn.o_proj': 1 / 8,
      'cross_layers.1.mlp.up_proj': 1 / 8,
    };
    for (const [name, bound] of Object.entries(bounds)) expect(largest(name) / bound, name).to.be.within(0.93, 1.00001);
    const deviation = (t: fw.Tensor): number => t.square().mean().sqrt().item();
    expect(deviation(weights['model.embeddings.weight'])).to.be.closeTo(1 / 8, 0.015);
    expect(deviation(model.lm_head.weight)).to.be.closeTo(0.02, 0.003);
  });
});
