// The hybrids of transformers: both dialects of their configurations, both layouts of their weights, and what is refused.
import { expect } from 'chai';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fw from '../../lib';
import { expectError, expectRejection } from '../support/errors';
import { expectClose } from '../support/tolerance';

type Model = fw.models.CausalLM;
type Json = Record<string, unknown>;

const load = fw.AutoModelForCausalLM.fromPretrained;
const sizes = {
  vocabSize: 40,
  hiddenSize: 24,
  numLayers: 4,
  numHeads: 2,
  device: 'js',
  initializerRange: 0.3,
} as const;
const IDS = [1, 7, 3, 39, 0, 12, 12, 5];

function logits(m: Model): number[] {
  const ids = fw.tensor([IDS], { dtype: 'int32', device: m.device });
  return fw.noGrad(() => fw.scope(() => Array.from(m.forward(ids).logits.dataSync())));
}

/** The kind of each layer by the names of its weights. */
function kinds(m: Model, linear: RegExp): string[] {
  const names = m.namedParameters().map(([name]) => name);
  return Array.from({ length: m.config.numHiddenLayers }, (_, i) =>
    names.some((name) => name.startsWith(`model.layers.${i}.`) && linear.test(name)) ? 'linear' : 'full',
  );
}

describe('hybrids of transformers', () => {
  let dir: string;
  const models: Model[] = [];
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fast-weights-hybrid-'));
    fw.manualSeed(2);
  });
  afterEach(async () => {
    models.splice(0).forEach((m) => m.dispose());
    await rm(dir, { recursive: true });
  });

  const kept = <M extends Model>(m: M): M => {
    models.push(m);
    return m;
  };
  const loaded = async (): Promise<Model> => kept(await load(dir, { device: 'js' }));
  const config = async (): Promise<Json> => JSON.parse(await readFile(join(dir, 'config.json'), 'utf8')) as Json;
  const writeConfig = (json: Json): Promise<void> => writeFile(join(dir, 'config.json'), JSON.stringify(json));
  /** Writes the weights of a model under other names, or not at all. */
  const rewrite = (m: Model, rename: (name: string) => string, more: Record<string, fw.Tensor> = {}): Promise<void> => {
    const renamed = Object.entries(m.stateDict()).map(([name, t]) => [rename(name), t] as const);
    return fw.saveSafetensors(join(dir, 'model.safetensors'), { ...Object.fromEntries(renamed), ...more });
  };
  const junk = (): fw.Tensor => fw.zeros([2], { device: 'js' });

  it('qwen3-next: published dialect, layers for several tokens left out, gated and partly rotated attention', async () => {
    const m = kept(fw.createModel('qwen3-next', { ...sizes, linearNumValueHeads: 4, mlpOnlyLayers: [1], headDim: 16 }));
    expect(kinds(m, /linear_attn/)).to.deep.equal(['linear', 'linear', 'linear', 'full']);
    expect(Object.keys(m.stateDict())).to.include.members([
      'model.layers.1.mlp.gate_proj.weight',
      'model.layers.2.mlp.experts.3.up_proj.weight',
      'model.layers.3.self_attn.q_norm.weight',
    ]);
    await m.savePretrained(dir);
    await rewrite(m, (name) => name, { 'mtp.fc.weight': junk(), 'mtp.layers.0.mlp.gate.weight': junk() });
    const { full_attention_interval: _, ...rest } = await config();
    const theta = 5000;
    const forms: Json[] = [
      { full_attention_interval: 4, rope_theta: theta, partial_rotary_factor: 0.5, rope_scaling: null },
      {
        layer_types: ['linear_attention', 'linear_attention', 'linear_attention', 'full_attention'],
        rope_parameters: { rope_type: 'default', rope_theta: theta, partial_rotary_factor: 0.5 },
      },
    ];
    const results: number[][] = [];
    for (const form of forms) {
      await writeConfig({ ...rest, ...form });
      const again = await loaded();
      const { frequencies } = (again.config as fw.models.QwenConfiguration).attention;
      expect(frequencies).to.deep.equal([0, 1, 2, 3].map((i) => theta ** (-i / 4)));
      results.push(logits(again));
    }
    expect(results[0]).to.deep.equal(results[1]);
    await writeConfig({ ...rest, full_attention_interval: 4 });
    expect((await loaded()).config).to.have.nested.property('attention.frequencies.length', 2);
  });

  it('qwen3.5: the language model of a multimodal folder', async () => {
    const m = kept(fw.createModel('qwen3.5', { ...sizes, tieWordEmbeddings: true }));
    await m.savePretrained(dir);
    const text = await config();
    expect(text).to.include({ model_type: 'qwen3_5_text', tie_word_embeddings: true });
    const { tie_word_embeddings: tied, ...inner } = text;
    await writeConfig({
      model_type: 'qwen3_5',
      architectures: ['Qwen3_5ForConditionalGeneration'],
      text_config: inner,
      vision_config: { depth: 1 },
      tie_word_embeddings: tied,
    });
    await rewrite(m, (name) => name.replace(/^model\./, 'model.language_model.'), {
      'model.visual.patch_embed.proj.weight': junk(),
      'mtp.norm.weight': junk(),
    });
    const again = await loaded();
    expect(logits(again)).to.deep.equal(logits(m));
    await again.savePretrained(dir);
    expect(await config()).to.include({ model_type: 'qwen3_5_text' });
    expect(logits(await loaded())).to.deep.equal(logits(m));
    await writeConfig({ ...text, attn_output_gate: false });
    await expectRejection('UNSUPPORTED', /attn_output_gate false is not supported/, load(dir));
    // A text_config whose family is not known is none.
    await writeConfig({ model_type: 'qwen3_5', text_config: { model_type: 'qwen9_text' } });
    await expectRejection('UNSUPPORTED', /model_type "qwen3_5" is not supported/, load(dir));
  });

  for (const layout of ['separate', 'stacked'] as const) {
    it(`qwen3.5-moe: ${layout} experts keep the layout of their folder`, async () => {
      const m = kept(fw.createModel('qwen3.5-moe', { ...sizes, expertsLayout: layout }));
      await m.savePretrained(dir);
      const { experts_layout: _, ...rest } = await config();
      await writeConfig(rest);
      const again = await loaded();
      expect(Object.keys(again.stateDict())).to.deep.equal(Object.keys(m.stateDict()));
      expect(Object.keys(m.stateDict()).some((name) => name.endsWith('experts.gate_up_proj'))).to.equal(
        layout === 'stacked',
      );
      expect(logits(again)).to.deep.equal(logits(m));
    });
  }

  it('olmo-hybrid: files that were saved again, and rotary positions or none', async () => {
    const m = kept(fw.createModel('olmo-hybrid', { ...sizes, linearKeyHeadDim: 3, linearValueHeadDim: 6 }));
    await m.savePretrained(dir);
    const weights = m.stateDict();
    const thirds: Record<string, fw.Tensor> = {};
    for (const layer of [0, 1, 2]) {
      const names = ['q', 'k', 'v'].map((part) => `model.layers.${layer}.linear_attn.${part}_conv1d.weight`);
      const whole = fw.cat(
        names.map((name) => weights[name]),
        0,
      );
      names.forEach((name, i) => (thirds[name] = whole.slice(0, 8 * i, 8 * i + 8)));
    }
    expect(thirds['model.layers.0.linear_attn.q_conv1d.weight'].shape[0]).to.equal(8);
    expect(weights['model.layers.0.linear_attn.q_conv1d.weight'].shape[0]).to.equal(6);
    const other = (name: string): string =>
      name.replace('layers.3.post_attention_layernorm', 'layers.3.feedforward_layer_norm');
    await rewrite(m, other, thirds);
    expect(logits(await loaded())).to.deep.equal(logits(m));

    const shape = async (rope: unknown): Promise<readonly number[]> => {
      await writeConfig({ ...(await config()), rope_parameters: rope });
      return ((await loaded()).config as fw.models.OlmoHybridConfiguration).attention.frequencies;
    };
    expect(await shape({ rope_type: 'default', rope_theta: null })).to.deep.equal([]);
    const usual = [0, 1, 2, 3, 4, 5].map((i) => 10000 ** (-i / 6));
    expect(await shape(null)).to.deep.equal(usual);
  });

  it('kimi-linear: published dialect, either name of a dense layer, a state of latent vectors', async () => {
    const m = kept(fw.createModel('kimi-linear', sizes));
    await m.savePretrained(dir);
    const { linear_head_dim: headDim, linear_num_heads: numHeads, ...rest } = await config();
    const linear = { kda_layers: [1, 2, 3], full_attn_layers: [4], head_dim: headDim, num_heads: numHeads };
    await writeConfig({
      ...rest,
      linear_attn_config: { ...linear, short_conv_kernel_size: 4 },
      first_k_dense_replace: 1,
    });
    await rewrite(m, (name) => name.replace('layers.0.mlp.', 'layers.0.block_sparse_moe.'));
    const again = await loaded();
    expect(kinds(again, /f_a_proj/)).to.deep.equal(['linear', 'linear', 'linear', 'full']);
    expect(logits(again)).to.deep.equal(logits(m));

    const session = again.createSession();
    session.feed(IDS).dispose();
    const { rank, sharedDim } = (again.config as fw.models.KimiLinearConfiguration).attention;
    const { state } = again.forward(fw.tensor([IDS], { dtype: 'int32', device: 'js' }), { outputState: true });
    const { latent, ...places } = (state as fw.models.LatentCache[])[3];
    expect([...latent.shape]).to.deep.equal([1, IDS.length, 1, rank + sharedDim]);
    expect(places).to.deep.equal({ start: 0, end: IDS.length, position: IDS.length });
    session.dispose();

    for (const [change, message] of [
      [{ kda_layers: [1, 2], full_attn_layers: [4] }, /layer 3 in kda_layers or in full_attn_layers, got in neither/],
      [{ kda_layers: [1, 2, 3, 4], full_attn_layers: [4] }, /layer 4 .* got in both/],
    ] as const) {
      await writeConfig({ ...rest, linear_attn_config: { ...linear, ...change } });
      await expectRejection('FORMAT', message, load(dir));
    }
  });

  it('kimi-linear: a token reads the latent vectors as a sequence reads keys and values, adapters included', () => {
    const m = kept(fw.createModel('kimi-linear', { ...sizes, numLayers: 1 }));
    fw.nn.addLora(m, { rank: 2, alpha: 4, targets: '*.kv_b_proj' });
    fw.noGrad(() =>
      m
        .namedParameters()
        .forEach(([name, t]) => name.includes('lora') && t.copy_(fw.randn([...t.shape], { device: 'js' }))),
    );
    const whole = logits(m);
    const session = m.createSession();
    IDS.forEach((id, t) => {
      const row = fw.scope(() => session.feed([id]).dataSync());
      expectClose(`token ${t}`, row, whole.slice(40 * t, 40 * (t + 1)), 2e-5);
    });
    session.dispose();
  });

  it('minimax: layer kinds, and decays in the files are left out', async () => {
    const m = kept(fw.createModel('minimax', { ...sizes, mlpAlphaFactor: 1.2, slidingWindow: 3 }));
    expect(kinds(m, /qkv_proj/)).to.deep.equal(['full', 'linear', 'full', 'linear']);
    await m.savePretrained(dir);
    await rewrite(m, (name) => name, { 'model.layers.1.self_attn.slope_rate': junk() });
    expect(logits(await loaded())).to.deep.equal(logits(m));
  });

  it('refuse what they do not compute, by name', () => {
    const js = { vocabSize: 8, hiddenSize: 16, numLayers: 2, numHeads: 2, device: 'js' } as const;
    const wrong: [string, object, fw.ErrorCode, RegExp][] = [
      [
        'qwen3-next',
        { layerTypes: ['full_attention'] },
        'INVALID_ARGUMENT',
        /layer_types must be a list of 2 layers, got one of 1/,
      ],
      [
        'qwen3.5',
        { layerTypes: ['full_attention', 'sliding'] },
        'INVALID_ARGUMENT',
        /layer_types\[1\] .*got "sliding"/,
      ],
      ['qwen3.5', { layerTypes: 'full_attention' }, 'INVALID_ARGUMENT', /layer_types must be a list/],
      ['qwen3-next', { linearNumValueHeads: 3 }, 'INVALID_ARGUMENT', /linear_num_key_heads must be a divisor of 3/],
      ['qwen3-next', { hiddenAct: 'gelu' }, 'UNSUPPORTED', /hidden_act/],
      ['qwen3-next', { ropeParameters: { rope_type: 'su' } }, 'UNSUPPORTED', /rope_type "su"/],
      ['qwen3-next', { attentionDropout: 0.1 }, 'UNSUPPORTED', /attention_dropout/],
      ['qwen3-next', { numExprts: 4 }, 'INVALID_ARGUMENT', /unknown option numExprts; did you mean numExperts/],
      ['minimax', { routerJitterNoise: 0.1 }, 'UNSUPPORTED', /router_jitter_noise/],
      ['kimi-linear', { mlaUseNope: false }, 'UNSUPPORTED', /mla_use_nope/],
      ['kimi-linear', { mlpLayerTypes: ['dense'] }, 'INVALID_ARGUMENT', /mlp_layer_types must be a list of 2 layers/],
      ['olmo-hybrid', { numKeyValueHeads: 3 }, 'INVALID_ARGUMENT', /num_key_value_heads must be a divisor of 2/],
    ];
    for (const [name, options, code, message] of wrong) {
      expectError(code, message, () => fw.createModel(name as 'lstm', { ...js, ...options }));
    }
  });

  it('refuse layers that the model does not have, or that are named twice', () => {
    const js = { vocabSize: 8, hiddenSize: 16, numLayers: 2, numHeads: 2, device: 'js' } as const;
    const listed = (full: number[], linear: number[]): object => ({
      linearAttnConfig: { fullAttnLayers: full, kdaLayers: linear },
    });
    const attention = (...lists: number[][]): object => ({ attn: lists.map((layers) => ({ layers, numHeads: 2 })) });
    const wrong: [string, object, RegExp][] = [
      ['bamba', { attnLayerIndices: [2] }, /attn_layer_indices must be a whole number from 0 to 1, got 2/],
      ['bamba', { attnLayerIndices: [-1] }, /attn_layer_indices must be a whole number from 0 to 1, got -1/],
      ['bamba', { attnLayerIndices: [1, 1] }, /attn_layer_indices must be layers once each, got 1 twice/],
      ['qwen3-next', { mlpOnlyLayers: [0, 7] }, /mlp_only_layers must be a whole number from 0 to 1, got 7/],
      ['qwen3-next', { mlpOnlyLayers: [0, 0] }, /mlp_only_layers must be layers once each, got 0 twice/],
      ['kimi-linear', listed([2], [0, 1]), /kda_layers must be a whole number from 1 to 2, got 0/],
      ['kimi-linear', listed([2, 3], [1]), /full_attn_layers must be a whole number from 1 to 2, got 3/],
      ['kimi-linear', listed([2], [1, 1]), /kda_layers must be layers once each, got 1 twice/],
      [
        'kimi-linear',
        { ...listed([2], [1]), layerTypes: ['full_attention', 'linear_attention'] },
        /layer_types\[0\] must be linear_attention for layer 1, which linear_attn_config has in kda_layers, got full/,
      ],
      ['gla', attention([0, 2]), /layers must be a whole number from 0 to 1, got 2/],
      ['gla', attention([1, 1]), /layers must be layers once each, got 1 twice/],
      ['rwkv6', attention([1], [0, 1]), /attn must be layers once each, got 1 twice/],
    ];
    for (const [name, options, message] of wrong) {
      expectError('INVALID_ARGUMENT', message, () => fw.createModel(name as 'lstm', { ...js, ...options }));
    }
    for (const [name, options] of [
      ['bamba', { attnLayerIndices: [1, 0] }],
      ['qwen3-next', { mlpOnlyLayers: [] }],
      ['kimi-linear', listed([2], [1])],
      ['kimi-linear', { ...listed([2], [1]), layerTypes: ['linear_attention', 'full_attention'] }],
      ['gla', attention([1], [0])],
    ] as const) {
      fw.createModel(name as 'lstm', { ...js, ...options }).dispose();
    }
  });
});
