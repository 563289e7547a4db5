// What the layer of Raven computes, written out slot by slot; its router in training; what its configurations say.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

const EXACT = { device: 'js', dtype: 'float64' } as const;
const [T, D, HEADS, KV_HEADS, SLOTS] = [6, 16, 4, 2, 5];
const SIZES = { vocabSize: 5, hiddenSize: D, numHiddenLayers: 1, numHeads: HEADS, numKvHeads: KV_HEADS };

const configOf = (given: object): fw.models.RavenConfiguration => {
  using model = new fw.models.RavenForCausalLM({ ...SIZES, numSlots: SLOTS, topk: 2, ...given }, EXACT);
  return model.config;
};

/** A layer in evaluation mode; large weights part the scores. */
const layerOf = (given: object): fw.models.RavenAttention => {
  const layer = fw.withSeed(1, () => new fw.models.RavenAttention(configOf(given), EXACT)).eval();
  fw.withSeed(3, () => {
    for (const t of [...layer.r_proj.parameters(), ...(layer.r_bias ? [layer.r_bias] : [])]) fw.nn.init.normal_(t);
    for (const { weight } of [layer.q_norm, layer.k_norm]) fw.nn.init.normal_(weight, 1, 0.5);
  });
  return layer;
};

const VARIANTS: [title: string, given: object][] = [
  ['sigmoid, corrected, a decay of each head', { biasRmm: true, normEps: 0.01 }],
  [
    'softmax of a deep router, a decay of each slot, turned, gated',
    {
      routerScore: 'softmax',
      routerType: 'mlp',
      decayType: 'GLA',
      gateLogitNormalizer: 3,
      useRope: true,
      ropeTheta: 50,
      useOutputGate: true,
      featureMap: 'relu',
    },
  ],
];

describe('Raven', () => {
  for (const [title, given] of VARIANTS) {
    it(`writes the slots that the router chooses: ${title}`, () =>
      fw.noGrad(() =>
        fw.scope(() => {
          const layer = layerOf(given);
          const { scores: kind, normEps, featureMap, rotary, gateNormalizer } = layer.config;
          const x = fw.withSeed(2, () => fw.randn([1, T, D], EXACT));
          const heads = (t: fw.Tensor, n: number): fw.Tensor => t.reshape(1, T, n, -1);
          const normed = (t: fw.Tensor): fw.Tensor => t.div(t.square().mean(-1, true).add(normEps).sqrt());
          const part = (proj: fw.nn.Linear, norm: fw.nn.RMSNorm, n: number): fw.Tensor => {
            const y = heads(proj.forward(x), n);
            const key = normed(featureMap === 'relu' ? y.relu() : y.silu()).mul(norm.weight);
            return rotary === null ? key : fw.rope(key, { base: rotary });
          };
          const logits = heads(layer.r_proj.forward(x), KV_HEADS);
          const scores = kind === 'sigmoid' ? logits.sigmoid() : logits.softmax(-1);
          const ranks = layer.r_bias ? scores.add(layer.r_bias) : scores;
          const second = fw.topk(ranks, 2).values.slice(-1, 1, 2);
          const chosen = scores.mul(ranks.ge(second).to('float64'));
          const shares = kind === 'sigmoid' ? chosen.div(chosen.sum(-1, true)) : chosen;
          const decay = layer.a_proj
            ? layer.a_proj.forward(x).add(layer.dt_bias!).exp().add(1).log().mul(layer.A_log!.exp().neg()).unsqueeze(-1)
            : heads(layer.f_proj!.forward(x), KV_HEADS).sigmoid().log().div(gateNormalizer);
          const left = decay.mul(shares).exp();
          const q = part(layer.q_proj, layer.q_norm, HEADS).reshape(1, T, KV_HEADS, HEADS / KV_HEADS, -1);
          const [k, v] = [part(layer.k_proj, layer.k_norm, KV_HEADS), heads(layer.v_proj.forward(x).silu(), KV_HEADS)];
          let [keys, values] = [fw.zeros([1, KV_HEADS, SLOTS, 4], EXACT), fw.zeros([1, KV_HEADS, SLOTS, 4], EXACT)];
          const reads = Array.from({ length: T }, (_, t) => {
            const [a, kt, vt, qt] = [left, k, v, q].map((y) => y.select(1, t));
            const blend = (slots: fw.Tensor, y: fw.Tensor): fw.Tensor =>
              slots.mul(a.unsqueeze(-1)).add(a.neg().add(1).unsqueeze(-1).mul(y.unsqueeze(2)));
            [keys, values] = [blend(keys, kt), blend(values, vt)];
            const weights = fw.einsum('bhgk,bhmk->bhgm', qt, keys).softmax(-1);
            return fw.einsum('bhgm,bhmv->bhgv', weights, values);
          });
          const read = fw.stack(reads, 1).reshape(1, T, HEADS, 4).silu();
          const last = layer.g_norm
            ? normed(read.reshape(1, T, D))
            : normed(read)
                .mul(heads(layer.o_gate_proj!.forward(x).silu(), HEADS))
                .reshape(1, T, D);
          expectClose('output', layer.forward(x).output.dataSync(), layer.o_proj.forward(last).dataSync(), 1e-8);
        }),
      ));
  }

  it('chooses slots by chance in training, as often as the scores say, and by the scores otherwise', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const layer = layerOf({ topk: 1, routerScore: 'softmax', numHeads: 1, numKvHeads: 1 });
        const texts = 4000;
        const x = fw.withSeed(2, () => fw.randn([1, 1, D], EXACT)).expand([texts, 1, D]);
        const expected = layer.r_proj
          .forward(x.slice(0, 0, 1))
          .softmax(-1)
          .dataSync();
        const shares = (): number[] => {
          const { state } = fw.withSeed(4, () => layer.forward(x, { outputState: true }));
          const written = state!.valueState.abs().sum(-1).gt(0).to('float64').mean([0, 1]).dataSync();
          return [...written];
        };
        const best = expected.indexOf(Math.max(...expected));
        expect(shares()).to.deep.equal(Array.from(expected, (_, m) => Number(m === best)));
        layer.train();
        shares().forEach((share, m) => expect(share, `slot ${m}`).to.be.closeTo(expected[m], 0.04));
      }),
    ));

  it('repeats no step where chance has a part in it', () => {
    for (const addGumbelNoise of [true, false]) {
      using model = new fw.models.RavenForCausalLM({ ...SIZES, addGumbelNoise }, EXACT);
      expect(model.repeatsSteps).to.equal(!addGumbelNoise);
      expect(model.eval().repeatsSteps).to.equal(true);
    }
  });

  it('has as many slots as its configuration says, and the parts that it names', () => {
    const slots = (given: object): number[] => {
      const { numSlots, perToken, keyDim, valueDim } = configOf(given);
      return [numSlots, perToken, keyDim, valueDim];
    };
    expect(slots({ numSlots: undefined, topk: undefined })).to.deep.equal([64, 32, 4, 4]);
    expect(slots({ numSlots: null, topk: undefined })).to.deep.equal([4, 4, 4, 4]);
    expect(slots({ numSlots: null, topk: 1, expandK: 2, expandV: 3 })).to.deep.equal([8, 1, 8, 12]);
    const partsOf = (given: object): string[] => {
      const layer = layerOf(given);
      return Object.keys(layer.stateDict()).filter((name) => !/^([qkvo]_(proj|norm)|g_norm)\.weight$/.test(name));
    };
    expect(partsOf({})).to.have.members(['a_proj.weight', 'A_log', 'dt_bias', 'r_proj.weight']);
    expect(partsOf({ decayType: 'GLA', biasRmm: true, featureMap: 't2r', useOutputGate: true })).to.have.members([
      'f_proj.weight',
      'r_bias',
      'r_proj.weight',
      'feature_map.layer.weight',
      'o_gate_proj.weight',
    ]);
    expect(partsOf({ routerType: 'mlp' })).to.include.members(['r_proj.0.weight', 'r_proj.0.bias', 'r_proj.2.weight']);
    const refused: [given: object, message: RegExp][] = [
      [{ topk: 6 }, /topk must be at most 5 \(num_slots\), got 6/],
      [{ numKvHeads: 3 }, /num_kv_heads must be a divisor of 4/],
      [{ useRope: true, expandK: 0.25 }, /expand_k must be heads of an even width/],
      [{ decayType: 'GSA' }, /decay_type must be/],
      [{ routerType: 'deep' }, /router_type must be/],
      [{ routerScore: 'relu' }, /router_score must be/],
    ];
    for (const [given, message] of refused) expectError('INVALID_ARGUMENT', message, () => configOf(given));
    expectError('UNSUPPORTED', /feature_map/, () => configOf({ featureMap: 'elu' }));
    expectError('UNSUPPORTED', /attnres_block_size 4 is not supported/, () => configOf({ attnresBlockSize: 4 }));
  });
});
