// What published model folders really hold, read as transformers reads it.
import { expect } from 'chai';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fw from '../../lib';
import { rejection } from '../io/folder';

type Model = fw.models.CausalLM;

const EMBEDDING = 'model.embed_tokens.weight';
const HEAD = 'lm_head.weight';
const CONFIG = {
  model_type: 'llama',
  vocab_size: 24,
  hidden_size: 16,
  num_attention_heads: 2,
  num_hidden_layers: 1,
  intermediate_size: 16,
  initializer_range: 0.3,
  bos_token_id: 1,
  eos_token_id: 2,
  tie_word_embeddings: true,
} as const;

describe('published folders', () => {
  let dir: string;
  let model: Model;
  let weights: Record<string, fw.Tensor>;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fast-weights-published-'));
    fw.manualSeed(3);
    model = fw.AutoModelForCausalLM.fromConfig(CONFIG);
    weights = model.stateDict();
    await model.savePretrained(dir);
  });

  afterEach(async () => {
    model.dispose();
    await rm(dir, { recursive: true });
  });

  const put = (name: string, content: object | string): Promise<void> =>
    writeFile(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));
  const json = async (name: string): Promise<Record<string, unknown>> =>
    JSON.parse(await readFile(join(dir, name), 'utf8')) as Record<string, unknown>;

  /** The folder's model, given to `use`. */
  async function loaded<T>(use: (model: Model) => T | Promise<T>): Promise<T> {
    const found = await fw.AutoModelForCausalLM.fromPretrained(dir);
    try {
      return await use(found);
    } finally {
      found.dispose();
    }
  }

  /** The warnings of what runs meanwhile. */
  async function warnings(run: () => Promise<unknown>): Promise<string[]> {
    const found: string[] = [];
    const listen = ({ name, message }: Error): void => void (name === 'FastWeightsWarning' && found.push(message));
    process.on('warning', listen);
    try {
      await run();
      await new Promise((resolve) => setImmediate(resolve));
      return found;
    } finally {
      process.off('warning', listen);
    }
  }

  async function text(model: Model, options: fw.GenerateOptions): Promise<number[]> {
    const ids: number[] = [];
    for await (const { id } of model.generate([3, 4], { maxNewTokens: 12, ...options })) ids.push(id);
    return ids;
  }

  const logits = (model: Model): ArrayLike<number> =>
    fw.noGrad(() => fw.scope(() => model.forward(fw.tensor([[3, 4, 5]], { dtype: 'int32' })).logits.dataSync()));

  describe('generation_config.json', () => {
    it('names the end tokens, those of the vocabulary alone', async () => {
      const named: [unknown, number[]][] = [
        [
          [2, 7, 9],
          [2, 7, 9],
        ],
        [7, [7]],
        [0, [0]],
        [[7, 24, 128009, -1], [7]],
        [-1, []],
        [[], []],
        [null, [2]],
        [undefined, [2]],
      ];
      for (const [eos_token_id, expected] of named) {
        await put('generation_config.json', { eos_token_id });
        expect(await loaded((m) => m.stopTokens), JSON.stringify(eos_token_id)).to.deep.equal(expected);
      }
      await put('config.json', { ...(await json('config.json')), eos_token_id: [2, 24, -1] });
      await rm(join(dir, 'generation_config.json'));
      expect(await loaded((m) => m.stopTokens)).to.deep.equal([2]);
    });

    it('ends a text at any of them', async () => {
      const whole = await text(model, { stopTokens: [] });
      const last = whole.find((id) => id !== whole[0])!;
      await put('generation_config.json', { eos_token_id: [23, last] });
      const expected = whole.slice(0, whole.indexOf(last) + 1);
      await loaded(async (m) => {
        expect(await text(m, {})).to.deep.equal(expected);
        using session = m.createSession();
        expect(session.stopTokens).to.deep.equal([23, last]);
      });
    });

    it('is kept as it is', async () => {
      const theirs = {
        bos_token_id: 1,
        do_sample: true,
        eos_token_id: [2, 7, 99],
        temperature: 0.6,
        top_p: 0.9,
        repetition_penalty: 1.05,
        transformers_version: '4.45.0.dev0',
      };
      await put('generation_config.json', theirs);
      await loaded((m) => m.savePretrained(dir));
      expect(await json('generation_config.json')).to.deep.equal(theirs);
    });

    it('says how to draw where it says that tokens are drawn, and options go before it', async () => {
      const cases: [file: object, own: fw.GenerateOptions, same: fw.GenerateOptions][] = [
        [{ temperature: 2, top_k: 3, top_p: 0.5 }, {}, { temperature: 0 }],
        [{ do_sample: false, temperature: 2 }, {}, { temperature: 0 }],
        [{ do_sample: true, temperature: 3, top_k: 4, top_p: 0.9 }, {}, { temperature: 3, topK: 4, topP: 0.9 }],
        [{ do_sample: true, top_k: null, top_p: null, temperature: null }, {}, { temperature: 1, topK: 50 }],
        [{ do_sample: true, temperature: 3, top_k: 0, top_p: 1 }, {}, { temperature: 3 }],
        [{ do_sample: true, temperature: 3, top_k: -1, top_p: 1.5 }, {}, { temperature: 3 }],
        [
          { do_sample: true, temperature: 3, top_k: 2 },
          { topK: undefined, temperature: 0.5 },
          { temperature: 0.5, topK: 2 },
        ],
        [{ do_sample: true, temperature: 3 }, { temperature: 0 }, { temperature: 0 }],
        [{ do_sample: true, temperature: 3, min_p: 0.4, top_k: 0 }, {}, { temperature: 3, minP: 0.4 }],
        [{ do_sample: true, temperature: 3, typical_p: 0.3 }, {}, { temperature: 3, topK: 50, typicalP: 0.3 }],
        [{ repetition_penalty: 1.7, min_p: 1 }, {}, { repetitionPenalty: 1.7 }],
        [{ repetition_penalty: 1.7 }, { repetitionPenalty: 1 }, {}],
      ];
      for (const [file, own, same] of cases) {
        await put('generation_config.json', { eos_token_id: [], ...file });
        const found = await loaded((m) => text(m, { seed: 5, ...own }));
        expect(found, JSON.stringify(file)).to.deep.equal(await text(model, { seed: 5, stopTokens: [], ...same }));
      }
    });

    it('is refused by name where it is none', async () => {
      const broken = [
        '{',
        '[1]',
        '{"eos_token_id":"2"}',
        '{"do_sample":1}',
        '{"do_sample":true,"top_p":0}',
        '{"do_sample":true,"top_k":1.5}',
        '{"do_sample":true,"top_k":-2}',
        '{"repetition_penalty":0}',
      ];
      for (const content of broken) {
        await put('generation_config.json', content);
        await rejection(fw.AutoModelForCausalLM.fromPretrained(dir), 'FORMAT', /generation_config\.json/);
      }
    });
  });

  it('end tokens beyond the vocabulary are refused where a program names them', () => {
    for (const eosTokenId of [24, -1, [2, 24], 0.5]) {
      expect(() => fw.createModel('transformer', { vocabSize: 24, hiddenSize: 16, eosTokenId }))
        .to.throw(fw.FastWeightsError, /eos_token_id must be a whole number from 0 to 23/)
        .with.property('code', 'INVALID_ARGUMENT');
    }
  });

  describe('a tied pair', () => {
    const save = (tensors: Record<string, fw.Tensor>): Promise<void> =>
      fw.saveSafetensors(join(dir, 'model.safetensors'), tensors, { format: 'pt' });

    it('may stand under either name, or twice with the same values', async () => {
      const { [EMBEDDING]: embedding, ...others } = weights;
      using narrow = embedding.to('bfloat16');
      using rounded = narrow.to('float32');
      for (const [pair, values] of [
        [{ [HEAD]: embedding }, embedding],
        [{ [EMBEDDING]: embedding, [HEAD]: embedding }, embedding],
        [{ [EMBEDDING]: rounded, [HEAD]: narrow }, rounded],
      ] as const) {
        await save({ ...others, ...pair });
        const said = await warnings(() =>
          loaded((m) => {
            expect(m.namedParameters().map(([name]) => name)).to.deep.equal(Object.keys(weights));
            expect(m.lm_head.weight.dataSync()).to.deep.equal(values.dataSync());
          }),
        );
        expect(said).to.deep.equal([]);
      }
      await save(others);
      await rejection(fw.AutoModelForCausalLM.fromPretrained(dir), 'FORMAT', /without model\.embed_tokens\.weight/);
    });

    it('with two values is not tied, with a warning, and saved that way', async () => {
      using head = weights[EMBEDDING].mul(-2);
      await save({ ...weights, [HEAD]: head });
      const untied = fw.AutoModelForCausalLM.fromConfig({ ...CONFIG, tie_word_embeddings: false });
      untied.loadStateDict({ ...weights, [HEAD]: head });
      const said = await warnings(() =>
        loaded(async (m) => {
          expect(logits(m)).to.deep.equal(logits(untied));
          await m.savePretrained(dir);
        }),
      );
      expect(said).to.have.lengthOf(1);
      expect(said[0])
        .to.include(dir)
        .and.to.match(/ties model\.embed_tokens\.weight and lm_head\.weight, but/);
      expect((await json('config.json')).tie_word_embeddings).to.equal(false);
      expect(await warnings(() => loaded(logits))).to.deep.equal([]);
      untied.dispose();
    });

    it('of which one has another shape or kind of number is refused', async () => {
      for (const head of [fw.zeros([24, 8]), fw.zeros([24, 16], { dtype: 'int32' })]) {
        using other = head;
        await save({ ...weights, [HEAD]: other });
        await rejection(fw.AutoModelForCausalLM.fromPretrained(dir), 'FORMAT', /lm_head\.weight/);
      }
    });
  });

  it('numbers that are written as 1.0 are saved so again, and new ones where they need not be whole', async () => {
    const text = async (name: string): Promise<string> => readFile(join(dir, name), 'utf8');
    const rope = '"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}';
    const more = `"layers": 1, "unknown": [1.0, 2.0], "noise": 0.0, "rms_norm_eps": 1e-5, ${rope}`;
    await put('config.json', `{${more}, ${JSON.stringify(CONFIG).slice(1)}`);
    await put('generation_config.json', { temperature: 1, top_k: 5 });
    await loaded((found) => found.savePretrained(dir));
    const saved = await text('config.json');
    for (const part of ['"layers": 1,', '"noise": 0.0,', '"rope_theta": 10000.0,', '"vocab_size": 24,']) {
      expect(saved).to.include(part);
    }
    expect(saved).to.match(/"unknown": \[\s*1\.0,\s*2\.0\s*\]/);
    expect(await text('generation_config.json'))
      .to.include('"temperature": 1.0,')
      .and.to.include('"top_k": 5');
    const sizes = {
      hiddenSize: 16,
      numHeads: 2,
      numLayers: 1,
      vocabSize: 8,
      mambaExpand: 2,
      keyMultiplier: 1,
    } as const;
    const falcon = fw.createModel('falcon-h1', sizes);
    await falcon.savePretrained(dir);
    falcon.dispose();
    expect(await text('config.json'))
      .to.include('"key_multiplier": 1.0,')
      .and.to.include('"mamba_expand": 2,');
  });

  it('a byte order mark in front of any JSON file is no part of it', async () => {
    await model.savePretrained(dir, { maxShardBytes: 2000 });
    await fw.saveTokenizer(dir, fw.byteTokenizer());
    const files = [
      'config.json',
      'generation_config.json',
      'model.safetensors.index.json',
      'fast_weights_tokenizer.json',
    ];
    for (const name of files) await put(name, `\ufeff${await readFile(join(dir, name), 'utf8')}`);
    expect(await loaded(logits)).to.deep.equal(logits(model));
    expect((await fw.loadTokenizer(dir)).kind).to.equal('byte');
    // Other encodings are refused, and not read with other characters in place of theirs.
    await writeFile(join(dir, 'config.json'), Buffer.from(`\ufeff${JSON.stringify(CONFIG)}`, 'utf16le'));
    await rejection(fw.AutoModelForCausalLM.fromPretrained(dir), 'FORMAT', /config\.json must be UTF-8/);
  });
});
