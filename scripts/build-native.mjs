// Builds the CPU addon with node-gyp, or with --prebuild the binary that ships in the package. It is part of the package,
// and uses nothing of the clone.
// Usage: node scripts/build-native.mjs [--prebuild] [--jobs n]
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

/** What compiling the addon lacks on this machine, or undefined. */
export function missingTool() {
  const compiler = process.env.CXX || (process.platform === 'darwin' ? 'clang++' : 'g++');
  const works = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
  if (process.platform === 'win32') return 'the native kernels are not built on Windows';
  if (!works(compiler)) return `no C++ compiler found (${compiler})`;
  if (!works('make')) return 'no make found';
  if (!works(process.env.PYTHON || 'python3')) return 'no python3 found';
  return undefined;
}

/** The same of packages, which a clone has and an installed package has not. */
function missingPackage() {
  try {
    require.resolve('node-gyp/bin/node-gyp.js');
    require.resolve('node-addon-api');
    return undefined;
  } catch {
    return 'node-gyp or node-addon-api is not installed (npm install --no-save node-gyp@12 node-addon-api@8)';
  }
}

/** The folder whose include/node holds this Node's headers, if it was installed with them: then nothing is downloaded. */
function headers() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? prefix : undefined;
}

/** Runs a tool of node_modules; resolves with its exit status and what it printed (nothing when `show`), line by line. */
async function run(script, args, { show, cwd = root, tools, onLine }) {
  const nodedir = headers();
  const env = { ...process.env, ...(nodedir && { npm_package_config_node_gyp_nodedir: nodedir }), ...tools };
  const child = spawn(process.execPath, [script, ...args], { cwd, env, stdio: show ? 'inherit' : 'pipe' });
  const lines = [];
  const take = async (stream) => {
    for await (const line of createInterface({ input: stream })) {
      lines.push(line);
      onLine?.(line);
    }
  };
  const reading = show ? [] : [take(child.stdout), take(child.stderr)];
  const [status] = await once(child, 'close');
  await Promise.all(reading);
  return { status: status ?? 1, output: lines.join('\n') };
}

/**
 * Compiles what changed into build/Release. `cross` is another processor: `arch` as Node.js calls it, `nodedir` with
 * its headers, `tools` as environment variables, and a `directory` with binding.gyp and what that names. Without `show`
 * `onLine` gets every line that is printed.
 */
export function buildNative({ jobs = 2, show = true, cross, onLine } = {}) {
  const nodeGyp = require.resolve('node-gyp/bin/node-gyp.js');
  const nodedir = cross ? cross.nodedir : headers();
  const options = [`--jobs=${jobs}`];
  if (nodedir) options.push(`--nodedir=${nodedir}`);
  if (cross) options.push(`--arch=${cross.arch}`);
  return run(nodeGyp, ['configure', 'build', ...options], {
    show,
    cwd: cross?.directory,
    tools: cross?.tools,
    onLine,
  });
}

function prebuild() {
  return run(require.resolve('prebuildify/bin.js'), ['--napi', '--strip', '--tag-libc'], { show: true });
}

if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  const { values } = parseArgs({
    options: { prebuild: { type: 'boolean', default: false }, jobs: { type: 'string', default: '2' } },
  });
  const missing = missingTool() ?? missingPackage();
  if (missing) console.error(`${missing}: the native kernels cannot be compiled`);
  const build = () => (values.prebuild ? prebuild() : buildNative({ jobs: Number(values.jobs) }));
  process.exitCode = missing ? 1 : (await build()).status;
}
