// Rotary scalings that depend on how long the text is, in all the ways in which a text is read.
import { expect } from 'chai';
import * as fw from '../../lib';
import { PublishedConfiguration } from '../../lib/models/common/configuration';
import { expectError } from '../support/errors';
import { filled, IDS, logitsAfter } from '../support/filled';
import { expectClose } from '../support/tolerance';

const LENGTH = 8;
const base = {
  vocab_size: 5,
  hidden_size: 16,
  intermediate_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  rms_norm_eps: 1e-6,
  max_position_embeddings: LENGTH,
};
const dynamic = { rope_parameters: { rope_type: 'dynamic', rope_theta: 100, factor: 2 } } as const;
const longrope = {
  max_position_embeddings: 4 * LENGTH,
  rope_parameters: {
    rope_type: 'longrope',
    rope_theta: 100,
    short_factor: [1, 1.1, 1.3, 1.5],
    long_factor: [1, 2, 3, 4.5],
    original_max_position_embeddings: LENGTH,
  },
} as const;
const proportional = {
  rope_parameters: { rope_type: 'proportional', rope_theta: 100, partial_rotary_factor: 0.5, factor: 2 },
} as const;
const CONFIGS = { dynamic, longrope, proportional };

const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const exact = { device: 'js', dtype: 'float64' } as const;

function make(config: object, where: fw.TensorOptions = exact): fw.models.LlamaForCausalLM {
  return filled(new fw.models.LlamaForCausalLM({ ...base, ...config }, where)).eval();
}

/** Reads some of the ids at once and then as many one by one. */
async function read(session: fw.Session, prompt: number, then: number): Promise<number[]> {
  let logits = await session.read(IDS.slice(0, prompt));
  for (const id of IDS.slice(prompt, prompt + then)) logits = session.feed([id]);
  return Array.from(await logits.data());
}

/** What transformers 5.24 gives for these weights after 6 and 20 ids, and after 5 and 12 with a cache and 8 more one by one. */
const THEIRS: Record<keyof typeof CONFIGS, Record<6 | 20 | 'from5' | 'from12', number[]>> = {
  dynamic: {
    6: [-0.1497521, 0.8785775, -0.6872125, -0.2239141, 0.9005212],
    20: [-0.8956753, 0.2554997, 0.6522771, -0.8768825, 0.1830727],
    from5: [-0.8317386, 0.22338, 0.6189386, -0.8130034, 0.1555576],
    from12: [-0.9043987, 0.2604772, 0.6562586, -0.885653, 0.1874461],
  },
  longrope: {
    6: [-0.1544671, 0.8808608, -0.6846728, -0.2286169, 0.9024615],
    20: [-0.8741508, 0.2473412, 0.6385245, -0.8556228, 0.1765726],
    from5: [-0.833786, 0.2284373, 0.6161684, -0.8154216, 0.1606315],
    from12: [-0.8741508, 0.2473412, 0.6385247, -0.8556229, 0.1765727],
  },
  proportional: {
    6: [-0.140246, 0.9128071, -0.7293268, -0.218024, 0.9370245],
    20: [-0.8925713, 0.2555484, 0.6491268, -0.87393, 0.1834105],
    from5: [-0.8527079, 0.2366527, 0.627264, -0.8342071, 0.1674319],
    from12: [-0.8925714, 0.2555484, 0.6491268, -0.8739298, 0.1834105],
  },
};

describe('rotary scalings by the length of the text', () => {
  for (const [name, config] of Object.entries(CONFIGS)) {
    it(`${name}: as transformers computes it, below its length and beyond it, at once and one token at a time`, async () => {
      const model = make(config);
      const theirs = THEIRS[name as keyof typeof CONFIGS];
      for (const tokens of [6, 20] as const) expectClose(`${tokens}`, logitsAfter(model, tokens), theirs[tokens], 1e-5);
      for (const [key, prompt] of [
        ['from5', 5],
        ['from12', 12],
      ] as const) {
        using session = model.createSession();
        expectClose(key, await read(session, prompt, 8), theirs[key], 1e-5);
      }
    });
  }

  for (const [name, config] of Object.entries({ dynamic, longrope })) {
    for (const device of available) {
      const where = device === 'js' ? exact : { device };
      const tolerance = device === 'js' ? 1e-12 : 1e-5;

      it(`${name}: texts of different lengths get in one call what each gets alone on ${device}`, () => {
        const model = make(config, where);
        const lengths = [3, 20, LENGTH, 11];
        const expected = lengths.map((tokens) => logitsAfter(model, tokens));
        const width = Math.max(...lengths);
        const rows = lengths.map((tokens) => [...IDS.slice(0, tokens), ...new Array<number>(width - tokens).fill(0)]);
        const mask = lengths.map((tokens) => rows[0].map((_, t) => Number(t < tokens)));
        const int32 = (data: number[][]): fw.Tensor => fw.tensor(data, { dtype: 'int32', device });
        const padded = fw.noGrad(() => model.forward(int32(rows), { attentionMask: int32(mask) }).logits);
        lengths.forEach((tokens, i) => {
          const found = padded.slice(0, i, i + 1).slice(1, tokens - 1, tokens);
          expectClose(`text ${i}`, Array.from(found.dataSync()), expected[i], tolerance);
        });
      });

      it(`${name}: a batch that steps texts of different lengths gives what each gets alone on ${device}`, async () => {
        const model = make(config, where);
        using batch = new fw.BatchedModel(model, { promptSlice: 3 });
        const say = async (
          owner: Pick<fw.BatchedModel, 'createSession'>,
          prompt: number,
        ): Promise<[number, number][]> => {
          using session = owner.createSession();
          const tokens: [number, number][] = [];
          const options = { maxNewTokens: 9, stopTokens: [], temperature: 0 };
          for await (const { id, logProbability } of session.generate(IDS.slice(0, prompt), options)) {
            tokens.push([id, logProbability]);
          }
          return tokens;
        };
        const prompts = [2, 7, 12, 20];
        const together = await Promise.all(prompts.map((prompt) => say(batch, prompt)));
        expect(batch.numbers.ticks).to.be.lessThan(4 * 9);
        for (const [i, prompt] of prompts.entries()) {
          const alone = await say(model, prompt);
          expect(together[i].map(([id]) => id)).to.deep.equal(alone.map(([id]) => id));
          alone.forEach(([, p], t) => expect(together[i][t][1]).to.be.closeTo(p, tolerance));
        }
      });
    }

    it(`${name}: long prompts are read whole, short ones in pieces`, async () => {
      const model = make(config);
      expect(model.divisibleLength).to.equal(LENGTH);
      const lengthsOf = async (tokens: number): Promise<number[]> => {
        const lengths: number[] = [];
        const counting = Object.create(model, {
          promptSlice: { value: 3 },
          stages: {
            value: (ids: fw.Tensor, state: never) => {
              lengths.push(ids.shape[1] ?? 1);
              return model.stages(ids, state);
            },
          },
        }) as typeof model;
        using session = new fw.Session(counting);
        await session.read(IDS.slice(0, tokens));
        return lengths;
      };
      expect(await lengthsOf(LENGTH)).to.deep.equal([3, 3, 2]);
      expect(await lengthsOf(LENGTH + 1)).to.deep.equal([LENGTH + 1]);
      const embedding = await model.embed(IDS.slice(0, 20), { pooling: 'last', normalize: false });
      const ids = fw.tensor([IDS.slice(0, 20)], { dtype: 'int32', device: 'js' });
      const hidden = fw.noGrad(() => model.model.forward(ids).output.slice(1, -1).dataSync());
      expectClose('embedding', Array.from(embedding), Array.from(hidden), 1e-6);
    });

    it(`${name}: nothing of a prefix cache goes into a long prompt`, async () => {
      const model = make(config);
      using cache = new fw.PrefixCache(model, { maxBytes: 1e6, every: 4 });
      const after = async (tokens: number): Promise<[number[], fw.PrefixUse]> => {
        using session = model.createSession({ prefixCache: cache });
        const logits = await session.read(IDS.slice(0, tokens));
        return [Array.from(await logits.data()), session.prefix!];
      };
      await after(LENGTH);
      const [, short] = await after(LENGTH);
      expect(short).to.include({ reusedTokens: LENGTH, reason: null });
      const [logits, long] = await after(20);
      expect(long).to.include({ promptTokens: 20, reusedTokens: 0, reason: 'whole' });
      expectClose('logits', logits, logitsAfter(model, 20), 1e-12);
    });

    it(`${name}: guessing changes no token on the way beyond the length`, async () => {
      const model = make(config);
      fw.manualSeed(3);
      const wrong = new fw.models.LlamaForCausalLM({ ...base, initializer_range: 1 }, exact);
      const text = async (prompt: number[], speculate?: fw.SpeculateOptions): Promise<[number, number][]> => {
        using session = model.createSession();
        const tokens: [number, number][] = [];
        const options = { maxNewTokens: 16, temperature: 0, stopTokens: [], speculate };
        for await (const { id, logProbability } of session.generate(prompt, options)) tokens.push([id, logProbability]);
        return tokens;
      };
      for (const prompt of [
        [1, 2],
        [1, 2, 1],
        [1, 2, 1, 2],
      ]) {
        const plain = await text(prompt);
        for (const guesser of ['ngram', wrong] as const) {
          const guessed = await text(prompt, { guesser, maxGuesses: 2 });
          guessed.forEach(([id, logProbability], i) => {
            expect(id).to.equal(plain[i][0]);
            expect(logProbability).to.be.closeTo(plain[i][1], 1e-10);
          });
        }
      }
    });
  }

  it('takes the length that a file gives at top level before that of its section', () => {
    const { rope_parameters, max_position_embeddings } = longrope;
    const at = (length: number): object => ({
      rope_parameters: { ...rope_parameters, original_max_position_embeddings: length },
    });
    const json = { ...base, max_position_embeddings, original_max_position_embeddings: LENGTH, ...at(2 * LENGTH) };
    const { attention } = new fw.models.LlamaForCausalLM(new PublishedConfiguration(json), exact).config;
    expect(attention).to.deep.equal(make({ ...longrope, ...at(LENGTH) }).config.attention);
    expect(attention).to.not.deep.equal(make({ ...longrope, ...at(2 * LENGTH) }).config.attention);
  });

  it('refuses factors that are not those of the pairs', () => {
    const refused: [object, RegExp][] = [
      [{ short_factor: [1, 2, 3] }, /short_factor must be a list of 4 numbers above 0, got \[1, 2, 3\]/],
      [{ long_factor: null }, /long_factor must be a list of 4 numbers above 0/],
      [{ long_factor: [1, 0, 1, 1] }, /long_factor must be a list of 4 numbers above 0, got \[1, 0, 1, 1\]/],
      [{ original_max_position_embeddings: 1 }, /original_max_position_embeddings must be a whole number >= 2, got 1/],
    ];
    for (const [section, message] of refused) {
      const rope_parameters = { ...longrope.rope_parameters, ...section };
      expectError('INVALID_ARGUMENT', message, () => make({ ...longrope, rope_parameters }));
    }
    expectError('UNSUPPORTED', /rope_type "su" is not supported/, () => make({ rope_parameters: { rope_type: 'su' } }));
  });
});
