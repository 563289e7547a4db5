// Tokens whose calls are made again, which a card starts as a graph: the same bits as call by call, and the same errors.
import { expect } from 'chai';
import path from 'node:path';
import { LIBRARY } from '../support/library';
import { describeEmulated, onCard } from './support';

interface Written {
  values: number[];
  graphs: number;
  live: number[];
}

const ADDON = `
  const addon = require(require('node:path').resolve('build-emulation/fast_weights_emulation.node'));
  const { getBackend } = require(${JSON.stringify(path.join(path.dirname(LIBRARY), 'backends'))});
  fw.setChecks(false);`;

/** Writes a text with a small model and prints the probabilities of its tokens, and what the card holds before and after. */
const writing = (family: string, options = '{}'): string => `${ADDON}
  (async () => {
    fw.manualSeed(3);
    const sizes = { vocabSize: 23, hiddenSize: 16, numLayers: 2, numHeads: 2, intermediateSize: 16, initializerRange: 0.3 };
    const model = fw.createModel('${family}', { ...sizes, ...${options} }).eval();
    const live = [];
    const write = async () => {
      const values = [];
      const plan = { maxNewTokens: 12, stopTokens: [], temperature: 1, seed: 5 };
      for await (const { id, logProbability } of model.generate([1, 2, 3], plan)) values.push(id, logProbability);
      live.push(addon.memoryUsage().live);
      return values;
    };
    const values = await write();
    await write();
    console.log(JSON.stringify({ values, graphs: addon.emulation.graphs(), live }));
  })();`;

/** Looks rows up, then does some arithmetic: the first is called, the others are started as a graph. */
const lookingUp = `${ADDON}
  const read = (tensor) => { try { return tensor.dataSync()[0]; } catch (error) { return error.code + ': ' + error.message; } };
  const ids = fw.tensor([1, 2], { dtype: 'int32' }), table = fw.arange(0, 10, 1, { dtype: 'float32' }).reshape([5, 2]);
  const run = () => fw.noGrad(() => fw.scope(() => fw.embedding(table, ids).add(1).mul(2).sub(3).mul(5).add(7)));
  const { value, recording } = getBackend('cuda-emulation').record(run);
  const found = [[1, 2], [3, 4], [0, 9], [4, 1]].map((given) => {
    ids.storage.memory.write(ids.storage.handle, 0, Int32Array.from(given));
    recording.again();
    value.storage.version++;
    return read(value);
  });
  recording.dispose();
  console.log(JSON.stringify({ found, graphs: addon.emulation.graphs() }));`;

/** Two threads that write at once, on the same card. */
const inTwoThreads = `
  const { Worker, isMainThread } = require('node:worker_threads');
  const source = ${JSON.stringify(writing('gated-deltanet'))};
  const text = "require('tsx/cjs/api').register(); const fw = require(" + ${JSON.stringify(JSON.stringify(LIBRARY))} + ');' + source;
  for (let i = 0; i < 2; i++) new Worker(text, { eval: true });`;

async function printed<T>(source: string, card = '', env: NodeJS.ProcessEnv = {}): Promise<T[]> {
  const { stdout, stderr } = await onCard(source, card, env);
  expect(stderr).to.equal('');
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
}

describeEmulated('calls that a card starts as a graph', function () {
  this.timeout(120_000);

  for (const [family, options] of [
    ['gated-deltanet', '{}'],
    ['mamba2', '{}'],
    ['kda', "{ dtype: 'bfloat16' }"],
    // Calls that grow with the text stand between its graphs.
    ['transformer', '{}'],
  ]) {
    it(`${family} ${options}: the bits of calls, and memory that comes back`, async () => {
      const source = writing(family, options);
      const [[graphs], [calls], [refused]] = await Promise.all([
        printed<Written>(source),
        printed<Written>(source, '', { FAST_WEIGHTS_CUDA_GRAPHS: 'off' }),
        printed<Written>(source, 'failCapture'),
      ]);
      // Of twelve tokens, the first follow the prompt and show that the state stays.
      expect(graphs.graphs).to.be.at.least(12);
      expect([calls.graphs, refused.graphs]).to.deep.equal([0, 0]);
      expect(graphs.values).to.deep.equal(calls.values);
      expect(refused.values).to.deep.equal(calls.values);
      expect(graphs.live[1]).to.equal(graphs.live[0]);
      expect(graphs.live[0]).to.equal(calls.live[0]);
    });
  }

  it('an index outside its table is told by what depends on it, and by that alone', async () => {
    const [{ found, graphs }] = await printed<{ found: (number | string)[]; graphs: number }>(lookingUp);
    // Each row's first number x becomes ((x + 1) * 2 - 3) * 5 + 7.
    const of = (x: number): number => ((x + 1) * 2 - 3) * 5 + 7;
    expect([found[0], found[1], found[3]]).to.deep.equal([of(2), of(6), of(8)]);
    expect(found[2]).to.match(/^INVALID_ARGUMENT: embedding: indices .*9/s);
    expect(graphs).to.be.greaterThan(1);
  });

  it('two threads capture and start theirs beside each other', async () => {
    const [first, second] = await printed<Written>(inTwoThreads);
    const [{ values }] = await printed<Written>(writing('gated-deltanet'));
    expect(first.values).to.deep.equal(values);
    expect(second.values).to.deep.equal(values);
  });
});
