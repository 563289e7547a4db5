// `generate` with a published kind of tokenizer: what it writes is the text of all ids.
import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fw from '../../lib';
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
});
