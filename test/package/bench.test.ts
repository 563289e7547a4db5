// `npm run bench`: what can be measured, and what it says where there is nothing to measure on.
import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { root, run, succeed } from './sandbox';

const MAIN = ['--import=tsx', 'bench/main.ts'];

describe('bench', function () {
  this.timeout(60_000);

  it('lists suites and cases', () => {
    const help = succeed(root, process.execPath, [...MAIN, '--help']);
    for (const suite of ['cpu', 'cuda', 'serve']) expect(help).to.match(new RegExp(`^ +${suite} \\[options\\] `, 'm'));
    for (const name of ['decode/delta/d64', 'step/delta/4096', 'forward-backward/kda/8x4096/d128', 'launch/queued'])
      expect(help).to.include(`  ${name}\n`);
  });

  it('fails without a card and says what is missing', function () {
    if (existsSync('/dev/nvidiactl')) this.skip();
    const { status, output } = run(root, process.execPath, [...MAIN, 'cuda', '--quick']);
    expect(status, output).to.equal(1);
    expect(output).to.match(/^no card to measure: cuda package: /m);
  });
});
