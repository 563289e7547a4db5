// Compiles lib/ into dist/, joins the rooms into one file, which loads in less than half the time, and writes the ES
// module beside it: dist/index.mjs hands out the names of the CommonJS build, so that `import` and `require` share one
// instance.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { buildSync } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
const require = createRequire(import.meta.url);

/** Removes what no source of lib/ compiles to any more. */
function removeStale() {
  if (!existsSync(dist)) return;
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (path.startsWith(join(dist, BUNDLE))) continue;
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

/** The folder of the one file. */
const BUNDLE = 'library';
/**
 * Rooms that stay files of their own: the one that a page replaces, the one that needs packages which are not always there and
 * whose threads begin with a file of it, and the program, which is not for others.
 */
const APART = ['platform', 'server', 'cli', BUNDLE];

/**
 * Joins what dist/index.js leads to into one file; the index files of the rooms hand on what stands there, so that all
 * who ask for one share it. The declarations stay where they are.
 */
function joinRooms() {
  const rooms = readdirSync(dist).filter((room) => existsSync(join(dist, room, 'index.js')) && !APART.includes(room));
  const folder = join(dist, BUNDLE);
  mkdirSync(folder, { recursive: true });
  const contents = ['index', ...rooms]
    .map((room) => `exports.${room} = require('./${room === 'index' ? 'index.js' : room}');`)
    .join('\n');
  buildSync({
    stdin: { contents, resolveDir: dist, sourcefile: 'index.mjs' },
    outfile: join(folder, 'index.js'),
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    sourcemap: true,
    logLevel: 'error',
    external: ['*/platform', 'node-gyp-build', '@huggingface/tokenizers'],
  });
  // Whoever asked for it stood deeper or less deep than the one file does.
  const joined = join(folder, 'index.js');
  writeFileSync(joined, readFileSync(joined, 'utf8').replace(/require\("(?:\.{1,2}\/)+platform"\)/g, 'require("../platform")'));
  for (const room of rooms) {
    for (const entry of readdirSync(join(dist, room), { recursive: true, withFileTypes: true })) {
      if (/\.js(\.map)?$/.test(entry.name)) rmSync(join(entry.parentPath, entry.name));
    }
    writeFileSync(join(dist, room, 'index.js'), `module.exports = require('../${BUNDLE}').${room};\n`);
  }
  rmSync(join(dist, 'index.js.map'));
  writeFileSync(join(dist, 'index.js'), `module.exports = require('./${BUNDLE}').index;\n`);
}

function writeModule() {
  const names = Object.keys(require(join(dist, 'index.js'))).sort();
  const lines = names
    .map((name) =>
      name === 'var'
        ? `const variance = library.var;\nexport { variance as var };\n`
        : `export const ${name} = library.${name};\n`,
    )
    .join('');
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
  joinRooms();
  writeModule();
  const main = join(dist, 'cli', 'main.js');
  if (existsSync(main)) chmodSync(main, 0o755);
  return 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  process.exitCode = buildTypeScript();
}
