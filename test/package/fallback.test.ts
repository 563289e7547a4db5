// A machine without a compiler, and native addons that cannot be used: the library says why and computes on `js`.
import { expect } from 'chai';
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { KERNELS } from '../../lib/backends';
import {
  copyTree,
  linkModules,
  run,
  succeed,
  temporaryFolder,
  TRAIN_ONE_STEP,
  type Training,
  training,
} from './sandbox';

describe('without a compiler', function () {
  this.timeout(60_000);
  const at = temporaryFolder();
  const tools = (): string => at('bin');
  const build = () => run(at('tree'), 'node', ['scripts/build.mjs'], { PATH: tools(), CXX: '', PYTHON: '' });

  before(() => {
    mkdirSync(at('tree'));
    mkdirSync(tools());
    symlinkSync(process.execPath, path.join(tools(), 'node'));
    // dist last: it is newer than what it was compiled from.
    copyTree(at('tree'), ['package.json', 'tsconfig.json', 'binding.gyp', 'lib', 'native', 'scripts', 'dist']);
    linkModules(at('tree'));
  });

  function pretend(tool: string): void {
    writeFileSync(path.join(tools(), tool), '#!/bin/sh\nexit 0\n');
    chmodSync(path.join(tools(), tool), 0o755);
  }

  function train(settings: Record<string, string> = {}): Training {
    const program = `const fw = require('fast-weights');${TRAIN_ONE_STEP}`;
    return training(succeed(at('tree'), 'node', ['-e', program], { PATH: tools(), ...settings }));
  }

  function refused(settings: Record<string, string>): { status: number | null; output: string } {
    return run(at('tree'), 'node', ['-e', "require('fast-weights').zeros([1])"], { PATH: tools(), ...settings });
  }

  function reasonOf({ attempts }: Training, step: string): string {
    const attempt = attempts.find((a) => a.step === step);
    expect(attempt?.ok, step).to.equal(false);
    return attempt!.reason!;
  }

  it('the build succeeds and says what is missing', () => {
    const compiler = process.platform === 'darwin' ? 'clang++' : 'g++';
    for (const [tool, message] of [
      [compiler, /no C\+\+ compiler found .*: the library will run in pure JavaScript/],
      ['make', /no make found: the library will run in pure JavaScript/],
      ['python3', /no python3 found: the library will run in pure JavaScript/],
    ] as const) {
      const { status, output } = build();
      expect(status, output).to.equal(0);
      expect(output).to.match(message);
      pretend(tool);
    }
  });

  it('the library trains on js', () => {
    const report = train();
    expect(report.device).to.equal('js');
    expect(report.devices.filter((d) => d.available).map((d) => d.device)).to.deep.equal(['js']);
    expect(reasonOf(report, 'local build')).to.not.equal('');
    expect(reasonOf(report, 'prebuild')).to.not.equal('');
    expect(report.attempts.at(-1)).to.deep.equal({ step: 'js', ok: true });
  });

  it('a device that is not there is an error with its reasons', () => {
    const program = "require('fast-weights').zeros([1], { device: 'cpu' })";
    const { status, output } = run(at('tree'), 'node', ['-e', program], { PATH: tools() });
    expect(status).to.equal(1);
    expect(output).to.match(
      /FastWeightsError: the cpu device is not available \(override: FAST_WEIGHTS_NATIVE_PATH is not set; local build: /,
    );
  });

  for (const [title, content] of [
    ['garbage', Buffer.from('this is no shared library')],
    ['an empty file', Buffer.alloc(0)],
  ] as const) {
    it(`an addon that is ${title} is passed over in a build, and refused where it was asked for`, () => {
      const file = at('tree', 'build', 'Release', 'fast_weights.node');
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, content);
      const report = train();
      expect(report.device).to.equal('js');
      expect(reasonOf(report, 'local build')).to.include(file);
      const { status, output } = refused({ FAST_WEIGHTS_NATIVE_PATH: file });
      expect(status).to.equal(1);
      expect(output).to.include('FAST_WEIGHTS_NATIVE_PATH must be a native addon of this version').and.to.include(file);
      rmSync(at('tree', 'build'), { recursive: true });
    });
  }

  it('an instruction set without an addon is refused', () => {
    const { status, output } = refused({ FAST_WEIGHTS_ISA: 'portable' });
    expect(status).to.equal(1);
    expect(output).to.include('FAST_WEIGHTS_ISA must be left out where no native addon can be loaded');
  });

  it('an addon with another ABI, another kernel table or fewer functions is refused', () => {
    const abi = /kAbiVersion = (\d+)/.exec(readFileSync(at('tree', 'native', 'kernels.h'), 'utf8'))![1];
    const kernels = JSON.stringify(Object.entries(KERNELS).map(([name, fields]) => [name, Object.entries(fields)]));
    const addonWith = (functions: readonly string[]): string =>
      `{ abi: ${abi}, kernels: ${kernels}, ${functions.map((name) => `${name}() {}`).join(', ')} }`;
    for (const [exported, message] of [
      ['{ abi: 0, kernels: [] }', /does not fit this version: expected ABI \d+, found ABI 0/],
      [
        `{ abi: ${abi}, kernels: [["fill", [["y", "in"]]]] }`,
        /does not fit this version: expected fill\.y: out, found fill\.y: in/,
      ],
      [addonWith(['allocate']), /does not fit this version: expected the function free, found none of that name/],
      [
        addonWith(['allocate', 'free', 'write', 'read', 'readAsync', 'synchronize', 'submit', 'trim', 'settle']),
        /does not fit this version: expected the function keepCalls, found none of that name/,
      ],
      ['{}', /does not fit this version: expected ABI \d+, found ABI undefined/],
    ] as const) {
      writeFileSync(at('other.js'), `module.exports = ${exported};\n`);
      const { status, output } = refused({ FAST_WEIGHTS_NATIVE_PATH: at('other.js') });
      expect(status).to.equal(1);
      expect(output).to.match(message);
    }
  });
});
