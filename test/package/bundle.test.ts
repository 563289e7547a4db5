// The library inside other people's bundles: a program for Node.js in one file, which finds the addon or says what to do,
// and a page whose platform is another one.
import { expect } from 'chai';
import { build, type BuildOptions } from 'esbuild';
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { createContext, runInContext } from 'node:vm';
import * as platform from '../../lib/platform';
import * as browserPlatform from './browserPlatform';
import { localBuild, root, run, succeed, temporaryFolder, TRAIN_ONE_STEP, type Training, training } from './sandbox';

async function bundle(resolveDir: string, contents: string, options: BuildOptions): Promise<void> {
  const { warnings } = await build({
    stdin: { contents, resolveDir, loader: 'ts' },
    bundle: true,
    logLevel: 'silent',
    ...options,
  });
  expect(warnings.map(({ text }) => text)).to.deep.equal([]);
}

/** A temporary folder with a project `app` that the package is installed in. */
function appFolder(): (...names: string[]) => string {
  const at = temporaryFolder();
  before(() => {
    mkdirSync(at('app', 'node_modules'), { recursive: true });
    symlinkSync(root, at('app', 'node_modules', 'fast-weights'));
  });
  return at;
}

describe('a bundle for Node.js', function () {
  this.timeout(60_000);
  const at = appFolder();
  const native = existsSync(localBuild);
  const program = `import * as fw from 'fast-weights';${TRAIN_ONE_STEP}`;
  const FORMATS = [
    ['cjs', 'program.cjs'],
    ['esm', 'program.mjs'],
  ] as const;

  before(async () => {
    mkdirSync(at('away'));
    for (const [format, file] of FORMATS) {
      const options = { platform: 'node', format, minify: format === 'esm' } as const;
      await bundle(at('app'), program, { ...options, outfile: at('app', file) });
      copyFileSync(at('app', file), at('away', file));
    }
  });

  for (const [format, file] of FORMATS) {
    const train = (folder: string, settings: Record<string, string> = {}): Training =>
      training(succeed(at(folder), 'node', [file], settings));

    it(`${format}: finds the addon of the package that is installed where it lies`, function () {
      if (!native) this.skip();
      expect(train('app').device).to.equal('cpu');
    });

    it(`${format}: says what to do where there is none, and computes in JavaScript when asked to`, () => {
      const { status, output } = run(at('away'), 'node', [file]);
      expect(status).to.equal(1);
      expect(output).to.include(`fast-weights is part of ${at('away', file)} and finds no native addon: `);
      expect(output).to.include('esbuild --external:fast-weights').and.to.include('FAST_WEIGHTS_DEVICE=js');
      const report = train('away', { FAST_WEIGHTS_DEVICE: 'js' });
      expect(report.device).to.equal('js');
      const reason = `fast-weights cannot be found from ${at('away', file)}`;
      expect(report.devices.find(({ device }) => device === 'cpu')!.reason).to.include(reason);
    });

    it(`${format}: takes the addon beside it, or the one that is named`, function () {
      if (!native) this.skip();
      expect(train('away', { FAST_WEIGHTS_NATIVE_PATH: localBuild }).device).to.equal('cpu');
      mkdirSync(at(format));
      copyFileSync(at('away', file), at(format, file));
      copyFileSync(localBuild, at(format, 'fast-weights.node'));
      const report = train(format);
      expect(report.device).to.equal('cpu');
      expect(report.attempts[1]).to.deep.equal({ step: 'beside the bundle', ok: true });
    });
  }
});

describe('a bundle for a page', function () {
  this.timeout(60_000);
  const at = appFolder();

  it('computes forward and backward on js, with a platform of a page in place of that of Node.js', async () => {
    // Whatever the library asks of its platform is there: this line does not compile otherwise.
    const names: Record<keyof typeof platform, unknown> = browserPlatform;
    expect(Object.keys(names)).to.have.members(Object.keys(platform));
    const outfile = at('page.js');
    await bundle(at('app'), `export * as fw from 'fast-weights';`, {
      platform: 'browser',
      format: 'iife',
      globalName: 'bundle',
      outfile,
      external: ['@huggingface/tokenizers'],
      plugins: [
        {
          name: 'platform',
          setup: ({ onResolve }) =>
            onResolve({ filter: /^(\.\.\/)+platform$|^\.\/platform$/ }, () => ({
              path: path.join(__dirname, 'browserPlatform.ts'),
            })),
        },
      ],
    });
    const { performance, setTimeout, TextDecoder, TextEncoder } = globalThis;
    const page = createContext({ performance, setTimeout, TextDecoder, TextEncoder, console });
    // Pages of today have it; a context of an older engine does not have what Node.js adds there.
    runInContext("Symbol.dispose ??= Symbol('Symbol.dispose')", page);
    runInContext(readFileSync(outfile, 'utf8'), page);
    const report = runInContext(
      `(() => {
        const { fw } = bundle;
        let printed;
        const console = { log: (text) => (printed = text) };
        ${TRAIN_ONE_STEP}
        return printed;
      })()`,
      page,
    ) as string;
    expect(training(report).device).to.equal('js');
    const generated = (await runInContext(
      `(async () => {
        const { fw } = bundle;
        const model = fw.createModel('deltanet', { vocabSize: 7, hiddenSize: 8, numLayers: 1, numHeads: 1 });
        const ids = [];
        for await (const { id } of model.generate([1, 2], { maxNewTokens: 5 })) ids.push(id);
        return ids.length;
      })()`,
      page,
    )) as number;
    expect(generated).to.equal(5);
  });
});
