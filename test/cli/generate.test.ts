// `generate` with a published kind of tokenizer: what it writes is the text of all ids.
import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fw from '../../lib';
import { generateCommand } from '../../lib/cli/generate';
import { run } from './run';

const TOKENS = ['<s>', '</s>', '\u2581On', 'ce', '\u2581upon', '\u2581', '<0xC3>', '<0xA9>', '!', '<end>'];
const [BOS, EOS, END] = ['<s>', '</s>', '<end>'].map((token) => TOKENS.indexOf(token));
const WIDTH = 32;

/** A model that answers each token of the chain with the next one. */
async function saveChain(dir: string, chain: readonly number[], eosTokenId: number): Promise<void> {
  const sizes = { vocabSize: TOKENS.length, hiddenSize: WIDTH, numLayers: 1, numHeads: 1, intermediateSize: 16 };
  const model = fw.createModel('transformer', { ...sizes, eosTokenId, device: 'js' });
  const one = (row: (id: number) => number): fw.Tensor => {
    const data = new Float32Array(TOKENS.length * WIDTH);
    for (let id = 0; id < TOKENS.length; id++) if (row(id) >= 0) data[id * WIDTH + row(id)] = 1;
    return fw.tensor(data, { shape: [TOKENS.length, WIDTH], device: 'js' });
  };
  fw.scope(() => {
    const weights = Object.entries(model.stateDict()).map(([name, weight]) => {
      if (name === 'model.embed_tokens.weight') return [name, one((id) => id)] as const;
      if (name === 'lm_head.weight') return [name, one((id) => chain[chain.indexOf(id) - 1] ?? -1)] as const;
      return [name, name.endsWith('norm.weight') ? weight : weight.mul(0)] as const;
    });
    model.loadStateDict(Object.fromEntries(weights));
  });
  await model.savePretrained(dir);
  model.dispose();
}

describe('generate', function () {
  this.timeout(30_000);
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'fast-weights-generate-'));
    const definition = {
      version: '1.0',
      added_tokens: [
        { id: BOS, content: '<s>', special: true },
        { id: EOS, content: '</s>', special: true },
        { id: END, content: '<end>', special: false },
      ],
      normalizer: { type: 'Prepend', prepend: '\u2581' },
      pre_tokenizer: null,
      post_processor: null,
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: {
        type: 'BPE',
        vocab: Object.fromEntries([...TOKENS, 'O', 'n', '\u2581O'].map((token, id) => [token, id])),
        merges: ['\u2581 O', '\u2581O n'],
      },
    };
    writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify(definition));
    writeFileSync(join(dir, 'tokenizer_config.json'), '{}');
  });
  after(() => rmSync(dir, { recursive: true }));

  for (const end of [EOS, END]) {
    it(`goes on behind the prompt and ends before ${TOKENS[end]}`, async () => {
      const chain = ['\u2581On', 'ce', '\u2581upon', '\u2581', '<0xC3>', '<0xA9>', '!'].map((t) => TOKENS.indexOf(t));
      await saveChain(dir, [...chain, end], end);
      const { code, out, err } = await run('generate', '--checkpoint', dir, '--prompt', 'On', '--temperature', '0');
      expect(code, err).to.equal(0);
      expect(out).to.equal('Once upon \u00e9!\n');
    });
  }

  describe('of a short chain', () => {
    const ids = ['\u2581On', 'ce', '\u2581upon', '!'].map((t) => TOKENS.indexOf(t));
    before(() => saveChain(dir, ids, EOS));
    const written = async (...args: string[]): Promise<string> => {
      const { code, out, err } = await run('generate', '--checkpoint', dir, '--prompt', 'On', ...args);
      expect(code, err).to.equal(0);
      return out;
    };
    const greedy = ['--temperature', '0', '--max-tokens', '3'];

    it('ends before a stop string', async () => {
      expect(await written(...greedy, '--stop', 'n!', '--stop', 'zz')).to.equal('Once upo\n');
    });

    it('takes penalties and a bias', async () => {
      // The chain's next token has a logit of 5.7, the others 0.
      expect(await written(...greedy, '--logit-bias', `${ids[2]}=-Infinity`)).to.equal('Once\n');
      const more = [...greedy, '--max-tokens', '9', '--logit-bias', `${ids[3]}=9`];
      expect(await written(...more, '--frequency-penalty', '4')).to.equal('On!!!\n');
      expect(await written(...more, '--presence-penalty', '10')).to.equal('On!\n');
      const again = [...greedy, '--logit-bias', `${ids[0]}=20`];
      expect(await written(...again)).to.equal('On On On On\n');
      expect(await written(...again, '--repetition-penalty', '1e9')).to.equal('Once upon!\n');
    });

    it('writes several samples, and filters leave nothing but the chain', async () => {
      const filters = ['--min-p', '1', '--typical-p', '0.9', '--top-p', '0.99', '--top-k', '4'];
      const out = await written('--samples', '2', '--max-tokens', '3', '--seed', '4', ...filters);
      expect(out).to.equal('--- 1 of 2 ---\nOnce upon!\n--- 2 of 2 ---\nOnce upon!\n');
    });

    it('writes the same with guesses, and says how many were right', async () => {
      const more = ['--temperature', '0', '--max-tokens', '9', '--logit-bias', `${ids[0]}=20`];
      const guessing: [string[], RegExp][] = [
        [['--speculate'], /^9 tokens, [1-9] of [1-9] guesses right, in /m],
        [['--draft', dir], /^9 tokens, 0 of 0 guesses right, in /m],
      ];
      for (const [flags, told] of guessing) {
        const { code, out, err } = await run('generate', '--checkpoint', dir, '--prompt', 'On', ...more, ...flags);
        expect([code, out]).to.eql([0, `On${' On'.repeat(9)}\n`]);
        expect(err).to.match(told);
      }
      const both = await run('generate', '--checkpoint', dir, '--speculate', '--draft', dir);
      expect(both.err).to.match(/'--speculate' cannot be used with option '--draft/);
    });

    it('writes the same from quantised weights', async () => {
      for (const weights of ['bfloat16', 'int8']) {
        expect(await written(...greedy, '--weights', weights), weights).to.equal('Once upon!\n');
      }
    });

    it('writes tokens with their log-probabilities as lines of JSON', async () => {
      const out = await written('--temperature', '0', '--max-tokens', '2', '--top-logprobs', '2');
      const tokens = out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as fw.GeneratedToken);
      expect(tokens.map(({ id, text }) => [id, text])).to.eql([
        [ids[1], 'ce'],
        [ids[2], ' upon'],
      ]);
      for (const { id, logProbability, topLogprobs } of tokens) {
        expect(topLogprobs).to.have.lengthOf(2);
        expect(topLogprobs![0]).to.eql({ id, logProbability });
      }
    });

    it('refuses what is no value of a flag', async () => {
      for (const [flag, value] of [
        ['--min-p', '1.5'],
        ['--typical-p', '0'],
        ['--repetition-penalty', '0'],
        ['--presence-penalty', 'much'],
        ['--frequency-penalty', 'Infinity'],
        ['--logit-bias', '3'],
        ['--logit-bias', '3=1,3=2'],
        ['--stop', ''],
        ['--samples', '0'],
        ['--weights', 'int4'],
        ['--top-logprobs', '-1'],
      ]) {
        const command = generateCommand()
          .exitOverride()
          .configureOutput({ writeErr: () => undefined });
        const refused: unknown = await command.parseAsync(['--checkpoint', dir, flag, value], { from: 'user' }).then(
          () => undefined,
          (error: unknown) => error,
        );
        expect((refused as Error | undefined)?.message, `${flag} ${value}`).to.match(
          new RegExp(`'${flag} .* is invalid`),
        );
      }
    });

    it('refuses by its flag what the model cannot do, and prints nothing else', async () => {
      const wrong = [
        [2, '--logit-bias', ['99=1']],
        [2, '--top-logprobs', ['300']],
        [2, '--seed', ['9007199254740991', '--samples', '2']],
        [1, '--checkpoint', [join(dir, 'none')]],
        [1, '--checkpoint', [join(dir, 'tokenizer.json')]],
      ] as const;
      for (const [expected, flag, values] of wrong) {
        const { code, out, err } = await run('generate', '--checkpoint', dir, '--prompt', 'On', flag, ...values);
        expect([code, out], flag).to.eql([expected, '']);
        expect(err.trimEnd(), flag).to.match(new RegExp(`^error: ${flag} must be .*$`));
      }
    });
  });
});
