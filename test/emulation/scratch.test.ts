// The recurrence on a card that is too small for the scratch memory of all chunks at once: it takes them in groups, and
// the result has the same bits.
import { expect } from 'chai';
import { describeEmulated, onCard } from './support';

const MiB = 1 << 20;

/** Prints hashes of the results and gradients of a rule over long, ragged sequences, and the most scratch it took. */
const source = (shape: string, options: string): string => `
  const { createHash } = require('node:crypto');
  const addon = require(require('node:path').resolve('build-emulation/fast_weights_emulation.node'));
  fw.manualSeed(1);
  const { B, T, N, cuSeqlens } = ${shape};
  const draw = (...shape) => fw.rand(shape, { low: -0.3, high: 0.3, requiresGrad: true });
  const row = (width) => draw(B, T, 2, width);
  const gate = (...shape) => fw.rand([B, T, 2, ...shape], { low: -0.1, high: 0 });
  const [q, k, v, beta] = [row(8), row(8), row(8), fw.rand([B, T, 2])];
  const initialState = draw(N, 2, 8, 8);
  const inputs = { q, k, v, beta, ...${options}.inputs };
  const hash = (t) => createHash('sha1').update(new Uint8Array(t.dataSync().buffer)).digest('hex');
  const run = () => fw.recurrence(inputs, { initialState, outputFinalState: true, cuSeqlens, ...${options}.options });
  const before = addon.memoryUsage().live;
  const { output, finalState } = run();
  const forward = addon.memoryUsage().peak - before;
  output.square().sum().add(finalState.sum()).backward();
  const results = [output, finalState, ...[q, k, v, initialState].map((t) => t.grad)].map(hash);
  console.log(JSON.stringify({ results, forward }));`;

const SHAPES: Record<string, string> = {
  'two sequences': '{ B: 2, T: 260, N: 2 }',
  'packed sequences, some empty': '{ B: 1, T: 603, N: 7, cuSeqlens: [0, 0, 200, 205, 205, 450, 603, 603] }',
};
const RULES: Record<string, string> = {
  'gated delta rule': "{ inputs: { gate: gate() }, options: { eraseFrom: 'decayed' } }",
  'two writes':
    "{ inputs: { gate: gate(8), eraseKey: row(8), writeKey: row(8) }, options: { eraseFrom: 'undecayed', secondWrite: true } }",
  'exchanged read': "{ inputs: { valueGate: gate(8) }, options: { eraseFrom: 'decayed' } }",
};

describeEmulated('scratch memory of the recurrence', function () {
  this.timeout(60_000);

  for (const [shape, sizes] of Object.entries(SHAPES)) {
    for (const [rule, options] of Object.entries(RULES)) {
      it(`${rule}, ${shape}: little of it gives the same bits`, async () => {
        const cards = [`memory=${1024 * MiB}`, `memory=${5 * MiB}`];
        const runs = await Promise.all(cards.map((card) => onCard(source(sizes, options), card)));
        const [large, small] = runs.map(({ stdout, stderr }) => {
          expect(stderr).to.equal('');
          return JSON.parse(stdout) as { results: string[]; forward: number };
        });
        expect(small.results).to.deep.equal(large.results);
        expect(small.forward).to.be.lessThan(large.forward);
      });
    }
  }
});
