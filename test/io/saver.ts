// The process that atomic.test.ts kills: saves numbered versions of a folder and reports each one when it is safe.
import { mkdirSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { writeFolderAtomic } from '../../lib/io/atomic';

async function main(dir: string, from: number): Promise<void> {
  for (let version = from + 1; ; version++) {
    await writeFolderAtomic(dir, (folder) => {
      mkdirSync(join(folder, 'sub'));
      writeFileSync(join(folder, 'sub', 'b'), String(version));
      writeFileSync(join(folder, 'a'), String(version));
      return Promise.resolve();
    });
    writeSync(1, `${version}\n`);
  }
}

if (require.main === module) void main(process.argv[2], Number(process.argv[3]));
