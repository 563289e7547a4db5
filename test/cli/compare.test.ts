// `compare` at the command line: stopped, it goes on; a table and a report; what it cannot take it names.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { compareCommand } from '../../lib/cli/compare';
import { withFolder } from '../train/support';
import { run, start, until } from './run';

describe('compare', function () {
  this.timeout(120_000);

  it('stops with what it has, goes on by the same command, and prints a table', async () => {
    await withFolder(async (dir) => {
      const [text, out] = ['book.txt', 'out'].map((name) => join(dir, name));
      writeFileSync(text, 'to be or not to be, '.repeat(30));
      const sizes = ['--params', '3k', '--length', '16', '--batch', '1', '--checkpoint-every', '5', '--steps', '40'];
      const command = ['compare', '--text', text, '--models', 'deltanet,llama', ...sizes, '--out', out];
      const { child, finished } = start(command);
      await until(child, () => existsSync(join(out, 'deltanet', 'checkpoints', 'step-5')));
      child.kill('SIGINT');
      const { code, err } = await finished;
      expect(code, err).to.equal(130);
      expect(err).to.match(
        /1 of 2, seed 0\ndeltanet, .* parameters.*stopped after step \d+; .* the same command goes on/s,
      );
      const shown = await run(...command);
      expect(shown.code, shown.err).to.equal(0);
      expect(shown.err).to.match(
        /1 of 2, seed 0\ndeltanet, [^\n]*\ngoing on at step \d+.*2 of 2, seed 0\ntransformer, /s,
      );
      expect(shown.out).to.match(
        /^book\.txt, the same batches in the same order; about 3k parameters each; 40 steps each/,
      );
      for (const name of ['deltanet', 'transformer'])
        expect(shown.out).to.match(new RegExp(`^${name} .* (K|M)iB `, 'm'));
      expect(readFileSync(join(out, 'report.html'), 'utf8')).to.include('deltanet and transformer');
    });
  });

  it('says of a model that no sizes come near to the parameters asked for', async () => {
    await withFolder(async (dir) => {
      const [text, out] = ['book.txt', 'out'].map((name) => join(dir, name));
      writeFileSync(text, 'to be or not to be, '.repeat(30));
      const sizes = ['--params', '10', '--length', '16', '--batch', '1', '--steps', '1'];
      const { code, err } = await run('compare', '--text', text, '--models', 'deltanet', ...sizes, '--out', out);
      expect(code, err).to.equal(0);
      expect(err).to.match(/\ndeltanet: no sizes come nearer to --params 10 than [\d,]+ parameters\n/);
    });
  });

  it('refuses models that it does not know, with the nearest one, and numbers that are none', async () => {
    const refused = async (pattern: RegExp, ...flags: string[]): Promise<void> => {
      const command = compareCommand()
        .exitOverride()
        .configureOutput({ writeErr: () => undefined });
      const error: unknown = await command
        .parseAsync(['--text', 'none.txt', ...flags], { from: 'user' })
        .catch((reason: unknown) => reason);
      expect((error as Error).message).to.match(pattern);
    };
    const unknown = /--models: unknown model 'gated-deltanett'; did you mean gated-deltanet\? there are .*--import/;
    await refused(unknown, '--models', 'gla,gated-deltanett');
    await refused(/--models: gla is named twice/, '--models', 'gla,gla');
    await refused(/--params.* such as 300k or 3\.3M/s, '--params', '3.3X');
    await refused(/--steps must be 1 or more/, '--steps', '0');
  });
});
