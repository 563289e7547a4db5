// Every model family in a batch: the same bits as alone, whoever joins, leaves, forks or is broken off.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { HostRandom } from '../../../lib/core';
import { tensorsOf } from '../../../lib/inference';
import { withoutZeros } from '../../support/withoutZeros';

const VOCABULARY = 29;
const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));

/** Families, and layers that they have only when asked. */
const VARIANTS: [title: string, family: fw.ModelName, extra: Partial<fw.CreateOptions>][] = [
  ...fw.models.modelFamilies.map(({ name }): (typeof VARIANTS)[number] => [name, name, {}]),
  ['gated-deltanet, hybrid', 'gated-deltanet', { attn: { layers: [1], num_heads: 2, window_size: 5 } }],
  ['rodimus plus', 'rodimus', { blockType: 'rodimus_plus', skaAttn: { num_heads: 2, window_size: 5 } }],
  ['rwkv6, hybrid', 'rwkv6', { attn: { layers: [0], num_heads: 2 } }],
  ['hqlt, delayed chunk', 'hqlt', { attnMode: 'chunk', chunkSize: 6, useShortConv: true }],
  ['transformer, partial rotary', 'transformer', { partialRotaryFactor: 0.5, headDim: 8, numKeyValueHeads: 1 }],
];

function make(family: fw.ModelName, extra: Partial<fw.CreateOptions>, device: fw.Device): fw.models.CausalLM {
  fw.manualSeed(7);
  const sizes = { vocabSize: VOCABULARY, hiddenSize: 24, numLayers: 2, numHeads: 2, intermediateSize: 32 };
  return withoutZeros(fw.createModel(family, { ...sizes, initializerRange: 0.2, device, ...extra })).eval();
}

/** What a conversation says, with how probable each token was. */
type Said = [id: number, logProbability: number][];

async function say(session: fw.Session, prompt: number[], seed: number, length: number): Promise<Said> {
  const said: Said = [];
  const options = { maxNewTokens: length, seed, temperature: 1, stopTokens: [] };
  for await (const { id, logProbability } of session.generate(prompt, options)) said.push([id, logProbability]);
  return said;
}

/** Two turns, with a fork between them that says something else. */
async function converse(session: fw.Session, seed: number): Promise<Said> {
  const random = new HostRandom(seed);
  const ids = (count: number): number[] => Array.from({ length: count }, () => random.below(VOCABULARY));
  const first = await say(session, ids(1 + random.below(9)), seed, 1 + random.below(4));
  using fork = session.fork();
  const turns = Promise.all([say(session, ids(random.below(3)), seed + 1, 3), say(fork, [], seed + 2, 2)]);
  return [...first, ...(await turns).flat()];
}

describe('the stages of a step', () => {
  for (const family of ['gated-deltanet', 'transformer', 'lstm', 'rwkv7', 'falcon-h1'] as const) {
    it(`${family}: leave the state, which changes in place, to its owner`, () => {
      const model = make(family, {}, available[0]);
      const state = fw.noGrad(() => model.initialState(2));
      const own = new Set<fw.Tensor>();
      const yielded: fw.Tensor[] = [];
      fw.noGrad(() =>
        fw.scope(() => {
          const ids = fw.tensor([1, 2], { dtype: 'int32', device: model.device });
          const stages = model.stages(ids, state);
          for (let next = stages.next(); !next.done; next = stages.next()) yielded.push(...tensorsOf(next.value));
          for (const t of tensorsOf(state)) own.add(t);
        }),
      );
      expect(yielded.filter((t) => own.has(t))).to.eql([]);
      model.dispose();
    });
  }
});

/** On `js`, whose kernels are one, a family of each form of state. */
const ON_JS = [
  'retnet',
  'deltanet',
  'srwm',
  'rwkv7',
  'log-linear-mamba2',
  'falcon-h1',
  'titans',
  'hqlt',
  'kimi-linear',
  'lstm',
];

for (const device of available) {
  describe(`the same bits in a batch as alone on ${device}`, () => {
    for (const [title, family, extra] of VARIANTS) {
      if (device === 'js' && !ON_JS.includes(title)) continue;
      it(title, async () => {
        const model = make(family, extra, device);
        const seeds = Array.from({ length: 4 }, (_, i) => 100 * i);
        const alone: Said[] = [];
        for (const seed of seeds) {
          using session = model.createSession();
          alone.push(await converse(session, seed));
        }
        using batch = new fw.BatchedModel(model, { maxBatch: 3 });
        const random = new HostRandom(5);
        const together = await Promise.all(
          seeds.map(async (seed) => {
            using session = batch.createSession();
            for (let turns = random.below(4); turns > 0; turns--) await new Promise(setImmediate);
            return await converse(session, seed);
          }),
        );
        expect(together).to.eql(alone);
        expect(batch.numbers.tokens).to.be.greaterThan(batch.numbers.ticks);
        model.dispose();
      });
    }
  });
}
