// The runner of experiments and its command: what a folder keeps, and what it refuses.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { FastWeightsError, setChecks } from '../../lib';
import { defaultDevice, setDefaultDevice } from '../../lib/backends';
import { experimentCommand } from '../../lib/cli/experiment';
import { UsageError } from '../../lib/cli/flags';
import { type ExperimentRecord, runExperiment } from '../../lib/experiments';
import { continuousClassificationExperiment } from '../../lib/experiments/continuousClassification';
import { gridExperiment } from '../../lib/experiments/grid';
import { modelFamilies } from '../../lib/models';
import { withFolder } from '../train/support';
import { fake, fakeGrid } from './fake';

const recordIn = (folder: string): ExperimentRecord =>
  JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as ExperimentRecord;

async function failure(promise: Promise<unknown>): Promise<FastWeightsError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).to.be.instanceOf(FastWeightsError);
  return error as FastWeightsError;
}

describe('experiments', () => {
  it('run every trial under every seed, and write results, claims and a report', () =>
    withFolder(async (folder) => {
      const one = fake();
      const steps: unknown[] = [];
      const record = await runExperiment(one, { folder, seeds: 2, onProgress: (...at) => steps.push(at) });
      expect(one.begun).to.eql(['first 1', 'second 1', 'third 1', 'first 2', 'second 2', 'third 2']);
      expect(steps[0]).to.eql(['first', 1, 1, 2, 0.5]);
      expect(record).to.deep.include({ experiment: 'fake', quick: false });
      expect(record.results.map(({ found }) => found)).to.eql([1, 1, 1, 2, 2, 2].map((seed) => ({ seed })));
      expect(record.claims).to.eql([{ text: 'Trials were run', holds: true, because: '6 of them' }]);
      expect(recordIn(folder)).to.deep.include(JSON.parse(JSON.stringify(record)));
      const report = readFileSync(join(folder, 'report.html'), 'utf8');
      for (const text of [
        'Nothing',
        'Nobody, &#60;nowhere&#62;',
        'Holds: Trials were run',
        '6 of them',
        'third',
        'nothing in black',
      ])
        expect(report).to.include(text);
    }));

  it('keep what was done before they were stopped, and run only what is missing', () =>
    withFolder(async (folder) => {
      const controller = new AbortController();
      const one = fake();
      const stopped = runExperiment(one, {
        folder,
        signal: controller.signal,
        onProgress: (trial) => trial === 'second' && controller.abort(),
      });
      expect((await failure(stopped)).code).to.equal('ABORTED');
      expect(recordIn(folder).results.map(({ trial }) => trial)).to.eql(['first']);
      expect(existsSync(join(folder, 'report.html'))).to.equal(false);
      await runExperiment(one, { folder });
      await runExperiment(one, { folder, seeds: 2 });
      expect(one.begun).to.eql(['first 1', 'second 1', 'second 1', 'third 1', 'first 2', 'second 2', 'third 2']);
      expect(recordIn(folder).claims[0].because).to.equal('6 of them');
    }));

  it('refuse the folder of another experiment or kind and leave it as it is', () =>
    withFolder(async (folder) => {
      await runExperiment(fake(), { folder });
      const before = readFileSync(join(folder, 'results.json'), 'utf8');
      for (const refused of [
        () => runExperiment(fake(), { folder, quick: true }),
        () => runExperiment(fake({ name: 'other' }), { folder }),
      ]) {
        const error = await failure(refused());
        expect(error.code).to.equal('FORMAT');
        expect(error.message).to.match(/results\.json is not of a (quick )?run of (fake|other)/);
      }
      expect(readFileSync(join(folder, 'results.json'), 'utf8')).to.equal(before);
      const bad = await failure(runExperiment(fake(), { folder, seeds: 0 }));
      expect(bad.message).to.include('seeds');
    }));

  it('work alone in their folder, and give it free', () =>
    withFolder(async (folder) => {
      const lock = join(folder, `lock-${process.ppid}`);
      writeFileSync(lock, '');
      const one = fake();
      const error = await failure(runExperiment(one, { folder }));
      expect([error.code, one.begun.length]).to.eql(['IO', 0]);
      expect(error.message).to.include(`process ${process.ppid} works in ${folder}`);
      rmSync(lock);
      const held: string[][] = [];
      const locks = (): string[] => readdirSync(folder).filter((name) => name.startsWith('lock-'));
      await runExperiment(one, { folder, onResult: () => held.push(locks()) });
      expect(held).to.eql(new Array(3).fill([`lock-${process.pid}`]));
      expect(locks()).to.eql([]);
    }));

  it('refuse a second run of the same process in the folder, begun before or at the same time', () =>
    withFolder(async (folder) => {
      const [one, two, three] = [fake(), fake(), fake()];
      const refused: FastWeightsError[] = [];
      const during = async (): Promise<void> => {
        refused.push(await failure(runExperiment(three, { folder })));
      };
      let begun: Promise<void> | undefined;
      const begin = (): void => {
        begun ??= during();
      };
      const both = [one, two].map((each) => runExperiment(each, { folder, onResult: begin }));
      const ends = await Promise.allSettled(both);
      await begun;
      for (const end of ends) if (end.status === 'rejected') refused.push(end.reason as FastWeightsError);
      expect(refused).to.have.length(2);
      for (const { code, message } of refused) {
        expect([code, message.includes(`process ${process.pid} works in ${folder}`)]).to.eql(['IO', true]);
      }
      expect([one, two, three].map(({ begun: trials }) => trials.length).sort()).to.eql([0, 0, 3]);
      expect(readdirSync(folder).filter((name) => name.startsWith('lock-'))).to.eql([]);
      await runExperiment(three, { folder });
    }));

  it('say that a file of results is damaged', () =>
    withFolder(async (folder) => {
      const good = { trial: 'first', seed: 1, seconds: 1, found: { seed: 1 } };
      const bad: unknown[] = [null, 3, [], {}, { ...good, trial: 1 }, { ...good, seed: 0 }, { ...good, seconds: 'x' }];
      const { found: _, ...unfound } = good;
      for (const result of [...bad, unfound]) {
        const record = { experiment: 'fake', quick: false, results: [good, result] };
        writeFileSync(join(folder, 'results.json'), JSON.stringify(record));
        const error = await failure(runExperiment(fake(), { folder }));
        expect([error.code, error.argument]).to.eql(['FORMAT', join(folder, 'results.json')]);
        expect(error.message).to.include('results[1] is not { trial, seed, seconds, found }');
      }
      const record = { experiment: 'fake', quick: false, results: [{ ...good, found: null }] };
      writeFileSync(join(folder, 'results.json'), JSON.stringify(record));
      const error = await failure(runExperiment(fake(), { folder }));
      expect([error.code, error.argument]).to.eql(['FORMAT', join(folder, 'results.json')]);
      expect(error.message).to.include('holds results that are not those of fake');
    }));

  it('run on a file beside what they generate, and refuse one that they cannot take', () =>
    withFolder(async (folder) => {
      const one = fake({ data: 'numbers' });
      const [mine, out] = [join(folder, 'mine.txt'), join(folder, 'out')];
      writeFileSync(mine, '1');
      await runExperiment(one, { folder: out, quick: true });
      const again = { folder: out, quick: true, data: mine };
      expect((await runExperiment(one, again)).results.map(({ trial }) => trial)).to.eql(['first', 'second', mine]);
      expect((await runExperiment(one, again)).results).to.have.lengthOf(3);
      writeFileSync(mine, '2');
      const other = await failure(runExperiment(one, again));
      expect([other.code, other.argument]).to.eql(['FORMAT', 'data']);
      expect(other.message).to.match(/has results of another file mine\.txt, .*; name another folder$/);
      expect(one.begun).to.have.lengthOf(3);
      const away = await failure(runExperiment(one, { ...again, folder: join(folder, 'new'), data: `${mine}.gone` }));
      expect([away.code, away.argument, existsSync(join(folder, 'new'))]).to.eql(['IO', 'data', false]);
      const error = await failure(runExperiment(fake(), { folder: join(folder, 'none'), data: 'mine.txt' }));
      expect(error.message).to.equal('runExperiment: data must be no file: fake makes its own data, got mine.txt');
      expect(existsSync(join(folder, 'none'))).to.equal(false);
    }));

  it('run the chosen cells of a grid, and refuse rows and columns that there are not', () =>
    withFolder(async (folder) => {
      const grid = fakeGrid();
      const ran = async (more: object): Promise<string[]> =>
        (await runExperiment(grid, { folder, quick: true, ...more })).results.map(({ trial }) => trial);
      expect(await ran({})).to.eql(['recall: sum']);
      expect(await ran({ rules: ['sum'], tasks: ['parity'] })).to.eql(['recall: sum', 'parity: sum']);
      expect(await ran({ rules: ['delta'] })).to.have.lengthOf(4);
      const report = readFileSync(join(folder, 'report.html'), 'utf8');
      for (const text of ['how well', 'sum: recall 50 %"', '<th scope="row">cells</th><td>4</td>']) {
        expect(report).to.include(text);
      }
      for (const [options, message] of [
        [{ rules: ['delt'] }, /rules must be one of the known; did you mean delta\?, got .delt./],
        [{ tasks: ['nothing at all'] }, /tasks must be recall, parity, got/],
        [{ rules: ['sum', 'sum'] }, /rules must be names that differ, got 'sum' twice/],
        [{ tasks: [] }, /tasks must be a list of names, one at least/],
      ] as const)
        expect((await failure(ran(options))).message).to.match(message);
      const none = await failure(runExperiment(fake(), { folder, rules: ['sum'] }));
      expect(none.message).to.match(/rules must be left out: fake is no grid/);
    }));

  it('have every family of models in the grid, against every task', () => {
    const { rules, tasks } = gridExperiment.axes!();
    for (const { name } of modelFamilies) expect(rules).to.include(name);
    expect(rules).to.include('deltanet-negative');
    expect(gridExperiment.trials(false)).to.have.lengthOf(rules.length * tasks.length);
    const shown = gridExperiment.findings(
      [
        ['parity', 'gla', 0.5],
        ['parity', 'srwm', 1],
        ['parity', 'srwm', 0.9],
      ].map(([task, rule, accuracy], i) => ({
        trial: `${task}: ${rule}`,
        seed: 1 + (i > 1 ? 1 : 0),
        seconds: 1,
        found: { accuracy: Number(accuracy), steps: 1 },
      })),
      true,
    );
    const [gla, srwm, guess] = shown.scores!.rows.map(({ label, scores }) => ({ label, score: scores[0] }));
    expect(srwm).to.eql({ label: 'srwm', score: 0.95 });
    expect(gla).to.eql({ label: 'gla', score: 0.5 });
    expect(guess.label).to.equal('(guessing)');
    expect(guess.score).to.be.within(0.5, 0.6);
    expect(shown.claims.map(({ holds }) => holds)).to.eql([true]);
  });

  it('classify the series of a file', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'rows.ts');
      const rows = Array.from({ length: 12 }, (_, b) => {
        const values = Array.from({ length: 40 }, (_, t) => (b % 2 === 0 ? t : -t) + (b % 5));
        return `${values.join()}:${values.map(() => '?').join()}:${b % 2}`;
      });
      const options = { folder: join(folder, 'out'), quick: true, data: file, device: 'cpu' as const };
      const missing = await failure(runExperiment(continuousClassificationExperiment, options));
      expect([missing.code, missing.message.includes('rows.ts')]).to.eql(['IO', true]);
      writeFileSync(file, '@classLabel true 0 1');
      const cut = await failure(runExperiment(continuousClassificationExperiment, options));
      expect([cut.code, cut.argument, cut.message.includes(file)]).to.eql(['FORMAT', 'data', true]);
      writeFileSync(file, ['@classLabel true 0 1', '@data', ...rows].join('\n'));
      setChecks(false);
      const { results } = await runExperiment(continuousClassificationExperiment, options).finally(() =>
        setChecks('values'),
      );
      expect(results.map(({ trial }) => trial)).to.eql(['rows.ts: delta nrde', 'rows.ts: lstm, windows']);
      for (const { found } of results) expect(found).to.deep.include({ right: { 1: 1 }, series: 4 });
    }));
});

describe('the command experiment', () => {
  const [device, exitCode] = [defaultDevice(), process.exitCode];
  afterEach(() => {
    setDefaultDevice(device);
    process.exitCode = exitCode;
  });

  /** What it prints, and the code that the process would end with. */
  async function ran(args: string[]): Promise<{ out: string; code: typeof process.exitCode }> {
    const { log, error } = console;
    const write = process.stderr.write.bind(process.stderr);
    let out = '';
    console.log = (text: string) => (out += `${text}\n`);
    console.error = () => undefined;
    process.stderr.write = () => true;
    try {
      const known = [fake(), fake({ name: 'wrong', holds: false })] as unknown as Parameters<
        typeof experimentCommand
      >[0];
      await experimentCommand(known).exitOverride().parseAsync(args, { from: 'user' });
    } finally {
      Object.assign(console, { log, error });
      process.stderr.write = write;
    }
    return { out, code: process.exitCode };
  }

  it('lists experiments and refuses names that it does not know', async () => {
    const { out } = await ran([]);
    expect(out)
      .to.match(/fake +Nothing/)
      .and.match(/wrong +Nothing/);
    const error: unknown = await ran(['parity']).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(UsageError);
    expect((error as Error).message).to.equal('unknown experiment parity; known are fake, wrong');
    for (const flag of [['--seeds', '3'], ['--out', 'foo'], ['--json'], ['--quick'], ['--device', 'js']]) {
      const idle: unknown = await ran(flag).catch((reason: unknown) => reason);
      expect(idle).to.be.instanceOf(UsageError);
      expect((idle as Error).message).to.equal(`${flag[0]} needs the name of an experiment`);
    }
  });

  it('ends with 1 where a claim fails, and says which', () =>
    withFolder(async (folder) => {
      const held = await ran(['fake', '--quick', '--device', 'js', '--out', join(folder, 'a')]);
      expect(held.code).to.equal(exitCode);
      expect(held.out).to.match(/Trials were run +yes +2 of them/);
      const failed = await ran(['wrong', '--quick', '--seeds', '2', '--device', 'js', '--out', join(folder, 'b')]);
      expect(failed.code).to.equal(1);
      expect(failed.out)
        .to.match(/Trials were run +NO +4 of them/)
        .and.include(join(folder, 'b', 'report.html'));
      process.exitCode = exitCode;
      const json = await ran(['fake', '--quick', '--device', 'js', '--json', '--out', join(folder, 'a')]);
      expect((JSON.parse(json.out) as ExperimentRecord).results).to.have.lengthOf(2);
    }));
});
