// Folders with their parents, and what cannot be made.
import { expect } from 'chai';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createFolder } from '../../lib/io';
import { temporaryFolder } from './folder';

async function failureCode(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
}

describe('io: createFolder', () => {
  const at = temporaryFolder();

  it('makes parents, also twice and at once', async () => {
    const dir = at(join('a', 'b', 'c'));
    expect(await createFolder(dir)).to.eql([at('a'), at(join('a', 'b')), dir]);
    expect(await createFolder(dir)).to.eql([]);
    const other = at(join('d', 'e'));
    await Promise.all([createFolder(other), createFolder(other)]);
    expect(existsSync(other)).to.equal(true);
  });

  it('refuses a file in the way, and file systems without room for folders, instead of trying for ever', async () => {
    const file = at('file');
    writeFileSync(file, '');
    expect(await failureCode(createFolder(join(file, 'x')))).to.equal('ENOTDIR');
    expect(await failureCode(createFolder(file))).to.equal('EEXIST');
    if (existsSync('/proc/self')) expect(await failureCode(createFolder('/proc/none/x'))).to.equal('ENOENT');
  });
});
