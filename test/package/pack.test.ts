// The packed tarball: what it holds, and that an empty project can install it offline, without scripts, and use it from
// ES modules, CommonJS and TypeScript.
import { expect } from 'chai';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import {
  copyTree,
  install,
  localBuild,
  pack,
  packDependencies,
  readJson,
  root,
  succeed,
  temporaryFolder,
  TRAIN_ONE_STEP,
  type Training,
  training,
} from './sandbox';

interface Manifest {
  name: string;
  version: string;
  files: string[];
}

const manifest = readJson<Manifest>(path.join(root, 'package.json'));

describe('the package', function () {
  this.timeout(60_000);
  const at = temporaryFolder();
  const prebuilt = existsSync(localBuild);
  let packed: string[];

  /** The local build under the name that prebuildify gives it. */
  function stagePrebuild(): void {
    const folder = at('stage', 'prebuilds', `${process.platform}-${process.arch}`);
    const libc = process.platform === 'linux' ? (existsSync('/etc/alpine-release') ? '.musl' : '.glibc') : '';
    mkdirSync(folder, { recursive: true });
    copyFileSync(localBuild, path.join(folder, `${manifest.name}${libc}.node`));
    if (process.platform === 'linux') succeed(folder, 'strip', ['--strip-all', `${manifest.name}${libc}.node`]);
  }

  before(() => {
    const names = manifest.files.filter((name) => name !== 'prebuilds');
    copyTree(at('stage'), ['package.json', 'LICENSE', 'README.md', ...names, 'test', '.gitignore']);
    if (prebuilt) stagePrebuild();
    const { filename, files } = pack(at('stage'), at());
    packed = files.map((file) => file.path);
    install(at('project'), { [manifest.name]: at(filename), ...packDependencies(at()) });
  });

  function train(file: string, program: string, settings: Record<string, string> = {}): Training {
    writeFileSync(at('project', file), program);
    return training(succeed(at('project'), 'node', [file], settings));
  }

  it('holds the library, its licence and the kernel sources, and nothing else', () => {
    expect(packed).to.include.members([
      'LICENSE',
      'package.json',
      'dist/index.js',
      'dist/index.mjs',
      'dist/index.d.ts',
      'dist/index.d.mts',
    ]);
    expect(packed).to.include.members([
      'binding.gyp',
      'CMakeLists.txt',
      'native/kernels.h',
      'native/cpu/table.cc',
      'docs/README.md',
    ]);
    const known =
      /^(dist|docs|lib|native|prebuilds|scripts)\/|^(package\.json|binding\.gyp|CMakeLists\.txt|(LICENSE|README\.md|CHANGELOG\.md))$/;
    expect(packed.filter((file) => !known.test(file))).to.deep.equal([]);
    expect(
      packed.filter((file) => /\.(o|a|d|tgz|log)$|\.test\.|(^|\/)(build|test|node_modules)\//.test(file)),
    ).to.deep.equal([]);
  });

  it('names no folder of the machine that packed it', () => {
    const installed = at('project', 'node_modules', manifest.name);
    for (const file of packed) {
      const content = readFileSync(path.join(installed, file));
      for (const folder of [root, at()]) expect(content.includes(folder), `${folder} in ${file}`).to.equal(false);
    }
  });

  it('every source map finds its source', () => {
    for (const file of packed.filter((name) => name.endsWith('.js.map'))) {
      const { sources } = readJson<{ sources: string[] }>(at('project', 'node_modules', manifest.name, file));
      for (const source of sources) expect(packed).to.include(path.posix.join(path.posix.dirname(file), source));
    }
  });

  it('is what publint calls right', async () => {
    const { messages, pkg } = await publint({
      pkgDir: at('project', 'node_modules', manifest.name),
      pack: false,
      strict: true,
    });
    expect(messages.map((message) => formatMessage(message, pkg))).to.deep.equal([]);
  });

  it('trains from an ES module', () => {
    const { device } = train('train.mjs', `import * as fw from 'fast-weights';${TRAIN_ONE_STEP}`);
    expect(device).to.equal(prebuilt ? 'cpu' : 'js');
  });

  it('trains from CommonJS', () => {
    const { device } = train('train.cjs', `const fw = require('fast-weights');${TRAIN_ONE_STEP}`);
    expect(device).to.equal(prebuilt ? 'cpu' : 'js');
  });

  it('trains on js when asked to', () => {
    const settings = { FAST_WEIGHTS_DEVICE: 'js' };
    expect(train('js.mjs', `import * as fw from 'fast-weights';${TRAIN_ONE_STEP}`, settings).device).to.equal('js');
    expect(train('js.cjs', `const fw = require('fast-weights');${TRAIN_ONE_STEP}`, settings).device).to.equal('js');
  });

  it('uses the prebuilt kernels', function () {
    if (!prebuilt) this.skip();
    const { devices, attempts } = train('devices.cjs', `const fw = require('fast-weights');${TRAIN_ONE_STEP}`);
    expect(devices.find((d) => d.device === 'cpu')).to.include({ available: true });
    expect(attempts.find((a) => a.step === 'prebuild')).to.deep.equal({ step: 'prebuild', ok: true });
    expect(attempts.find((a) => a.step === 'local build')!.reason).to.match(/build\/Release/);
  });

  it('is one instance for import and require, with the same names', () => {
    const program = `
      import { createRequire } from 'node:module';
      import * as imported from 'fast-weights';
      const required = createRequire(import.meta.url)('fast-weights');
      const names = Object.keys(required).sort();
      console.log(JSON.stringify({
        names: names.join() === Object.keys(imported).sort().join(),
        same: names.every((name) => imported[name] === required[name]),
      }));`;
    writeFileSync(at('project', 'same.mjs'), program);
    expect(JSON.parse(succeed(at('project'), 'node', ['same.mjs']))).to.deep.equal({ names: true, same: true });
  });

  const consumer = `import * as fw from 'fast-weights';
import { deltaRule, type RuleResult, type Tensor } from 'fast-weights';
const unused: (q: Tensor) => RuleResult = (q) => deltaRule(q, q, q, { mode: 'chunk' });
if (typeof unused !== 'function') throw new Error();
// @ts-expect-error: there is no such device
const wrong = (): Tensor => fw.zeros([1], { device: 'tpu' });
if (typeof wrong !== 'function') throw new Error();
${TRAIN_ONE_STEP}`;

  for (const [moduleResolution, module, extensions] of [
    ['nodenext', 'nodenext', ['mts', 'cts']],
    ['bundler', 'preserve', ['ts']],
  ] as const) {
    it(`trains from TypeScript under moduleResolution ${moduleResolution}`, () => {
      const files = extensions.map((extension) => `typed.${extension}`);
      for (const file of files) writeFileSync(at('project', file), consumer);
      const language = {
        strict: true,
        target: 'es2022',
        lib: ['es2022', 'esnext.disposable'],
        module,
        moduleResolution,
      };
      const types = { typeRoots: [path.join(root, 'node_modules', '@types')], types: ['node'] };
      const outDir = at('project', moduleResolution);
      writeFileSync(
        at('project', 'tsconfig.json'),
        JSON.stringify({ compilerOptions: { ...language, ...types, outDir }, files }),
      );
      succeed(at('project'), 'node', [path.join(root, 'node_modules', 'typescript', 'bin', 'tsc')]);
      // A bundler's output is a module whatever its name.
      const flags = moduleResolution === 'bundler' ? ['--experimental-default-type=module'] : [];
      const outputs = readdirSync(outDir);
      expect(outputs).to.have.length(files.length);
      for (const output of outputs) training(succeed(at('project'), 'node', [...flags, path.join(outDir, output)]));
    });
  }

  it('has a command', () => {
    expect(succeed(at('project'), 'npx', ['--no-install', manifest.name, '--help'])).to.match(/Usage: fast-weights/);
  });
});
