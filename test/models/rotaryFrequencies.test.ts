// Rotary frequencies as configurations ask for them: Llama 3's, YaRN's, and what turns.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

describe('rotary frequencies of configurations', () => {
  it('scales rotary frequencies as Llama 3 does', () => {
    const llama3 = {
      rope_type: 'llama3',
      rope_theta: 500000,
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    const base = {
      model_type: 'llama',
      vocab_size: 11,
      hidden_size: 128,
      num_attention_heads: 2,
      num_hidden_layers: 1,
      intermediate_size: 16,
    } as const;
    const frequencies = (config: object): readonly number[] => {
      const model = new fw.models.LlamaForCausalLM({ ...base, ...config });
      model.dispose();
      return model.config.attention.frequencies;
    };
    const plain = frequencies({ rope_theta: 500000 });
    const scaled = frequencies({ rope_parameters: llama3 });
    expect(frequencies({ rope_theta: 500000, rope_scaling: llama3 })).to.deep.equal(scaled);
    expect(scaled[0]).to.equal(plain[0]);
    expect(scaled[31]).to.be.closeTo(plain[31] / 8, 1e-15);
    // Wavelengths between 2048 and 8192 are mixed.
    const mixed = plain.map((f, i) => [f, scaled[i]]).filter(([f, s]) => s < f && s > (f / 8) * 1.0001);
    expect(mixed.length).to.be.greaterThan(0);
    for (const [f] of mixed) expect((2 * Math.PI) / f).to.be.within(2048, 8192);
  });

  it('lets rope_scaling stand for the whole of rope_parameters, as transformers 5 does', () => {
    const base = {
      vocab_size: 11,
      hidden_size: 128,
      num_attention_heads: 2,
      num_hidden_layers: 1,
      intermediate_size: 16,
    };
    const frequencies = (config: object): readonly number[] => {
      using model = new fw.models.LlamaForCausalLM({ ...base, ...config });
      return model.config.attention.frequencies;
    };
    const parameters = { rope_type: 'default', rope_theta: 500000 };
    const scaling = { type: 'linear', factor: 4 };
    const both = { rope_parameters: parameters, rope_scaling: scaling };
    const plain = frequencies({ rope_theta: 500000 });
    expect(frequencies({ rope_parameters: parameters, rope_scaling: {} })).to.deep.equal(plain);
    expect(frequencies({ rope_parameters: parameters, rope_scaling: null })).to.deep.equal(plain);
    expect(frequencies(both)).to.deep.equal(frequencies({ rope_scaling: scaling }));
    const slow = plain.map((f) => f / 4);
    expect(frequencies({ ...both, rope_theta: 500000 })).to.deep.equal(slow);
    expect(frequencies({ ...both, rope_scaling: { ...scaling, rope_theta: 500000 } })).to.deep.equal(slow);
    expectError('UNSUPPORTED', /type "su" is not supported/, () =>
      frequencies({ rope_parameters: parameters, rope_scaling: { type: 'su', factor: 2 } }),
    );
    // Olmo turns nothing where the theta of the section that counts is null.
    const olmo = (config: object): number => {
      using model = new fw.models.OlmoHybridForCausalLM({ ...base, num_hidden_layers: 4, ...config });
      return model.config.attention.frequencies.length;
    };
    expect(olmo({ rope_parameters: { rope_theta: null } })).to.equal(0);
    expect(olmo({ rope_parameters: { rope_theta: null }, rope_scaling: scaling })).to.equal(32);
  });

  it('takes the length of the model for the one that llama3 was trained with, where that is not given', () => {
    const base = {
      vocab_size: 11,
      hidden_size: 128,
      num_attention_heads: 2,
      num_hidden_layers: 1,
      intermediate_size: 16,
    };
    const frequencies = (config: object, scaling: object): readonly number[] => {
      const section = { rope_type: 'llama3', rope_theta: 500000, factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
      using model = new fw.models.LlamaForCausalLM({
        ...base,
        ...config,
        rope_parameters: { ...section, ...scaling },
      });
      return model.config.attention.frequencies;
    };
    const given = frequencies({}, { original_max_position_embeddings: 1024 });
    expect(frequencies({ max_position_embeddings: 1024 }, {})).to.deep.equal(given);
    expect(given).to.not.deep.equal(frequencies({}, {}));
  });

  it('scales rotary frequencies and what turns as YaRN does', () => {
    const base = {
      vocab_size: 11,
      hidden_size: 128,
      num_attention_heads: 2,
      num_hidden_layers: 1,
      intermediate_size: 16,
      max_position_embeddings: 4096,
    };
    const yarn = { rope_type: 'yarn', rope_theta: 10000, factor: 4, original_max_position_embeddings: 1024 } as const;
    const rotation = (section: object): readonly number[] => {
      using model = new fw.models.LlamaForCausalLM({ ...base, rope_parameters: { ...yarn, ...section } });
      const { frequencies, rotaryScale } = model.config.attention;
      return [...[0, 10, 15, 31].map((i) => frequencies[i]), rotaryScale!];
    };
    // What ROPE_INIT_FUNCTIONS['yarn'] of transformers 5.24 gives.
    const cases: [section: object, expected: number[]][] = [
      [{}, [1, 0.0400127433, 0.00564182177, 3.33380376e-5, 1.138629436]],
      [{ factor: null }, [1, 0.0400127433, 0.00564182177, 3.33380376e-5, 1.138629436]],
      [
        { beta_fast: 16, beta_slow: 2, truncate: false, mscale: 0.7, mscale_all_dim: 0.5 },
        [1, 0.0449323915, 0.00373348943, 3.33380376e-5, 1.02592865],
      ],
      [{ attention_factor: 1.5 }, [1, 0.0400127433, 0.00564182177, 3.33380376e-5, 1.5]],
    ];
    for (const [section, expected] of cases) {
      rotation(section).forEach((x, i) => expect(x / expected[i], JSON.stringify(section)).to.be.closeTo(1, 1e-6));
    }
  });

  it('multiplies the coordinates that turn, and no others, by the scale of their rotation', () => {
    const shape = { hiddenSize: 8, numHeads: 1, numKvHeads: 1, headDim: 8, qkvBias: false, outputBias: false };
    const on = { device: 'js', dtype: 'float64' } as const;
    const layer = (more: object): fw.models.Attention => {
      fw.manualSeed(1);
      return new fw.models.Attention({ ...shape, window: null, frequencies: [1, 0.1], ...more }, on);
    };
    const [scaled, plain] = [layer({ rotaryScale: 3 }), layer({})];
    fw.noGrad(() => {
      // Queries and keys three times as long in their first four coordinates.
      for (const { weight } of [plain.q_proj, plain.k_proj]) weight.slice(0, 0, 4).mul_(3);
    });
    const x = fw.randn([1, 5, 8], on);
    const [found, expected] = [scaled, plain].map((each) => fw.noGrad(() => each.forward(x).output.dataSync()));
    found.forEach((y, i) => expect(y).to.be.closeTo(expected[i], 1e-12));
  });
});
