// Compiles lib/ into dist/ and writes the ES module beside it: dist/index.mjs hands out the names of the CommonJS
// build, so that `import` and `require` share one instance.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
const require = createRequire(import.meta.url);

/** Removes what no source of lib/ compiles to any more. */
function removeStale() {
  if (!existsSync(dist)) return;
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const source = join(root, 'lib', path.slice(dist.length + 1).replace(/\.(d\.ts|js\.map|js)$/, '.ts'));
    if (entry.isFile() && !existsSync(source)) rmSync(path);
  }
}

function writeModule() {
  const names = Object.keys(require(join(dist, 'index.js'))).sort();
  const lines = names.map((name) => `export const ${name} = library.${name};\n`).join('');
  writeFileSync(join(dist, 'index.mjs'), `import library from './index.js';\n${lines}`);
  writeFileSync(join(dist, 'index.d.mts'), "export * from './index.js';\n");
}

/** Returns the exit status of the compiler. */
export function buildTypeScript() {
  removeStale();
  const compiler = require.resolve('typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [compiler, '-p', root], { cwd: root, stdio: 'inherit' });
  if (status !== 0) return status ?? 1;
  if (existsSync(join(dist, 'index.js'))) writeModule();
  const main = join(dist, 'cli', 'main.js');
  if (existsSync(main)) chmodSync(main, 0o755);
  return 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  process.exitCode = buildTypeScript();
}
