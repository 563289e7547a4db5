// Functions that several sources of one instruction set define are merged by the linker: they must be the same, and must
// stand in the set's own namespace, or one processor would run what was compiled for another.
import { expect } from 'chai';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const built = path.resolve(__dirname, '../../../build/Release');
const archives = ['portable', 'avx2', 'avx512', 'neon'].filter((set) => existsSync(path.join(built, `${set}.a`)));

/** Sizes of every weak symbol of an archive, by object file. */
function weakSymbols(archive: string): Map<string, Map<string, string>> {
  const listing = execFileSync('nm', ['-S', '--defined-only', '-C', archive], { encoding: 'utf8', maxBuffer: 2 ** 28 });
  const symbols = new Map<string, Map<string, string>>();
  let file = '';
  for (const line of listing.split('\n')) {
    file = /^(\S+\.o):$/.exec(line)?.[1] ?? file;
    const [, size, name] = /^\S+ (\S+) [WV] (.+)$/.exec(line) ?? [];
    if (name !== undefined) symbols.set(name, (symbols.get(name) ?? new Map<string, string>()).set(file, size));
  }
  return symbols;
}

if (archives.length > 0 && spawnSync('nm', ['--version']).status === 0) {
  describe('weak symbols', () => {
    for (const set of archives) {
      it(`of ${set} have one meaning each, in its own namespace`, () => {
        const symbols = [...weakSymbols(path.join(built, `${set}.a`))];
        expect(symbols).to.not.have.length(0);
        const ambiguous = symbols.filter(([, sizes]) => new Set(sizes.values()).size > 1);
        expect(ambiguous.map(([name, sizes]) => [name, ...sizes.keys()])).to.deep.equal([]);
        expect(symbols.map(([name]) => name).filter((name) => !name.includes(`fw::${set}::`))).to.deep.equal([]);
      });
    }
  });
}
