// `--import`: the documentation's own model through the command line, from training to text; what is refused; what runs nothing.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { FastWeightsError } from '../../lib';
import { loadImports } from '../../lib/cli/imports';
import { LIBRARY, repository } from '../support/library';
import { withFolder } from '../train/support';
import { type Finished, run } from './run';

const TINY = ['--hidden-size', '16', '--layers', '1', '--heads', '2', '--batch', '4'];

/** A module for the library that the command line is. */
function moduleText(body: string): string {
  const load = `process.getBuiltinModule('node:module').createRequire(import.meta.url)`;
  const library = `${load}(${JSON.stringify(LIBRARY)})`;
  return body.replace(/^import (\{.*\}) from 'fast-weights';$/m, `const $1 = ${library};`);
}

const DOCUMENTED_MODEL = /^```mjs\n(.*?)^```/ms.exec(readFileSync(join(repository, 'docs/own-models.md'), 'utf8'))![1];

/** What a folder would like to run: it leaves a file behind. */
const trap = (mark: string): string =>
  `process.getBuiltinModule('node:fs').writeFileSync(${JSON.stringify(mark)}, 'ran');`;

function expectGood({ code, err }: Finished): void {
  expect(code, err).to.equal(0);
}

interface RunFile {
  model: { name: string };
  imports?: string[];
}

const configIn = (dir: string): RunFile => JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as RunFile;

describe('--import', function () {
  this.timeout(120_000);

  it('trains, resumes, measures and generates with a model of the user, which the run and the report name', async () => {
    await withFolder(async (dir) => {
      const [file, moved, out] = ['my-model.mjs', 'moved.mjs', 'run'].map((name) => join(dir, name));
      const text = join(dir, 'text.txt');
      writeFileSync(file, moduleText(DOCUMENTED_MODEL));
      writeFileSync(moved, moduleText(DOCUMENTED_MODEL));
      writeFileSync(text, 'the cat sat on the mat. '.repeat(100));
      const own = ['--import', file, '--model', 'my_model'];
      expectGood(await run('train', '--text', text, '--length', '16', ...TINY, '--steps', '3', ...own, '--out', out));
      expect(configIn(out)).to.deep.include({ imports: [file] });
      expect(configIn(out).model.name).to.equal('my-model');
      expect(readFileSync(join(out, 'report.html'), 'utf8')).to.include('my-model on text.txt');
      const checkpoint = ['--checkpoint', out];
      const [measured, generated, unknown, help, doctor, resumed] = await Promise.all([
        run('evaluate', ...checkpoint, '--import', file, '--json'),
        run('generate', ...checkpoint, `--import=${moved}`, '--prompt', 'the', '--max-tokens', '5'),
        run('generate', ...checkpoint, '--prompt', 'the'),
        run('train', '--help', '--import', file),
        run('doctor', '--import', file, '--json'),
        run('train', '--resume', out).then(async (refused) => [
          refused,
          await run('train', '--resume', out, '--steps', '5', '--import', moved),
        ]),
      ]);
      expectGood(measured);
      expect((JSON.parse(measured.out) as { loss: number }).loss).to.be.above(0);
      expectGood(generated);
      expect(generated.out).to.match(/^the./);
      expect(help.out).to.match(/lstm,\s+my-model, or/);
      expect(JSON.parse(doctor.out)).to.have.property('models').that.includes('my-model');
      expect(JSON.parse(doctor.out)).to.have.property('rules').that.includes('fadingDeltaRule');
      // The run remembers where its model came from, and says so.
      for (const { code, err } of [unknown, resumed[0]]) {
        expect(code).to.equal(1);
        expect(err)
          .to.include('my')
          .and.to.include(`--import ${JSON.stringify(file)}`)
          .and.to.include('deltanet');
      }
      expectGood(resumed[1]);
      expect(resumed[1].err).to.include('going on at step 3');
      expect(configIn(out).imports).to.deep.equal([moved]);
    });
  });

  it('refuses modules that cannot be loaded, register nothing, or a name that is taken', async () => {
    await withFolder(async (dir) => {
      const cases: [name: string, text: string | null, message: RegExp][] = [
        ['absent.mjs', null, /--import .*absent\.mjs: it cannot be loaded: there is no such file/],
        ['syntax.mjs', 'const = 3;', /syntax\.mjs: it cannot be loaded: Unexpected token.*; node --check/],
        ['throws.mjs', "throw new Error('no luck');", /throws\.mjs: it cannot be loaded: no luck/],
        ['nothing.mjs', 'export const x = 1;', /nothing\.mjs: it registers no model and no rule/],
        [
          'taken.mjs',
          moduleText("import { registerModel } from 'fast-weights';\nregisterModel({ modelType: 'delta_net' });"),
          /taken\.mjs: .*registerModel: modelType must be one that is not registered yet, got "delta_net"/,
        ],
      ];
      for (const [name, text] of cases) if (text !== null) writeFileSync(join(dir, name), text);
      for (const [name, , message] of cases) {
        const error: unknown = await loadImports([join(dir, name)]).catch((reason: unknown) => reason);
        expect(error, name).to.be.instanceOf(FastWeightsError).with.property('message').that.matches(message);
        expect(error).to.include({ code: 'INVALID_ARGUMENT', argument: 'import', found: join(dir, name) });
      }
    });
  });

  it('is the only way to choose code: folders and values of other options run nothing', async () => {
    await withFolder(async (dir) => {
      const [evil, mark, folder] = ['evil.mjs', 'mark', 'model'].map((name) => join(dir, name));
      writeFileSync(evil, trap(mark));
      mkdirSync(join(folder, 'checkpoints', 'step-1'), { recursive: true });
      const data = { task: 'copy', options: {} };
      const config = { model: { name: evil }, data, training: {}, device: 'js', imports: [evil] };
      writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
      const inside = join(folder, 'checkpoints', 'step-1');
      writeFileSync(join(inside, 'trainer.json'), JSON.stringify({ config, generator: {}, optimizer: {}, step: 1 }));
      writeFileSync(join(inside, 'config.json'), JSON.stringify({ model_type: evil, auto_map: { AutoModel: evil } }));
      const found = await Promise.all([
        run('train', '--resume', folder),
        run('train', '--config', join(folder, 'config.json'), '--out', join(dir, 'out')),
        run('generate', '--checkpoint', folder, '--prompt', `--import=${evil}`),
        run('generate', '--prompt', '--import', '--checkpoint', evil),
      ]);
      for (const { code } of found) expect(code).to.be.above(0);
      expect(existsSync(mark)).to.equal(false);
    });
  });
});
