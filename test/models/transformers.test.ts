// Settings that no golden checkpoint has: what transformers 5.24 computes with them from weights by a formula, and what it reads.
import { expect } from 'chai';
import * as fw from '../../lib';
import { PublishedConfiguration } from '../../lib/models/common/configuration';
import { expectError } from '../support/errors';
import { filled, IDS, logitsAfter } from '../support/filled';
import { expectClose } from '../support/tolerance';

const base = { vocab_size: 5, hidden_size: 16, num_hidden_layers: 2 };
const xlstm = {
  model_type: 'xlstm',
  num_heads: 2,
  qk_dim_factor: 1,
  v_dim_factor: 1,
  ffn_proj_factor: 1,
  ffn_round_up_to_multiple_of: 8,
  use_bias: true,
};
const kimi = {
  model_type: 'kimi_linear',
  intermediate_size: 8,
  num_attention_heads: 2,
  linear_num_heads: 2,
  linear_head_dim: 8,
  kv_lora_rank: 6,
  q_lora_rank: 4,
  qk_nope_head_dim: 4,
  qk_rope_head_dim: 2,
  v_head_dim: 3,
  layer_types: ['full_attention', 'full_attention'],
  mlp_layer_types: ['dense', 'dense'],
};
const falcon = {
  model_type: 'falcon_h1',
  num_hidden_layers: 1,
  intermediate_size: 8,
  num_attention_heads: 2,
  num_key_value_heads: null,
  mamba_d_state: 4,
};

/** Logits after 6 and after 20 of the ids. */
const CASES: [title: string, config: object, theirs: Record<6 | 20, number[]>][] = [
  [
    'xlstm with biases',
    xlstm,
    {
      6: [-0.2809859, -0.4374044, 0.697585, -0.2272247, -0.4812028],
      20: [0.8234404, -0.5650497, -0.2852881, 0.8366835, -0.5119152],
    },
  ],
  [
    'kimi_linear with latent queries',
    kimi,
    {
      6: [-0.4115161, 1.193964, -0.7258979, -0.5024482, 1.204548],
      20: [-1.742906, 0.6484493, 1.125169, -1.720326, 0.5136756],
    },
  ],
  [
    'kimi_linear with latent queries and biases',
    { ...kimi, attention_bias: true },
    {
      6: [-0.09387243, 0.8703821, -0.735285, -0.1699232, 0.8971598],
      20: [0.4281823, -0.3376828, -0.1064934, 0.4391324, -0.3118399],
    },
  ],
  [
    'falcon_h1 without mamba_d_ssm, all heads with keys of their own',
    falcon,
    {
      6: [-0.2230086, -0.4435152, 0.6455173, -0.1714277, -0.4822091],
      20: [-0.2821432, -0.4525983, 0.7133046, -0.2269214, -0.4971311],
    },
  ],
];

describe('settings of published configurations, as transformers computes them', () => {
  for (const [title, config, theirs] of CASES) {
    const make = (where: fw.TensorOptions): fw.models.CausalLM =>
      filled(fw.AutoModelForCausalLM.fromConfig({ ...base, ...config } as fw.models.ConfigurationInput, where)).eval();

    it(`${title}: the same logits`, () => {
      const model = make({ device: 'js', dtype: 'float64' });
      for (const tokens of [6, 20] as const) expectClose(`${tokens}`, logitsAfter(model, tokens), theirs[tokens], 2e-5);
    });

    it(`${title}: one token at a time as at once`, async () => {
      const model = make({ device: 'js', dtype: 'float64' });
      using session = model.createSession();
      let logits = session.feed(IDS.slice(0, 3));
      for (const id of IDS.slice(3, 20)) logits = session.feed([id]);
      expectClose('logits', Array.from(await logits.data()), logitsAfter(model, 20), 1e-10);
    });
  }

  it('turns half of a head in Bamba whatever stands at top level, unless the rotary settings say otherwise', () => {
    const pairs = (more: object): number => {
      const json = {
        ...base,
        model_type: 'bamba',
        num_attention_heads: 2,
        num_key_value_heads: 1,
        mamba_n_heads: 4,
        ...more,
      };
      using model = new fw.models.BambaForCausalLM(new PublishedConfiguration(json), { device: 'js' });
      return model.config.attention.frequencies.length;
    };
    expect(pairs({})).to.equal(2);
    expect(pairs({ partial_rotary_factor: 1 })).to.equal(2);
    expect(pairs({ rope_parameters: { rope_theta: 100, partial_rotary_factor: 1 } })).to.equal(4);
  });

  it('takes the keys of experts under both names that transformers takes in files, its own first', () => {
    const names = {
      n_group: ['num_expert_group', 2],
      num_local_experts: ['num_experts', 4],
      num_experts_per_tok: ['num_experts_per_token', 2],
      n_shared_experts: ['num_shared_experts', 2],
      norm_topk_prob: ['moe_renormalize', false],
    } as const;
    const json = { ...base, ...kimi, mlp_layer_types: ['dense', 'sparse'], moe_intermediate_size: 4 };
    const read = (more: object): unknown => {
      using model = new fw.models.KimiLinearForCausalLM(new PublishedConfiguration({ ...json, ...more }), {
        device: 'js',
      });
      return [model.config.routing, model.config.sharedExperts];
    };
    const own: Record<string, unknown> = {};
    for (const [name, value] of Object.values(names)) own[name] = value;
    const others = Object.fromEntries(Object.entries(names).map(([other, [, value]]) => [other, value]));
    expect(read(others)).to.deep.equal(read(own));
    expect(read({ ...own, n_shared_experts: 1 })).to.deep.equal(read(own));
    expect(read(others)).to.not.deep.equal(read({ num_experts: 4, num_experts_per_token: 2 }));
    const minimax = {
      ...base,
      model_type: 'minimax',
      intermediate_size: 4,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      num_experts_per_tok: 2,
    };
    using model = new fw.models.MiniMaxForCausalLM(new PublishedConfiguration({ ...minimax, num_experts: 3 }), {
      device: 'js',
    });
    expect(model.config.routing.numExperts).to.equal(3);
  });

  it('refuses a file of log-linear Mamba-2 with attention over its blocks', () => {
    const json = {
      model_type: 'log_linear_mamba2',
      vocab_size: 5,
      hidden_size: 16,
      num_hidden_layers: 1,
      head_dim: 8,
      state_size: 4,
    };
    const make = (more: object): fw.models.CausalLM =>
      new fw.models.LogLinearMamba2ForCausalLM(new PublishedConfiguration({ ...json, ...more }), { device: 'js' });
    make({ attnres_block_size: null }).dispose();
    expectError('UNSUPPORTED', /attnres_block_size 2/, () => make({ attnres_block_size: 2 }));
  });

  it('gives Falcon-H1 the width inside Mamba-2 that its configuration leaves out, or derives it', () => {
    const width = (more: object): number => {
      using model = fw.AutoModelForCausalLM.fromConfig(
        { ...base, ...falcon, ...more } as fw.models.ConfigurationInput,
        { device: 'js' },
      ) as fw.models.FalconH1ForCausalLM;
      const { numHeads, headDim } = model.config.mamba;
      return numHeads * headDim;
    };
    expect(width({})).to.equal(1024);
    expect(width({ mamba_d_ssm: null, mamba_n_heads: 4 })).to.equal(32);
    expect(width({ mamba_d_ssm: 48, mamba_n_heads: 4 })).to.equal(48);
  });
});
