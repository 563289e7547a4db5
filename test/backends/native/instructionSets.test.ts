// Every instruction set that the processor has beside the one that all tests run with: the kernel tests run again in a
// process that is forced to it.
import { expect } from 'chai';
import { devices } from '../../../lib';
import { finish, runSource, start } from '../../support/child';

const SETS = ['portable', 'avx2', 'avx512', 'neon'];

/** Together they run every kernel of the table. */
const FILES = ['rules/{conformance,steps,sequential,testTime,baselines}', 'ops/*', 'optim/optim', 'nn/module'].map(
  (f) => `test/${f}.test.ts`,
);

const cpu = devices().find((d) => d.device === 'cpu' && d.available);

if (cpu) {
  describe('instruction sets', () => {
    for (const set of SETS.filter((name) => !cpu.name.endsWith(`(${name})`))) {
      it(`${set}: kernels on cpu`, async function () {
        this.timeout(240_000);
        const { stdout: name } = await runSource(`console.log(JSON.stringify(fw.loadAttempts()))`, {
          FAST_WEIGHTS_ISA: set,
        });
        const attempts = JSON.parse(name) as { step: string; ok: boolean; reason?: string }[];
        if (!attempts.some((a) => a.step !== 'js' && a.ok)) {
          const reason = attempts.map((a) => a.reason ?? '').join(' ');
          expect(reason, 'a set that the processor lacks is refused with its name').to.include(set);
          return;
        }
        const mocha = require.resolve('mocha/bin/mocha.js');
        const result = await finish(
          start([mocha, '--reporter=dot', '--grep= on js', '--invert', ...FILES], { FAST_WEIGHTS_ISA: set }),
        );
        expect(result.code, result.stdout.slice(-3000)).to.equal(0);
        expect(result.stdout).to.match(/\d+ passing/);
      });
    }
  });
}
