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
  const row = (width) => fw.rand([B, T, 2, width], { low: -0.3, high: 0.3, requiresGrad: true });
  const gate = (...shape) => fw.rand([B, T, 2, ...shape], { low: -0.1, high: 0, requiresGrad: true });
  const given = ${options};
  const { width = 8, dtype = 'float32' } = given;
  const rows = [row(width), row(width), row(width)];
  const [q, k, v] = rows.map((t) => t.to(dtype));
  const initialState = fw.rand([N, 2, width, width], { low: -0.3, high: 0.3, requiresGrad: true });
  const inputs = { q, k, v, beta: fw.rand([B, T, 2], { requiresGrad: true }), ...given.inputs };
  const hash = (t) => createHash('sha1').update(new Uint8Array(t.dataSync().buffer)).digest('hex');
  const run = () => fw.recurrence(inputs, { initialState, outputFinalState: true, cuSeqlens, ...given.options });
  const before = addon.memoryUsage().live;
  const { output, finalState } = run();
  const forward = addon.memoryUsage().peak - before;
  output.to('float32').square().sum().add(finalState.sum()).backward();
  const leaves = [...rows, initialState, ...Object.values(inputs)].filter((t) => t.grad);
  const results = [output, finalState, ...leaves.map((t) => t.grad)].map(hash);
  console.log(JSON.stringify({ results, forward }));`;

const SHAPES: Record<string, string> = {
  'two sequences': '{ B: 2, T: 260, N: 2 }',
  'packed sequences, some empty': '{ B: 1, T: 603, N: 7, cuSeqlens: [0, 0, 200, 205, 205, 450, 603, 603] }',
};
const RULES: Record<string, string> = {
  'gated delta rule': "{ inputs: { gate: gate() }, options: { eraseFrom: 'decayed' } }",
  'two writes':
    "{ inputs: { gate: gate(8), eraseKey: row(8), writeKey: row(8) }, options: { eraseFrom: 'undecayed', secondWrite: true } }",
  'gated delta rule in bfloat16':
    "{ inputs: { gate: gate() }, options: { eraseFrom: 'decayed' }, width: 64, dtype: 'bfloat16' }",
  'exchanged read': "{ inputs: { valueGate: gate(8) }, options: { eraseFrom: 'decayed' } }",
};

describeEmulated('scratch memory of the recurrence', function () {
  this.timeout(60_000);

  for (const [shape, sizes] of Object.entries(SHAPES)) {
    for (const [rule, options] of Object.entries(RULES)) {
      it(`${rule}, ${shape}: little of it gives the same bits`, async () => {
        const cards = [1024, options.includes('width: 64') ? 8 : 5].map((size) => `memory=${size * MiB}`);
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
