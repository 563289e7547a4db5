// Atomic files and folders, with processes killed at any moment.
import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFolder, writeFileAtomic, writeFolderAtomic } from '../../lib/io';
import { rejection, temporaryFolder } from './folder';

/** A process number that no process has: of a child that has ended. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  return child.pid!;
}

describe('io: atomic writes', () => {
  const at = temporaryFolder();

  const fill =
    (text: string) =>
    (folder: string): Promise<void> => {
      writeFileSync(join(folder, 'a'), text);
      mkdirSync(join(folder, 'sub'));
      writeFileSync(join(folder, 'sub', 'b'), text);
      return Promise.resolve();
    };
  const versionOf = async (dir: string): Promise<string> => {
    const folder = await findFolder(dir);
    const text = readFileSync(join(folder, 'a'), 'utf8');
    expect(readFileSync(join(folder, 'sub', 'b'), 'utf8')).to.equal(text);
    return text;
  };

  it('replaces a file, and keeps the old one when the writer fails', async () => {
    mkdirSync(at('files'));
    const path = at('files/x');
    await writeFileAtomic(path, (file) => file.writeFile('one'));
    await writeFileAtomic(path, (file) => file.writeFile('two'));
    expect(readFileSync(path, 'utf8')).to.equal('two');
    const failing = writeFileAtomic(path, async (file) => {
      await file.writeFile('half');
      throw new Error('disk on fire');
    });
    await rejection(failing, 'IO', /files\/x: disk on fire/);
    expect(readFileSync(path, 'utf8')).to.equal('two');
    await rejection(
      writeFileAtomic(at('no/folder/x'), () => Promise.resolve()),
      'IO',
      /ENOENT/,
    );
    expect(readdirSync(at('files'))).to.deep.equal(['x']);
  });

  it('replaces a folder, and keeps the old one when filling fails', async () => {
    const dir = at('folders/deep/x');
    await writeFolderAtomic(dir, fill('one'));
    expect(await versionOf(dir)).to.equal('one');
    await writeFolderAtomic(dir, fill('two'));
    expect(await versionOf(dir)).to.equal('two');
    const failing = writeFolderAtomic(dir, async (folder) => {
      await fill('half')(folder);
      throw new Error('disk on fire');
    });
    await rejection(failing, 'IO', /disk on fire/);
    expect(await versionOf(dir)).to.equal('two');
    expect(readdirSync(at('folders/deep'))).to.deep.equal(['x']);
    await rejection(findFolder(at('folders/none')), 'IO', /does not exist/);
    writeFileSync(at('plain'), '');
    await rejection(writeFolderAtomic(at('plain'), fill('x')), 'IO');
    expect(existsSync(at('plain'))).to.equal(true);
  });

  it('finds and restores a version that a killed swap left aside', async () => {
    const pid = await deadPid();
    mkdirSync(at('swap'));
    const dir = at('swap/x');
    await writeFolderAtomic(dir, fill('one'));
    renameSync(dir, `${dir}.old-${pid}-00000000`);
    mkdirSync(`${dir}.tmp-${pid}-00000001`);
    expect(await versionOf(dir)).to.equal('one');
    await rejection(
      writeFolderAtomic(dir, () => Promise.reject(new Error('stop'))),
      'IO',
    );
    expect(readdirSync(at('swap'))).to.deep.equal(['x']);
    expect(await versionOf(dir)).to.equal('one');
  });

  it('leaves to running processes, and to others, what is theirs', async () => {
    mkdirSync(at('owners'));
    const dir = at('owners/x');
    const past = new Date(Date.now() - 1e9);
    const kept = [
      `x.tmp-${process.ppid}-00000000`,
      `x.tmp-${process.pid}-00000000`,
      'x.tmp-1',
      'x.old',
      'xx.tmp-1-00000000',
    ];
    for (const name of kept) mkdirSync(at(`owners/${name}`));
    const before = `x.tmp-${process.pid}-0000000a`;
    mkdirSync(at(`owners/${before}`));
    utimesSync(at(`owners/${before}`), past, past);
    await writeFolderAtomic(dir, fill('one'));
    expect(readdirSync(at('owners'))).to.have.members(['x', ...kept]);
  });

  it('lets concurrent saves of one folder and one file all succeed', async () => {
    mkdirSync(at('race'));
    const names = Array.from({ length: 8 }, (_, i) => String(i));
    await Promise.all([
      ...names.map((name) => writeFolderAtomic(at('race/dir'), fill(name))),
      ...names.map((name) => writeFileAtomic(at('race/file'), (file) => file.writeFile(name))),
    ]);
    expect(names).to.include(await versionOf(at('race/dir')));
    expect(names).to.include(readFileSync(at('race/file'), 'utf8'));
    expect(readdirSync(at('race'))).to.have.members(['dir', 'file']);
  });

  it('survives SIGKILL at any moment', async function () {
    this.timeout(30_000);
    mkdirSync(at('killed'));
    const dir = at('killed/checkpoint');
    let saved = 0;
    for (let round = 0; round < 15; round++) {
      const child = startSaver(dir, saved);
      saved = Math.max(saved, await killAfter(child, 25 * Math.random()));
      const version = Number(await versionOf(dir));
      expect(version, 'the last save that returned, or a later one').to.be.at.least(saved);
      saved = version;
    }
    await writeFolderAtomic(dir, fill('end'));
    expect(readdirSync(at('killed'))).to.deep.equal(['checkpoint']);
    expect(await versionOf(dir)).to.equal('end');
  });

  function startSaver(dir: string, from: number): ChildProcess {
    const script = join(__dirname, 'saver.ts');
    const args = ['--import=tsx', script, dir, String(from)];
    return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  }

  /** Kills the child some time after its first save; the last version it reported. */
  async function killAfter(child: ChildProcess, milliseconds: number): Promise<number> {
    let output = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      if (output === '') setTimeout(() => child.kill('SIGKILL'), milliseconds);
      output += text;
    });
    const [, signal] = (await once(child, 'close')) as [number | null, string | null];
    expect(signal).to.equal('SIGKILL');
    return Number(output.split('\n').at(-2) ?? 0);
  }
});
