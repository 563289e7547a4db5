// The documentation: links lead to files and headings that are there, commands name scripts, files, subcommands and flags
// that are there, and every page is in the index.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import type { Command } from 'commander';
import { compareCommand } from '../../lib/cli/compare';
import { demoCommand } from '../../lib/cli/demo';
import { doctorCommand } from '../../lib/cli/doctor';
import { evaluateCommand } from '../../lib/cli/evaluate';
import { experimentCommand } from '../../lib/cli/experiment';
import { generateCommand } from '../../lib/cli/generate';
import { inspectCommand } from '../../lib/cli/inspect';
import { modelsCommand } from '../../lib/cli/models';
import { serveCommand } from '../../lib/cli/serve';
import { trainCommand } from '../../lib/cli/train';
import { repository } from '../support/library';

const read = (name: string): string => readFileSync(path.join(repository, name), 'utf8');
const PAGES = readdirSync(path.join(repository, 'docs')).filter((name) => name.endsWith('.md'));
const DOCUMENTS = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'bench/README.md'].concat(
  PAGES.map((name) => `docs/${name}`),
  readdirSync(path.join(repository, 'test')).flatMap((room) => {
    const name = `test/${room}/README.md`;
    return existsSync(path.join(repository, name)) ? [name] : [];
  }),
);

/** A document's text without what is quoted from programs. */
const prose = (name: string): string => read(name).replace(/^ *```.*?^ *```/gms, '');

/** The names under which a page shows its headings. */
function anchorsOf(name: string): string[] {
  const headings = [...prose(name).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

/** The lines of a document that a shell is given, without remarks. */
function commandsOf(name: string): string[] {
  const indented = prose(name).match(/(?<=^ {4})\S.*$/gm) ?? [];
  return indented.map((line) => line.replace(/\s+#.*$/, ''));
}

const COMMANDS = new Map<string, Command>(
  [
    compareCommand(),
    demoCommand(),
    doctorCommand(),
    evaluateCommand(),
    experimentCommand(),
    generateCommand(),
    inspectCommand(),
    modelsCommand(),
    serveCommand(),
    trainCommand(),
  ].map((command) => [command.name(), command]),
);

/** What is wrong with a command of fast-weights. */
function wrongWith(line: string): string[] {
  const [name, ...words] = line.replace(/^(npx )?fast-weights /, '').split(/\s+/);
  const command = COMMANDS.get(name);
  if (!command) return [`${line}: there is no ${name}`];
  const known = new Set([...command.options.map(({ long }) => long), '--help']);
  const flags = words.filter((word) => word.startsWith('--')).map((word) => word.split('=')[0]);
  return flags.filter((flag) => !known.has(flag)).map((flag) => `${line}: ${name} has no ${flag}`);
}

describe('the documentation', () => {
  it('leads to files and headings that are there', () => {
    const lost: string[] = [];
    for (const name of DOCUMENTS) {
      for (const [, target] of prose(name).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) continue;
        const [file, anchor] = target.split('#');
        const there = file === '' ? name : path.posix.join(path.posix.dirname(name), file);
        if (!existsSync(path.join(repository, there))) lost.push(`${name}: ${target}`);
        else if (anchor !== undefined && !anchorsOf(there).includes(anchor)) lost.push(`${name}: ${target}`);
      }
    }
    expect(lost).to.deep.equal([]);
  });

  it('has every page in its index', () => {
    const index = read('docs/README.md');
    for (const page of PAGES.filter((name) => name !== 'README.md')) expect(index).to.include(`](${page})`);
  });

  it('names commands and flags of fast-weights that are there', () => {
    const lines = DOCUMENTS.flatMap(commandsOf).filter((line) => /^(npx )?fast-weights /.test(line));
    expect(lines).to.have.length.above(20);
    expect(lines.flatMap(wrongWith)).to.deep.equal([]);
    expect(wrongWith('npx fast-weights train --text a --stpes 3')).to.have.lengthOf(1);
  });

  it('names scripts and files that are there', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const missing = DOCUMENTS.filter((name) => name !== 'CHANGELOG.md').flatMap((name) => {
      const text = read(name);
      const run = [...text.matchAll(/npm run\s+([\w:-]+)/g)].filter(([, script]) => !(script in scripts));
      const files = [
        ...text.matchAll(/node (?:--[\w-]+(?:=\w+)? )*((?:scripts|test|bench)\/[\w/.-]+\.m?[jt]s)/g),
      ].filter(([, file]) => !existsSync(path.join(repository, file)));
      return [...run, ...files].map(([found]) => `${name}: ${found}`);
    });
    expect(missing).to.deep.equal([]);
  });
});
