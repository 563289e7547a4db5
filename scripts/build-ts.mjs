// Compiles lib/ into dist/ and writes the ES module beside it: dist/index.mjs hands out the names of the CommonJS
// build, so that `import` and `require` share one instance.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
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

/**
 * Makes what index files hand on plain values. The compiler writes getters, which no engine looks through: each use of
 * another room's function would cost some 30 ns, more than all checks of an argument. Nothing exported ever changes and
 * no imports form a circle, so a value is as good. Lines stay where they are, for the source maps.
 */
function settleExports() {
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    if (entry.name !== 'index.js') continue;
    const path = join(entry.parentPath, entry.name);
    const settled = readFileSync(path, 'utf8')
      .replace('{ enumerable: true, get: function() { return m[k]; } }', '{ enumerable: true, value: m[k] }')
      .replace(/^(exports\.\w+ = )+void 0;$/m, '')
      .replace(
        /^Object\.defineProperty\(exports, "(\w+)", \{ enumerable: true, get: function \(\) \{ return ([\w.]+); \} \}\);$/gm,
        'exports.$1 = $2;',
      );
    writeFileSync(path, settled);
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
  settleExports();
  if (existsSync(join(dist, 'index.js'))) writeModule();
  const main = join(dist, 'cli', 'main.js');
  if (existsSync(main)) chmodSync(main, 0o755);
  return 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  process.exitCode = buildTypeScript();
}
