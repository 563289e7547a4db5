// Configurations of flash-linear-attention's later families: keys that never reach its layers, widths that are derived, and
// what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

type Config = Record<string, unknown> & { model_type: string };
type Model = fw.models.CausalLM;

const SIZES = { vocab_size: 11, hidden_size: 16, num_hidden_layers: 2, intermediate_size: 16 };

const make = (config: Config): Model =>
  fw.AutoModelForCausalLM.fromConfig({ ...SIZES, ...config } as never, { device: 'js' });

/** Shapes of the weights of layer 1 and of the model's own, by name. */
const shapesOf = (config: Config): Record<string, number[]> => {
  const model = make(config);
  const shapes = model
    .namedParameters()
    .map(([name, t]) => [name.replace(/^model\.(layers\.1\.attn\.)?/, ''), [...t.shape]]);
  model.dispose();
  return Object.fromEntries(shapes) as Record<string, number[]>;
};

const logitsOf = (config: Config): number[] => {
  fw.manualSeed(3);
  const model = make(config);
  const ids = fw.tensor([[1, 2, 3, 4, 5]], { dtype: 'int32', device: 'js' });
  const logits = fw.noGrad(() => [...model.forward(ids).logits.dataSync()]);
  model.dispose();
  return logits;
};

describe('layouts of flash-linear-attention', () => {
  it('leaves alone what its programs do not give to their layers', () => {
    const cases: [base: Config, ignored: object][] = [
      [
        { model_type: 'comba', num_heads: 2, head_dim: 4 },
        { use_inner_decay: false, use_output_correction: false, correction_factor: 0.02, num_v_heads: 2 },
      ],
      [{ model_type: 'gated_deltaproduct', num_heads: 2, head_dim: 4 }, { num_v_heads: 3 }],
      [
        { model_type: 'hgrn2', expand_ratio: 8 },
        { num_heads: 16, norm_eps: 1e-6 },
      ],
    ];
    for (const [base, ignored] of cases) {
      expect(logitsOf({ ...base, ...ignored }), base.model_type).to.deep.equal(logitsOf(base));
    }
  });

  it('has the sizes of its programs where keys are missing', () => {
    const sizes = { vocab_size: 3, hidden_size: 16, intermediate_size: 1 };
    const layersAndHeads: [config: Config, layers: number, heads: number][] = [
      [{ model_type: 'linear_attn' }, 24, 4],
      [{ model_type: 'retnet' }, 24, 8],
      [{ model_type: 'gla' }, 24, 4],
      [{ model_type: 'gsa' }, 24, 4],
      [{ model_type: 'delta_net' }, 24, 16],
      [{ model_type: 'gated_deltanet', head_dim: 2 }, 21, 6],
      [{ model_type: 'gated_deltaproduct', head_dim: 2 }, 21, 6],
      [{ model_type: 'comba', head_dim: 2 }, 21, 6],
      [{ model_type: 'kda', head_dim: 2 }, 24, 16],
      [{ model_type: 'precond_gated_deltanet', head_dim: 2 }, 21, 6],
      [{ model_type: 'precond_kda', head_dim: 2 }, 24, 16],
      [{ model_type: 'cyclic_flow_attention', head_dim: 2, num_slots: 2 }, 24, 8],
      [{ model_type: 'mesa_net', head_dim: 2 }, 24, 16],
    ];
    for (const [config, layers, heads] of layersAndHeads) {
      using model = fw.AutoModelForCausalLM.fromConfig({ ...sizes, ...config } as never, { device: 'js' });
      const { numHiddenLayers, numHeads } = model.config as fw.models.GatedDeltaNetConfiguration;
      expect([numHiddenLayers, numHeads], config.model_type).to.deep.equal([layers, heads]);
    }
  });

  it('derives heads and widths of LightNet from one another', () => {
    const sizesOf = (given: object): number[] => {
      using model = make({ model_type: 'lightnet', hidden_size: 256, ...given });
      const { numHeads, keyDim } = model.config as fw.models.LightNetConfiguration;
      return [numHeads, keyDim];
    };
    expect(sizesOf({})).to.deep.equal([2, 128]);
    expect(sizesOf({ expand_ratio: 32 })).to.deep.equal([8, 32]);
    expect(sizesOf({ expand_ratio: 24, num_heads: 4 })).to.deep.equal([4, 24]);
    expect(sizesOf({ expand_ratio: null, num_heads: 4 })).to.deep.equal([4, 64]);
    expectError('INVALID_ARGUMENT', /expand_ratio must be a divisor of 256/, () => sizesOf({ expand_ratio: 24 }));
    expectError('INVALID_ARGUMENT', /num_heads must be a divisor of 256/, () => sizesOf({ num_heads: 3 }));
  });

  it('has the parts of PaTH that the configuration names', () => {
    const path = { model_type: 'path_attn', num_heads: 2 };
    const names = (given: object): string[] =>
      Object.keys(shapesOf({ ...path, ...given })).filter((n) => /^(w|g)_/.test(n));
    expect(names({})).to.deep.equal(['w_proj.0.weight', 'w_proj.1.weight', 'w_conv1d.weight']);
    expect(names({ use_low_rank_w: false, use_w_shortconv: false, use_forget_gate: true })).to.deep.equal([
      'w_proj.weight',
      'g_proj.weight',
      'g_proj.bias',
    ]);
    const narrow = shapesOf({ ...path, num_kv_heads: 1 });
    expect(narrow['k_proj.weight']).to.deep.equal([8, 16]);
    expect(narrow['w_proj.0.weight']).to.deep.equal([32, 16]);
    expectError('INVALID_ARGUMENT', /num_kv_heads must be a divisor of 2/, () => make({ ...path, num_kv_heads: 3 }));
  });

  it('has the parts of the Forgetting Transformer that the configuration names', () => {
    const forgetting = { model_type: 'forgetting_transformer', num_heads: 2 };
    const names = (given: object): string[] =>
      Object.keys(shapesOf({ ...forgetting, ...given })).filter((name) => /^(g_proj|[qkv]_.*(norm|bias))/.test(name));
    expect(names({})).to.deep.equal([]);
    expect(names({ qkv_bias: true, qk_norm: true, use_output_gate: true })).to.have.members([
      'q_proj.bias',
      'k_proj.bias',
      'v_proj.bias',
      'g_proj.weight',
      'q_norm.weight',
      'k_norm.weight',
    ]);
    expect(shapesOf({ ...forgetting, num_kv_heads: 1, qk_norm: true })['k_norm.weight']).to.deep.equal([8]);
    expectError('UNSUPPORTED', /window_size 4 is not supported/, () => make({ ...forgetting, window_size: 4 }));
  });

  it('has the parts of DeltaFormer that the configuration names', () => {
    const former = { model_type: 'deltaformer', num_heads: 2 };
    const names = (given: object): string[] =>
      Object.keys(shapesOf({ ...former, ...given })).filter((name) => /^[bqkv]_.*(norm|bias)/.test(name));
    expect(names({})).to.deep.equal(['b_proj.bias']);
    expect(names({ qkv_bias: true, qk_norm: true })).to.have.members([
      'q_proj.bias',
      'k_proj.bias',
      'v_proj.bias',
      'b_proj.bias',
      'q_norm.weight',
      'k_norm.weight',
    ]);
    expect(shapesOf({ ...former, qk_norm: true, num_kv_heads: 2 })['k_norm.weight']).to.deep.equal([8]);
    expect(logitsOf({ ...former, rope_theta: 10000 })).to.deep.equal(logitsOf(former));
    expect(logitsOf({ ...former, rope_theta: 50 })).to.not.deep.equal(logitsOf(former));
    expectError('UNSUPPORTED', /num_kv_heads 1 is not supported/, () => make({ ...former, num_kv_heads: 1 }));
    expectError('UNSUPPORTED', /attn .* is not supported/, () =>
      make({ ...former, attn: { layers: [1], num_heads: 2 } }),
    );
  });

  it('has the parts of latent attention that the configuration names', () => {
    const mla = { model_type: 'mla', num_heads: 2, qk_rope_head_dim: 4, qk_nope_head_dim: 6, qk_head_dim: null };
    const narrow = { ...mla, q_lora_rank: 5, kv_lora_rank: 7, v_head_dim: 3 };
    const own = (given: object): Record<string, number[]> =>
      Object.fromEntries(
        Object.entries(shapesOf({ ...narrow, ...given })).filter(([name]) => /^(q|kv|o)_proj|^k_rope/.test(name)),
      );
    expect(own({})).to.deep.equal({
      'q_proj.0.weight': [5, 16],
      'q_proj.1.weight': [5],
      'q_proj.2.weight': [20, 5],
      'k_rope.weight': [4, 16],
      'kv_proj.0.weight': [7, 16],
      'kv_proj.1.weight': [7],
      'kv_proj.2.weight': [18, 7],
      'o_proj.weight': [16, 6],
    });
    expect(own({ q_lora_rank: null })['q_proj.weight']).to.deep.equal([20, 16]);
    expect(shapesOf(mla)['q_proj.1.weight']).to.deep.equal([64]);
    const plain = logitsOf(narrow);
    const near = logitsOf({ ...narrow, window_size: 2 });
    expect(near.slice(0, 22)).to.deep.equal(plain.slice(0, 22));
    expect(near.slice(22)).to.not.deep.equal(plain.slice(22));
    expect(logitsOf({ ...narrow, rope_theta: 50 })).to.not.deep.equal(plain);
    expect(logitsOf({ ...narrow, qk_head_dim: 10 })).to.deep.equal(plain);
    for (const given of [{ qk_head_dim: 12 }, { qk_head_dim: undefined }]) {
      expectError('INVALID_ARGUMENT', /qk_head_dim must be 10/, () => make({ ...narrow, ...given }));
    }
    expectError('INVALID_ARGUMENT', /qk_rope_head_dim must be an even number/, () =>
      make({ ...narrow, qk_rope_head_dim: 3 }),
    );
    for (const [key, value] of Object.entries({
      rope_scaling: { rope_type: 'yarn', factor: 2 },
      attn: { layers: [0] },
    })) {
      expectError('UNSUPPORTED', new RegExp(`${key} .* is not supported`), () => make({ ...narrow, [key]: value }));
    }
  });

  it('makes every second layer of Samba attention where the configuration names none', () => {
    const layersOf = (given: object): [number, number | null][] => {
      using model = make({
        model_type: 'samba',
        hidden_size: 36,
        intermediate_size: null,
        num_hidden_layers: 5,
        ...given,
      });
      const { attention } = model.config as fw.models.SambaConfiguration;
      return [...attention].map(([layer, { window }]) => [layer, window]);
    };
    const usual = [1, 3].map((layer) => [layer, 2048]);
    expect(layersOf({})).to.deep.equal(usual);
    expect(layersOf({ num_hidden_layers: 20 })).to.have.lengthOf(9);
    expect(layersOf({ attn: null })).to.deep.equal([]);
    expect(layersOf({ attn: { layers: [4], num_heads: 2 } })).to.deep.equal([[4, null]]);
    expectError('INVALID_ARGUMENT', /num_heads must be a divisor of 16, got 18/, () => layersOf({ hidden_size: 16 }));
  });

  it('reads widths and biases of Samba', () => {
    const samba = { model_type: 'samba', intermediate_size: null, attn: { layers: [0], num_heads: 2 } };
    const shapes = (given: object): Record<string, number[]> => {
      using model = make({ ...samba, ...given });
      return Object.fromEntries(model.namedParameters().map(([name, t]) => [name, [...t.shape]]));
    };
    const named = shapes({ expand: 3, hidden_ratio: 48, use_bias: true });
    expect(named['backbone.layers.1.mixer.in_proj.weight']).to.deep.equal([96, 16]);
    expect(named['backbone.layers.1.mlp.gate_proj.weight']).to.deep.equal([512, 16]);
    expect(named).to.include.keys('backbone.layers.1.mixer.in_proj.bias', 'backbone.layers.1.mixer.conv1d.bias');
    expect(shapes({ use_conv_bias: false })).to.deep.equal(shapes({}));
    expect(named['backbone.layers.0.mixer.q_proj.weight']).to.deep.equal([16, 16]);
    const own = { vocabSize: 11, hiddenSize: 24, numLayers: 1, numHeads: 2, device: 'js' } as const;
    for (const [asked, width] of [
      [500, 512],
      [768, 768],
    ]) {
      using model = fw.createModel('samba', { ...own, intermediateSize: asked });
      expect((model.config as fw.models.SambaConfiguration).feedForward).to.equal(width);
    }
    expectError('INVALID_ARGUMENT', /intermediate_size must be 32, got 48/, () => shapes({ intermediate_size: 48 }));
    expectError('UNSUPPORTED', /rescale_prenorm_residual true is not/, () =>
      shapes({ rescale_prenorm_residual: true }),
    );
    expectError('UNSUPPORTED', /attnres_block_size 2 is not/, () => shapes({ attnres_block_size: 2 }));
  });

  it('has the parts of its transformer that the configuration names', () => {
    const softmax = { model_type: 'transformer', num_heads: 2 };
    const names = (given: object): string[] =>
      Object.keys(shapesOf({ ...softmax, ...given })).filter((name) => /^[qkvo]_.*(norm|bias)/.test(name));
    expect(names({})).to.deep.equal([]);
    expect(names({ qkv_bias: true, qk_norm: true })).to.have.members([
      'q_proj.bias',
      'k_proj.bias',
      'v_proj.bias',
      'q_norm.weight',
      'k_norm.weight',
    ]);
    const narrow = shapesOf({ ...softmax, num_kv_heads: 1, qk_norm: true });
    expect([narrow['k_proj.weight'], narrow['k_norm.weight']]).to.deep.equal([[8, 16], [8]]);
    const plain = logitsOf(softmax);
    expect(logitsOf({ ...softmax, window_size: null, rope_theta: null })).to.deep.equal(plain);
    // The first two tokens see all that there is in either case.
    const near = logitsOf({ ...softmax, window_size: 2 });
    expect(near.slice(0, 22)).to.deep.equal(plain.slice(0, 22));
    expect(near.slice(22)).to.not.deep.equal(plain.slice(22));
    expect(logitsOf({ ...softmax, rope_theta: 50 })).to.not.deep.equal(plain);
    expectError('INVALID_ARGUMENT', /num_heads must be a divisor of 16/, () => make({ ...softmax, num_heads: 3 }));
    expectError('UNSUPPORTED', /attn .* is not supported/, () => make({ ...softmax, attn: { layers: [0] } }));
  });

  it("tells its transformer from Llama's configurations by keys and architecture", () => {
    const familyOf = (config: object): string => {
      using model = make({ model_type: 'transformer', ...config });
      return model.config.modelType;
    };
    expect(familyOf({ num_attention_heads: 2 })).to.equal('llama');
    expect(familyOf({ num_heads: 2 })).to.equal('transformer');
    expect(familyOf({ hidden_size: 64, architectures: ['TransformerForCausalLM'] })).to.equal('transformer');
    expect(familyOf({ hidden_size: 64, architectures: ['LlamaForCausalLM'] })).to.equal('llama');
    using named = fw.createModel('transformer', { vocabSize: 11, numLayers: 1, device: 'js' });
    expect(named.config.modelType).to.equal('llama');
  });

  it('has the parts of a mixture of memories that the configuration names', () => {
    const mom = { model_type: 'mom', num_heads: 2, head_dim: 4, num_memories: 3 };
    const names = (given: object): string[] =>
      Object.keys(shapesOf({ ...mom, ...given })).filter((name) => /^(k_proj|shared_k|g_proj|gate)\b/.test(name));
    const each = [0, 1, 2].map((m) => `k_proj.${m}.weight`);
    expect(names({})).to.deep.equal(['gate.weight', ...each, 'shared_k.weight', 'g_proj.weight']);
    expect(names({ shared_mem: false })).to.deep.equal(['gate.weight', ...each, 'g_proj.weight']);
    const single = { single_kv_proj: true, use_output_gate: false };
    expect(names(single)).to.deep.equal(['gate.weight', 'shared_k.weight']);
    expect(names({ ...single, shared_mem: false })).to.deep.equal(['gate.weight', 'shared_k.weight']);
    expect(logitsOf({ ...mom, ...single, shared_mem: false })).to.not.deep.equal(logitsOf({ ...mom, ...single }));
    const wide = shapesOf({ ...mom, expand_v: 1.5, conv_size: 3 });
    expect([wide['v_proj.2.weight'], wide['v_conv1d.weight']]).to.deep.equal([
      [12, 16],
      [12, 1, 3],
    ]);
    const ignored = { capacity: 0.1, use_layer_wise_balance: false, aux_loss_scale: 3 };
    expect(logitsOf({ ...mom, ...ignored })).to.deep.equal(logitsOf(mom));
    expectError('INVALID_ARGUMENT', /topk must be .* from 1 to 3/, () => make({ ...mom, topk: 4 }));
    for (const [key, value] of Object.entries({ use_short_conv: false, mom_backend: 'gla', attn: { layers: [1] } })) {
      expectError('UNSUPPORTED', new RegExp(`${key} .* is not supported`), () => make({ ...mom, [key]: value }));
    }
  });

  it('keeps the curvature of preconditioned layers by heads of keys, in KDA of values', () => {
    const sizes = { num_heads: 2, num_v_heads: 4, head_dim: 4 };
    const curvature = (config: Config): Record<string, number[]> =>
      Object.fromEntries(
        Object.entries(shapesOf(config)).filter(([name]) => /^([ab]_|A_log_atk|dt_bias_atk|log_atk)/.test(name)),
      );
    const heads = { 'b_atk_proj.weight': [2, 16], A_log_atk: [2], dt_bias_atk: [2], log_atk_scale: [2] };
    expect(curvature({ ...sizes, model_type: 'precond_gated_deltanet' })).to.deep.equal({
      ...heads,
      'a_atk_proj.weight': [2, 16],
      'a_proj.weight': [4, 16],
      'b_proj.weight': [4, 16],
    });
    expect(curvature({ ...sizes, model_type: 'precond_kda' })).to.deep.equal({
      'b_atk_proj.weight': [4, 16],
      A_log_atk: [4],
      dt_bias_atk: [4],
      log_atk_scale: [4],
      'a_proj.weight': [4, 16],
      'b_proj.weight': [2, 16],
    });
  });

  it('reads the preconditioner of a delta rule and draws its weights as published', () => {
    for (const [model_type, usual] of [
      ['precond_gated_deltanet', 0],
      ['precond_kda', 1],
    ] as const) {
      const precond = { model_type, num_heads: 64, head_dim: 1, expand_v: 1 };
      for (const given of [{ squash_x: 2 }, { squash_eps: 0.1 }]) {
        expect(logitsOf({ ...precond, ...given }), model_type).to.not.deep.equal(logitsOf(precond));
      }
      const weightsOf = (given: object): Record<string, number[]> => {
        fw.manualSeed(3);
        using model = make({ ...precond, ...given });
        const weights = model.namedParameters().map(([name, t]) => [name.replace(/.*attn\./, ''), [...t.dataSync()]]);
        return Object.fromEntries(weights) as Record<string, number[]>;
      };
      const { log_atk_scale, A_log, A_log_atk } = weightsOf({});
      for (const x of log_atk_scale) expect(x).to.be.closeTo(-0.2, 1e-7);
      for (const x of weightsOf({ log_atk_scale_init: 0.5 }).log_atk_scale) expect(x).to.equal(0.5);
      for (const logs of [A_log, A_log_atk]) expect(Math.exp(Math.min(...logs))).to.be.within(usual, usual + 2);
      const fast = weightsOf({ a_log_init_lower: 12 });
      for (const logs of [fast.A_log, fast.A_log_atk]) {
        expect(Math.exp(Math.min(...logs))).to.be.within(11.99, 14);
        expect(Math.exp(Math.max(...logs))).to.be.within(14, 16.01);
      }
      expectError('INVALID_ARGUMENT', /squash_x must be above 0/, () => make({ ...precond, squash_x: 0 }));
      expectError('INVALID_ARGUMENT', /a_log_init_lower must be/, () => make({ ...precond, a_log_init_lower: 17 }));
    }
  });

  it('has one slot fewer in CyFA than are counted, and reads them as they are at first', () => {
    const cyclic = { model_type: 'cyclic_flow_attention', num_heads: 2, head_dim: 8, num_slots: 6 };
    const shapes = shapesOf({ ...cyclic, expand_k: 0.5, expand_v: 2, conv_bias: true });
    expect(shapes).to.deep.include({
      readout: [2, 5, 5],
      'k_conv1d.weight': [8, 1, 4],
      'k_conv1d.bias': [8],
      'q_norm.weight': [4],
      'o_norm.weight': [16],
      'd_proj.bias': [2],
    });
    expect(shapes).to.not.have.any.keys('table');
    expect(shapesOf({ ...cyclic, use_short_conv: false })).to.not.have.any.keys('k_conv1d.weight');
    using model = make(cyclic);
    const weights = Object.fromEntries(model.namedParameters());
    const [one] = weights['model.layers.1.attn.readout'].tolist() as number[][][];
    expect(one).to.deep.equal(one.map((_, i) => one.map((__, j) => Number(i === j))));
    expectError('INVALID_ARGUMENT', /num_slots must be an even number, got 5/, () => make({ ...cyclic, num_slots: 5 }));
    expectError('INVALID_ARGUMENT', /expand_k must be/, () => make({ ...cyclic, expand_k: 0.01 }));
    expectError('UNSUPPORTED', /attn .* is not supported/, () =>
      make({ ...cyclic, attn: { layers: [1], num_heads: 2 } }),
    );
  });

  it('has the parts of Rodimus that the configuration names', () => {
    const rodimus = { model_type: 'rodimus', block_type: 'rodimus' };
    const plus = { model_type: 'rodimus', ska_attn: { num_heads: 4 } };
    const partsOf = (config: Config): string[] => {
      const names = Object.keys(shapesOf(config)).filter((name) => name.startsWith('layers.1.'));
      return [...new Set(names.map((name) => name.split('.')[2]))];
    };
    expect(partsOf(rodimus)).to.deep.equal(['mixer_norm', 'mixer']);
    const all = ['mixer_norm', 'mixer', 'ska_attn_norm', 'ska_attn', 'mlp_norm', 'mlp'];
    expect(partsOf(plus)).to.deep.equal(all);
    expect(Object.keys(shapesOf({ ...rodimus, attn: { layers: [1], num_heads: 2 } }))).to.include('q_proj.weight');
    const shapes = shapesOf({ ...plus, expand_ratio: 5, input_gate_low_rank: 3, intermediate_size: null });
    const of = (name: string): number[] => shapes[`layers.1.${name}.weight`];
    expect(of('mixer.k_proj')).to.deep.equal([5, 32]);
    expect(of('mixer.i_gate_proj.0')).to.deep.equal([3, 32]);
    expect(of('ska_attn.k_proj')).to.deep.equal([4, 16]);
    expect(of('ska_attn.v_proj')).to.deep.equal([16, 16]);
    // 4/3 of 16, rounded up to a multiple of 8.
    expect(of('mlp.up_proj')).to.deep.equal([24, 16]);
    expect(shapes).to.not.have.property('lm_head.weight');
    expect(Object.keys(shapesOf({ ...rodimus, use_short_conv: false })).join()).to.not.include('short_conv');
    expectError('INVALID_ARGUMENT', /ska_attn must be an object/, () => make({ model_type: 'rodimus' }));
    expectError('INVALID_ARGUMENT', /num_heads must be a divisor of 16/, () =>
      make({ ...plus, ska_attn: { num_heads: 3 } }),
    );
    expectError('INVALID_ARGUMENT', /block_type must be/, () => make({ ...rodimus, block_type: 'plus' }));
    expectError('UNSUPPORTED', /k_norm_eps 0.00001 is not supported/, () => make({ ...rodimus, k_norm_eps: 1e-5 }));
  });

  it('leads the residual of Rodimus+ round attention and feed-forward in one', () => {
    const without = (...names: string[]): number[] => {
      fw.manualSeed(3);
      using model = make({ model_type: 'rodimus', ska_attn: { num_heads: 2 }, initializer_range: 0.3 });
      const weights = Object.fromEntries(model.namedParameters());
      fw.noGrad(() => {
        for (const name of names) weights[`model.layers.0.${name}.weight`].fill_(0);
      });
      return [...model.forward(fw.tensor([[1, 2, 3]], { dtype: 'int32', device: 'js' })).logits.dataSync()];
    };
    expect(without('ska_attn.o_proj')).to.not.deep.equal(without());
    expect(without('ska_attn.o_proj', 'mlp.down_proj')).to.deep.equal(without('mlp.down_proj'));
  });

  it('gives all heads of Rodimus+ the same keys', () => {
    using model = make({ model_type: 'rodimus', ska_attn: { num_heads: 2, window_size: 3, qk_norm: true } });
    const [{ ska_attn: shared }] = (model.model as unknown as { layers: { ska_attn: fw.models.Attention }[] }).layers;
    const apart = new fw.models.Attention({ ...shared.shape, sharedKey: false }, { device: 'js' });
    const weight = fw.cat([shared.k_proj.weight, shared.k_proj.weight]);
    apart.loadStateDict({ ...shared.stateDict(), 'k_proj.weight': weight });
    const x = fw.randn([2, 5, 16], { device: 'js' });
    const outputs = [shared, apart].map((layer) => [...layer.forward(x).output.dataSync()]);
    expect(outputs[0]).to.deep.equal(outputs[1]);
    expect(shared.initialState(1).keys.shape).to.deep.equal([1, 0, 1, 8]);
  });

  it('draws the gates of Rodimus as published', () => {
    using model = make({
      model_type: 'rodimus',
      block_type: 'rodimus',
      expand_ratio: 200,
    }) as fw.models.RodimusForCausalLM;
    const weights = Object.fromEntries(model.namedParameters());
    const valuesOf = (name: string): number[] => [...weights[`model.layers.1.mixer.${name}`].dataSync()];
    const extent = (values: number[]): number[] => [Math.min(...values), Math.max(...values)];
    const [slow, fast] = extent(valuesOf('g_gate_proj.bias').map((b) => Math.log1p(Math.exp(b))));
    expect(slow).to.be.within(1e-3 * 0.999, 2e-3);
    expect(fast).to.be.within(0.05, 0.1001);
    const [least, most] = extent(valuesOf('tau_gate_proj.bias').map((b) => 1 / (1 + Math.exp(-b))));
    expect(least).to.be.within(0.062, 0.12);
    expect(most).to.be.within(0.8, 0.901);
    const bounds = {
      'g_gate_proj.weight': 200 + 32,
      'tau_gate_proj.weight': 200 + 32,
      'i_gate_proj.1.weight': 16 + 32,
    };
    for (const [name, width] of Object.entries(bounds)) {
      const [, largest] = extent(valuesOf(name).map(Math.abs));
      expect(largest / (2 ** -2.5 * (6 / width) ** 0.5), name).to.be.within(0.97, 1.00001);
    }
  });

  it('gates the output of Gated DeltaNet by the activation that is named', () => {
    const of = (named: object): number[] =>
      logitsOf({ model_type: 'gated_deltanet', num_heads: 2, head_dim: 4, ...named });
    expect(of({ output_gate_activation: 'silu' })).to.deep.equal(of({}));
    expect(of({ output_gate_activation: 'swish' })).to.deep.equal(of({}));
    expect(of({ output_gate_activation: 'sigmoid' })).to.not.deep.equal(of({}));
    expectError('INVALID_ARGUMENT', /output_gate_activation/, () => of({ output_gate_activation: 'gelu' }));
  });

  it('refuses one map for queries and keys only where it has weights', () => {
    const tied = { model_type: 'linear_attn', num_heads: 2, tie_feature_map_qk: true };
    for (const feature_map of ['elu', 'relu', 'dpfp', 'identity']) {
      expect(logitsOf({ ...tied, feature_map })).to.deep.equal(
        logitsOf({ ...tied, feature_map, tie_feature_map_qk: false }),
      );
    }
    for (const feature_map of ['elementwise_product', 'hedgehog', 't2r']) {
      expectError('UNSUPPORTED', /tie_feature_map_qk/, () => logitsOf({ ...tied, feature_map }));
    }
  });

  it('reads widths, slots and bounds of ABC', () => {
    const abc = { model_type: 'abc', num_heads: 2 };
    const read = (given: object): unknown[] => {
      using model = make({ ...abc, ...given });
      const { keyDim, valueDim, numSlots, slotBounds } = model.config as fw.models.AbcConfiguration;
      return [keyDim, valueDim, numSlots, ...slotBounds];
    };
    expect(read({ gate_low_rank_dim: 5 })).to.deep.equal([4, 8, 64, -32, 32]);
    expect(read({ exapnd_k: 1, exapnd_v: 2, num_slots: null })).to.deep.equal([8, 16, 8, -32, 32]);
    expect(read({ exapnd_k: 1, expand_k: 0.25, exapnd_v: 2, expand_v: 0.5 })).to.deep.equal([2, 4, 64, -32, 32]);
    expect(read({ clamp_min: null, clamp_max: -3 })).to.deep.equal([4, 8, 64, -Infinity, -3]);
    expect(read({ clamp_min: 3, clamp_max: null })).to.deep.equal([4, 8, 64, 3, Infinity]);
    expect(shapesOf({ ...abc, num_slots: 3, use_short_conv: true })).to.deep.include({
      's_proj.weight': [6, 16],
      'g_norm.weight': [8],
      'q_conv1d.weight': [8, 1, 4],
    });
    using odd = make({ ...abc, expand_k: 0.125, use_rope: false });
    expect((odd.config as fw.models.AbcConfiguration).keyDim).to.equal(1);
    const refused: [given: object, message: RegExp][] = [
      [{ expand_k: 0.125 }, /expand_k must be heads of an even width.*got 2 of width 1/],
      [{ expand_v: 0.1875 }, /num_heads must be a divisor of 3/],
      [{ clamp_min: 2, clamp_max: 1 }, /clamp_max must be a number from 2/],
    ];
    for (const [given, message] of refused) expectError('INVALID_ARGUMENT', message, () => make({ ...abc, ...given }));
  });

  it('has as many channels in HGRN as its ratio says', () => {
    const hgrn = { model_type: 'hgrn' };
    const plain = shapesOf(hgrn);
    expect(plain.lower_bounds).to.deep.equal([2, 16]);
    expect(plain).to.not.have.any.keys('f_conv1d.weight', 'i_conv1d.weight');
    const wide = shapesOf({ ...hgrn, expand_ratio: 1.3, use_short_conv: true, conv_size: 3 });
    expect(wide.lower_bounds).to.deep.equal([2, 20]);
    expect(wide['g_norm.weight']).to.deep.equal([20]);
    expect(wide['f_conv1d.weight']).to.deep.equal([20, 1, 3]);
    expect(wide['o_proj.weight']).to.deep.equal([16, 20]);
    expect(shapesOf({ ...hgrn, use_lower_bound: false })).to.not.have.any.keys('lower_bounds');
    expectError('INVALID_ARGUMENT', /expand_ratio must be a whole number from 1/, () =>
      make({ ...hgrn, expand_ratio: 0 }),
    );
  });

  it('takes the width of a head of HGRN2 from its ratio, or from the heads where that is null', () => {
    const headsOf = (given: object): number => {
      const model = make({ model_type: 'hgrn2', hidden_size: 256, ...given });
      const { numHeads, headDim } = model.config as fw.models.Hgrn2Configuration;
      model.dispose();
      expect(numHeads * headDim).to.equal(256);
      return numHeads;
    };
    expect(headsOf({})).to.equal(2);
    expect(headsOf({ num_heads: 8 })).to.equal(2);
    expect(headsOf({ expand_ratio: 32, num_heads: 4 })).to.equal(8);
    expect(headsOf({ expand_ratio: null, num_heads: 4 })).to.equal(4);
    expect(headsOf({ expand_ratio: null })).to.equal(2);
  });

  it('reads the widths of GSA under both spellings, the right one first', () => {
    const keysOf = (given: object): number[] =>
      shapesOf({ model_type: 'gsa', num_heads: 2, num_slots: 4, ...given })['k_proj.weight'];
    expect(keysOf({})).to.deep.equal([16, 16]);
    expect(keysOf({ exapnd_k: 0.5 })).to.deep.equal([8, 16]);
    expect(keysOf({ expand_k: 0.25, exapnd_k: 0.5, num_kv_heads: 1 })).to.deep.equal([2, 16]);
    expect(shapesOf({ model_type: 'gsa', num_heads: 2, num_slots: null })['f_proj.weight']).to.deep.equal([16, 16]);
    expect(shapesOf({ model_type: 'gsa', num_heads: 2, feature_map: 't2r' })['feature_map.layer.weight']).to.deep.equal(
      [8, 8],
    );
  });

  it('has the weights that the switches ask for', () => {
    const product = { model_type: 'gated_deltaproduct', num_heads: 2, head_dim: 4, num_householder: 3 };
    const plain = shapesOf(product);
    expect(plain).to.not.have.any.keys('A_log', 'dt_bias', 'a_proj.weight');
    expect(plain['k_proj.weight']).to.deep.equal([24, 16]);
    expect(plain['v_conv1d.weight']).to.deep.equal([48, 1, 4]);
    expect(plain['b_proj.weight']).to.deep.equal([6, 16]);
    expect(shapesOf({ ...product, use_forget_gate: true, use_output_gate: false }))
      .to.include.keys('A_log', 'dt_bias', 'a_proj.weight')
      .and.not.have.any.keys('g_proj.weight');
    const hgrn2 = { model_type: 'hgrn2', expand_ratio: 8 };
    expect(shapesOf(hgrn2).lower_bounds).to.deep.equal([2, 16]);
    expect(shapesOf({ ...hgrn2, use_lower_bound: false })).to.not.have.any.keys('lower_bounds');
  });

  it('refuses what it does not compute, by name', () => {
    const cases: [Config, code: string, argument: string][] = [
      [{ model_type: 'comba', num_heads: 2, head_dim: 4, num_v_heads: 3 }, 'INVALID_ARGUMENT', 'num_v_heads'],
      [
        { model_type: 'comba', num_heads: 2, head_dim: 4, allow_neg_eigval: true },
        'INVALID_ARGUMENT',
        'allow_neg_eigval',
      ],
      [{ model_type: 'gated_deltaproduct', num_householder: 0 }, 'INVALID_ARGUMENT', 'num_householder'],
      [{ model_type: 'gated_deltaproduct', use_forget_gate: 1 }, 'INVALID_ARGUMENT', 'use_forget_gate'],
      [{ model_type: 'hgrn2', expand_ratio: 5 }, 'INVALID_ARGUMENT', 'expand_ratio'],
      [{ model_type: 'hgrn2', expand_ratio: null, num_heads: 3 }, 'INVALID_ARGUMENT', 'num_heads'],
      [{ model_type: 'mesa_net', lambda_lower_bound: -1 }, 'INVALID_ARGUMENT', 'lambda_lower_bound'],
      [{ model_type: 'mesa_net', num_v_heads: 4 }, 'INVALID_ARGUMENT', 'num_v_heads'],
      [{ model_type: 'gsa', expand_v: 2 }, 'UNSUPPORTED', 'expand_v'],
      [{ model_type: 'gsa', exapnd_v: 0.5 }, 'UNSUPPORTED', 'exapnd_v'],
      [{ model_type: 'gsa', feature_map: 'elu' }, 'UNSUPPORTED', 'feature_map'],
      [{ model_type: 'gsa', gate_logit_normalizer: 0 }, 'INVALID_ARGUMENT', 'gate_logit_normalizer'],
      [{ model_type: 'hgrn2', elementwise_affine: false }, 'UNSUPPORTED', 'elementwise_affine'],
    ];
    for (const [config, code, argument] of cases) {
      expect(expectError(code as fw.ErrorCode, /./, () => make(config)).argument, JSON.stringify(config)).to.equal(
        argument,
      );
    }
  });
});
