// `npm run gpu-check` on a machine without a GPU: it says so, and on another device does what it would do on one.
import { expect } from 'chai';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { readJson, root, run, temporaryFolder } from './sandbox';

interface Result {
  status: string;
  passed: number;
  failures: { title: string }[];
}

describe('gpu-check', function () {
  this.timeout(60_000);
  const at = temporaryFolder();
  const check = (...args: string[]) => run(root, 'node', ['scripts/gpu-check.mjs', `--out=${at()}`, ...args]);

  it('fails without a GPU and says what is missing', function () {
    if (existsSync('/dev/nvidiactl')) this.skip();
    const { status, output } = check();
    expect(status, output).to.equal(1);
    expect(output).to.match(/no GPU: the cuda device is not available\ndriver: .*\ncuda package: /);
  });

  it('refuses what would change its numbers', () => {
    const { status, output } = run(root, 'env', [
      'NVIDIA_TF32_OVERRIDE=1',
      'node',
      'scripts/gpu-check.mjs',
      '--device=js',
    ]);
    expect(status, output).to.equal(1);
    expect(output).to.match(/NVIDIA_TF32_OVERRIDE=1 makes NVIDIA's libraries round float32 to TF32: unset it/);
  });

  it('runs as many processes of tests as cores and the memory of the card allow', async () => {
    const { jobsFor } = (await import(path.join(root, 'scripts/gpu-check.mjs'))) as {
      jobsFor(cores: number, free?: number): number;
    };
    expect([jobsFor(1), jobsFor(12), jobsFor(64)]).to.deep.equal([1, 6, 8]);
    expect([4, 11, 80].map((gibibytes) => jobsFor(64, gibibytes * 2 ** 30))).to.deep.equal([1, 3, 8]);
  });

  it('writes the result of each step, and does none twice', () => {
    const steps = ['--device=js', '--only=conformance-ops-indices'];
    const first = check(...steps);
    expect(first.status, first.output).to.equal(0);
    const { passed, ...result } = readJson<Result>(at('conformance-ops-indices.json'));
    expect(result).to.include({ status: 'passed' });
    expect(passed).to.be.greaterThan(5);
    expect(readJson<{ results: object }>(at('summary.json')).results).to.have.all.keys('conformance-ops-indices');
    expect(first.output).not.to.include('(earlier)');
    expect(check(...steps).output).to.match(/conformance-ops-indices: passed, .* \(earlier\)/);
  });

  it('stops when the time is over', () => {
    const { status, output } = check('--device=js', '--only=conformance-rules', '--minutes=0');
    expect(status, output).to.equal(2);
    expect(output).to.include('conformance-rules-golden: not run, no time was left');
  });
});
