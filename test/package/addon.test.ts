// No package without an addon: npm refuses to pack one, and one that lacks this platform's says how to build it.
import { expect } from 'chai';
import { mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  copyTree,
  install,
  pack,
  packDependencies,
  readJson,
  root,
  run,
  succeed,
  temporaryFolder,
  TRAIN_ONE_STEP,
  training,
} from './sandbox';

const manifest = readJson<{ name: string; files: string[]; devDependencies: Record<string, string> }>(
  path.join(root, 'package.json'),
);

describe('a package', function () {
  this.timeout(60_000);
  const at = temporaryFolder();
  const prebuild = path.join('prebuilds', `${process.platform}-${process.arch}`, 'fast-weights.node');

  before(() => {
    const names = manifest.files.filter((name) => !['dist', 'prebuilds'].includes(name));
    // dist last: it is newer than what it was compiled from.
    copyTree(at('tree'), ['package.json', 'LICENSE', 'README.md', 'tsconfig.json', 'scripts', ...names, 'dist']);
  });

  const npmPack = () => run(at('tree'), 'npm', ['pack', '--pack-destination', at()]);
  const prepack = () => run(at('tree'), 'node', ['scripts/prepack.mjs']);
  const tarballs = (): string[] => readdirSync(at()).filter((name) => name.endsWith('.tgz'));

  function refused({ status, output }: ReturnType<typeof run>, message: RegExp): void {
    expect(status, output).not.to.equal(0);
    expect(output).to.match(message);
  }

  const now = (...names: string[]): void => utimesSync(at('tree', ...names), new Date(), new Date());

  it('without an addon, or with files older than what they are made of, is not packed', () => {
    refused(npmPack(), /^prebuilds holds no addon: run `npm run prebuildify` for \w+-\w+ first$/m);
    expect(tarballs()).to.deep.equal([]);
    mkdirSync(at('tree', path.dirname(prebuild)), { recursive: true });
    writeFileSync(at('tree', prebuild), '');
    now('native', 'kernels.h');
    refused(
      prepack(),
      /^prebuilds.*fast-weights\.node is older than native: run `npm run prebuildify` on its platform/m,
    );
    now(prebuild);
    now('lib', 'index.ts');
    refused(prepack(), /^dist is not there or older than lib: run `npm run build` first$/m);
    now('dist', 'index.mjs');
    const { status, output } = npmPack();
    expect(status, output).to.equal(0);
    expect(output).to.include(prebuild).and.to.include('dist/index.mjs');
    expect(tarballs()).to.have.lengthOf(1);
  });

  describe('that is installed where it has no addon for', () => {
    const installed = (...names: string[]): string => at('project', 'node_modules', manifest.name, ...names);
    const script = (): string => installed('scripts', 'build-native.mjs');

    before(() => {
      mkdirSync(at('bin'));
      symlinkSync(process.execPath, at('bin', 'node'));
      mkdirSync(at('bare'));
      copyTree(at('bare'), ['package.json', ...manifest.files.filter((name) => name !== 'prebuilds')]);
      install(at('project'), {
        [manifest.name]: at(pack(at('bare'), at()).filename),
        ...packDependencies(at()),
      });
    });

    it('says what a server is made of', () => {
      const { status, output } = run(at('project'), 'node', [
        installed('dist', 'cli', 'main.js'),
        'serve',
        '--model',
        '.',
      ]);
      expect(status).to.equal(1);
      expect(output).to.equal(
        'error: serve: it needs packages: npm install hono @hono/node-server zod prom-client @huggingface/jinja\n',
      );
    });

    it('computes in JavaScript and says how to compile one', () => {
      const report = training(
        succeed(at('project'), 'node', ['-e', `const fw = require('fast-weights');${TRAIN_ONE_STEP}`]),
      );
      expect(report.device).to.equal('js');
      const major = (name: string): string => `${name}@${/\d+/.exec(manifest.devDependencies[name])![0]}`;
      const packages = `npm install --no-save ${major('node-gyp')} ${major('node-addon-api')}`;
      const remedy = `\`${packages} && node ${script()}\` compiles`;
      expect(report.devices.find(({ device }) => device === 'cpu')!.reason).to.include(remedy);
      const doctor = succeed(at('project'), 'node', [installed('dist', 'cli', 'main.js'), 'doctor']);
      expect(doctor).to.include(`${remedy} it; it needs a C++ compiler, make and Python 3`);
    });

    it('compiles nothing without the tools, and says which', () => {
      const bare = run(at('project'), 'node', [script()], { PATH: at('bin'), CXX: '', PYTHON: '' });
      expect(bare.status).to.equal(1);
      expect(bare.output).to.match(/^no C\+\+ compiler found .*: the native kernels cannot be compiled$/m);
      const tools = { CXX: process.execPath, PYTHON: process.execPath, PATH: at('bin') };
      symlinkSync(process.execPath, at('bin', 'make'));
      const { status, output } = run(at('project'), 'node', [script()], tools);
      expect(status).to.equal(1);
      expect(output).to.match(/^node-gyp or node-addon-api is not installed \(npm install .*\): the native kernels/m);
    });
  });
});
