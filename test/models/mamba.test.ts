// Mamba and its descendants: which layout a folder has, what configurations are refused, how new weights are drawn.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const SIZES = { vocabSize: 11, hiddenSize: 16, numLayers: 2, numHeads: 2, intermediateSize: 16, device: 'js' } as const;
const { models } = fw;
type Named = (name: string) => fw.Tensor;

const made = (name: fw.ModelName, extra: object = {}): fw.models.CausalLM =>
  fw.withSeed(3, () => fw.createModel(name, { ...SIZES, ...extra }));
const parametersOf = (model: fw.models.CausalLM): Named => {
  const found = new Map(model.namedParameters());
  return (name) => found.get(name)!;
};
const values = (t: fw.Tensor): number[] => Array.from(t.dataSync());

describe('the layouts of Mamba-2', () => {
  const small = { model_type: 'mamba2', vocab_size: 11, hidden_size: 16, num_hidden_layers: 1, head_dim: 16 };
  const classOf = (config: object): unknown =>
    fw.AutoModelForCausalLM.fromConfig({ ...small, ...config } as never, { device: 'js' }).constructor;

  it('are told apart by their keys', () => {
    expect(classOf({ num_heads: 2, n_groups: 1 })).to.equal(models.Mamba2ForCausalLM);
    expect(classOf({ num_heads: 2, n_groups: 1, layer_norm_epsilon: 1e-5 })).to.equal(models.Mamba2ForCausalLM);
    for (const key of [{ norm_eps: 1e-5 }, { dt_limit: [0, 1] }, { rmsnorm: false }, { fuse_norm: true }]) {
      expect(classOf(key), Object.keys(key)[0]).to.equal(models.Mamba2FlaForCausalLM);
    }
    expect(classOf({ model_type: 'mamba2-fla' })).to.equal(models.Mamba2FlaForCausalLM);
  });

  it('take both spellings of keys that begin with a capital', () => {
    const rates = (extra: object): unknown =>
      (made('mamba2-fla', extra).config as fw.models.Mamba2FlaConfiguration).mixer.newRates;
    expect(rates({})).to.eql([1, 16]);
    expect(rates({ AInitRange: [2, 3] })).to.eql([2, 3]);
    expect(rates({ A_init_range: [2, 3] })).to.eql([2, 3]);
    expectError('INVALID_ARGUMENT', /given in one spelling/, () =>
      made('mamba2-fla', { DHasHdim: true, D_has_hdim: true }),
    );
  });
});

describe('configurations of Mamba and its descendants', () => {
  const cases: [code: fw.ErrorCode, family: fw.ModelName, argument: string, extra: object][] = [
    ['INVALID_ARGUMENT', 'mamba2', 'head_dim', { headDim: 8 }],
    ['INVALID_ARGUMENT', 'mamba2', 'n_groups', { nGroups: 3 }],
    ['INVALID_ARGUMENT', 'mamba2', 'time_step_limit', { timeStepLimit: [0.2, 0.1] }],
    ['INVALID_ARGUMENT', 'mamba2', 'time_step_limit', { timeStepLimit: 0.1 }],
    ['INVALID_ARGUMENT', 'mamba2', 'time_step_min', { timeStepMin: 0 }],
    ['UNSUPPORTED', 'mamba2', 'hidden_act', { hiddenAct: 'gelu' }],
    ['INVALID_ARGUMENT', 'mamba2-fla', 'num_heads', { numHeads: 2, headDim: 8 }],
    ['INVALID_ARGUMENT', 'mamba2-fla', 'dt_limit', { dtLimit: [NaN, 1] }],
    ['INVALID_ARGUMENT', 'mamba2-fla', 'head_dim', { headDim: 7 }],
    ['INVALID_ARGUMENT', 'log-linear-mamba2', 'A_init_range', { AInitRange: [16, 1] }],
    ['INVALID_ARGUMENT', 'mamba3', 'mimo_rank', { isMimo: true, mimoRank: 0 }],
    ['INVALID_ARGUMENT', 'mamba3', 'stateSize', { isMimo: true, stateSize: 7 }],
    ['UNSUPPORTED', 'mamba3', 'rope_fraction', { ropeFraction: 0.25 }],
    ['INVALID_ARGUMENT', 'mamba3', 'n_groups', { nGroups: 3 }],
    ['INVALID_ARGUMENT', 'mamba', 'expand', { expand: 1.5 }],
    ['INVALID_ARGUMENT', 'mamba', 'time_step_rank', { timeStepRank: 'many' }],
    ['INVALID_ARGUMENT', 'mamba', 'time_step_init_scheme', { timeStepInitScheme: 'zero' }],
    ['INVALID_ARGUMENT', 'bamba', 'mamba_d_head', { mambaDHead: 8 }],
    ['INVALID_ARGUMENT', 'bamba', 'mamba_n_heads', { mambaNHeads: 3 }],
    ['INVALID_ARGUMENT', 'bamba', 'attn_layer_indices', { attnLayerIndices: [0.5] }],
    ['UNSUPPORTED', 'bamba', 'z_loss_coefficient', { zLossCoefficient: 0.1 }],
    ['INVALID_ARGUMENT', 'falcon-h1', 'ssm_multipliers', { ssmMultipliers: [1, 1, 1, 1] }],
    ['INVALID_ARGUMENT', 'falcon-h1', 'mlp_multipliers', { mlpMultipliers: 'auto' }],
    ['INVALID_ARGUMENT', 'falcon-h1', 'key_multiplier', { keyMultiplier: Infinity }],
  ];
  for (const [code, family, argument, extra] of cases) {
    it(`${family}: ${JSON.stringify(extra)}`, () => {
      expect(expectError(code, /./, () => made(family, extra)).argument).to.equal(argument);
    });
  }

  it('mamba: a width inside the layers that is not that of the expansion', () => {
    const config = { vocabSize: 11, hiddenSize: 16, numHiddenLayers: 1, intermediateSize: 33 };
    const { argument } = expectError(
      'INVALID_ARGUMENT',
      /must be 32, got 33/,
      () => new models.MambaForCausalLM(config),
    );
    expect(argument).to.equal('intermediate_size');
  });

  it('derive what is left open', () => {
    const bamba = made('bamba', { mambaDHead: 'auto', headDim: 8 }).config as fw.models.BambaConfiguration;
    expect(bamba.mamba.headDim).to.equal(16);
    // Half of a head turns.
    expect(bamba.attention.frequencies).to.have.lengthOf(2);
    expect(made('bamba', { numLayers: 7 }).config).to.deep.include({ attentionLayers: [1, 5] });
    const mamba = made('mamba', { hiddenSize: 40, timeStepRank: 'auto' }).config as fw.models.MambaConfiguration;
    expect(mamba.mixer.timeStepRank).to.equal(3);
    expect(mamba.tieWordEmbeddings).to.equal(true);
  });
});

describe('new weights of Mamba and its descendants', () => {
  const softplus = (x: number): number => Math.log1p(Math.exp(x));

  it('have rates and steps in time as published', () => {
    const rates = (family: fw.ModelName, layer: string): number[] =>
      values(parametersOf(made(family, { numHeads: 8 }))(`${layer}.A_log`)).map(Math.exp);
    const heads = Array.from({ length: 8 }, (_, h) => h + 1);
    for (const [family, layer] of [
      ['mamba2', 'backbone.layers.0.mixer'],
      ['bamba', 'model.layers.0.mamba'],
      ['falcon-h1', 'model.layers.1.mamba'],
    ] as const) {
      rates(family, layer).forEach((rate, h) => expect(rate).to.be.closeTo(heads[h], 1e-5));
    }
    for (const rate of rates('mamba2-fla', 'backbone.layers.0.mixer')) expect(rate).to.be.within(1, 16);
    const steps = (family: fw.ModelName, name: string): number[] =>
      values(parametersOf(made(family))(name)).map(softplus);
    for (const [family, name] of [
      ['mamba2', 'backbone.layers.1.mixer.dt_bias'],
      ['mamba2-fla', 'backbone.layers.1.mixer.dt_bias'],
      ['mamba', 'backbone.layers.1.mixer.dt_proj.bias'],
    ] as const) {
      for (const step of steps(family, name)) expect(step, family).to.be.within(0.00099, 0.101);
    }
    const mamba = parametersOf(made('mamba', { stateSize: 3 }));
    expect(mamba('backbone.layers.0.mixer.A_log').slice(0, 5, 6).exp().tolist()).to.eql([[1, 2, 3].map(Math.fround)]);
    expect(values(parametersOf(made('falcon-h1'))('model.layers.0.mamba.dt_bias'))).to.eql([1, 1]);
  });

  it('of Mamba-3 with several inputs and outputs divide them evenly', () => {
    const named = parametersOf(made('mamba3', { isMimo: true, mimoRank: 5, nGroups: 2 }));
    const layer = (name: string): fw.Tensor => named(`backbone.layers.1.mixer.${name}`);
    for (const [name, value] of [
      ['mimo_x', 1 / 5],
      ['mimo_z', 1],
      ['mimo_o', 1 / 5],
    ] as const) {
      expect(layer(name).shape, name).to.eql([2, 5, 16]);
      expect(new Set(values(layer(name))), name).to.eql(new Set([Math.fround(value)]));
    }
    for (const name of ['B_bias', 'C_bias']) {
      expect(layer(name).shape, name).to.eql([2, 5, 8]);
      expect(new Set(values(layer(name))), name).to.eql(new Set([1]));
    }
    // Gate and values, keys and queries of 5 inputs and 2 groups, three numbers a head, 2 angles.
    expect(layer('in_proj.weight').shape).to.eql([2 * 32 + 2 * 5 * 2 * 8 + 3 * 2 + 2, 16]);
    expect(
      made('mamba3', { mimoRank: 5 })
        .namedParameters()
        .map(([name]) => name)
        .join(),
    ).not.to.include('mimo');
  });

  it('are smaller in deeper models where they are projected onto the residual stream', () => {
    const largest = (family: fw.ModelName, extra: object): number =>
      Math.max(
        ...values(parametersOf(made(family, { numLayers: 4, ...extra }))('backbone.layers.2.mixer.out_proj.weight')),
      );
    const bound = 32 ** -0.5;
    expect(largest('mamba2', {})).to.be.within(0.9 * bound, bound);
    expect(largest('mamba2', { rescalePrenormResidual: true })).to.be.within(0.45 * bound, bound / 2);
    expect(largest('mamba2-fla', {})).to.be.within(0.45 * bound, bound / 2);
    expect(largest('log-linear-mamba2', {})).to.be.within(0.3 * bound, bound / 8 ** 0.5);
    expect(largest('mamba', { rescalePrenormResidual: true })).to.be.within(0.45 * bound, bound / 2);
  });

  it('keep rates and steps in float32 in bfloat16 models', () => {
    const families = ['mamba', 'mamba2', 'mamba2-fla', 'mamba3', 'log-linear-mamba2', 'bamba', 'falcon-h1'] as const;
    for (const family of families) {
      const [wide, narrow] = [made(family), made(family, { dtype: 'bfloat16' })];
      const before = wide.namedParameters().map(([, t]) => values(t));
      wide.to('bfloat16');
      for (const model of [wide, narrow]) {
        for (const [i, [name, t]] of model.namedParameters().entries()) {
          const kept = /\.(A_log|dt_bias)$/.test(name);
          expect(t.dtype, name).to.equal(kept ? 'float32' : 'bfloat16');
          if (kept) expect(values(t)).to.eql(before[i]);
        }
      }
    }
  });
});

describe('log-linear Mamba-2', () => {
  it('says how many levels a longer text needs, and saves its positions', () => {
    const model = made('log-linear-mamba2', { numLayers: 1 });
    const session = model.createSession();
    session.feed([1, 2, 3]).dispose();
    const [{ positions }] = session.snapshot().state as unknown as [{ positions: number[] }];
    expect(positions).to.eql([3]);
    fw.noGrad(() => {
      const [state] = model.initialState(1) as [{ positions: number[] }];
      state.positions = [2 ** 14];
      const token = fw.tensor([1], { dtype: 'int32', device: 'js' });
      expectError('SHAPE', /at least 16\] \(levels of 16385 tokens\), got \[..., 15\]/, () =>
        model.step(token, [state] as never),
      );
    });
    session.dispose();
  });
});
