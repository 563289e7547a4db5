// Builds the CUDA addon, build-cuda/Release/fast_weights_cuda.node, with cmake-js. Where no nvcc is installed NVIDIA's
// own wheels are, into a Python environment in build-toolchain/. Does nothing that is done.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { current, Failure, isMain, mebibytes, Missing, MISSING, root, runMain, works } from './support.mjs';

/** All that ship; CMakeLists.txt has the same. */
const ARCHITECTURES = '80,90a,100,120';

const HELP = `Usage: npm run build:cuda -- [options]

Builds build-cuda/Release/fast_weights_cuda.node, for Linux on x86-64. No GPU is needed. nvcc 13.0 or newer is taken from
CUDA_HOME or the PATH; otherwise NVIDIA's wheels of nvcc 13.0 (300 MB on disk) are installed into build-toolchain/ with
pip.

  --arch <list>   architectures such as 90a or 80,120 (default: ${ARCHITECTURES})
  --jobs <n>      compilers at a time (default: one per core)
  --line-info     keep source lines in the machine code, for compute-sanitizer and profilers
  --help

Exit code ${MISSING}: this machine lacks something that is named.`;

export const addon = join('build-cuda', 'Release', 'fast_weights_cuda.node');
const toolchain = join(root, 'build-toolchain');
const require = createRequire(import.meta.url);

const SOURCES = ['native/kernels.h', 'native/whole.h', 'native/families', 'native/binding', 'native/cuda', 'CMakeLists.txt', 'scripts/nvcc-log.mjs'];

const WHEELS = ['nvidia-cuda-nvcc', 'nvidia-cuda-crt', 'nvidia-nvvm', 'nvidia-cuda-runtime', 'nvidia-cuda-cccl'];
const WHEEL_VERSION = '13.0.*';

/** Whether the built addon is newer than its sources, for whatever architectures. */
export const isNewest = () => current(addon, ...SOURCES);

/** Whether it is, and made for these architectures. */
export function isCurrent(options = {}) {
  const settings = join(root, 'build-cuda', 'CMakeCache.txt');
  if (!isNewest() || !existsSync(settings)) return false;
  const cache = readFileSync(settings, 'utf8');
  return definitions(options).every(([name, value]) => new RegExp(`^${name}:\\w+=${value}$`, 'm').test(cache));
}

function definitions({ arch = ARCHITECTURES, lineInfo = false }) {
  // `80` is machine code and PTX, which later architectures compile at load.
  const architectures = arch.split(',').map((name) => (name === '80' ? name : `${name}-real`));
  return [
    ['FAST_WEIGHTS_CUDA', 'ON'],
    ['FAST_WEIGHTS_LINE_INFO', lineInfo ? 'ON' : 'OFF'],
    ['CMAKE_CUDA_ARCHITECTURES', architectures.join(';')],
  ];
}

/** The nvcc that is installed, if it is new enough. */
function installedNvcc() {
  const home = process.env.CUDA_HOME ? [join(process.env.CUDA_HOME, 'bin')] : [];
  for (const folder of [...home, ...(process.env.PATH ?? '').split(delimiter)]) {
    const nvcc = join(folder, 'nvcc');
    if (!existsSync(nvcc)) continue;
    const { stdout } = spawnSync(nvcc, ['--version'], { encoding: 'utf8' });
    const version = /release (\d+)\.\d+/.exec(stdout ?? '');
    if (Number(version?.[1]) >= 13) return nvcc;
    console.log(`${nvcc} is passed over: release 13.0 is needed`);
  }
  return undefined;
}

/** nvcc of the wheels; complete only with lib64, which is made last. */
function wheelNvcc() {
  const libraries = join(toolchain, 'lib');
  const python = existsSync(libraries) && readdirSync(libraries).find((name) => name.startsWith('python3'));
  const folder = python && join(libraries, python, 'site-packages', 'nvidia', 'cu13');
  return folder && { nvcc: join(folder, 'bin', 'nvcc'), lib: join(folder, 'lib'), lib64: join(folder, 'lib64') };
}

function installWheels() {
  const python = process.env.PYTHON || 'python3';
  if (!works(python, '--version')) throw new Missing(`no CUDA toolkit and no ${python} to install one with`);
  console.log(`installing nvcc ${WHEEL_VERSION} into build-toolchain/ (once, 300 MB)`);
  rmSync(toolchain, { recursive: true, force: true });
  const venv = spawnSync(python, ['-m', 'venv', toolchain], { encoding: 'utf8' });
  if (venv.status !== 0) throw new Missing(`${python} makes no virtual environments: ${venv.stdout}${venv.stderr}`);
  const wheels = WHEELS.map((name) => `${name}==${WHEEL_VERSION}`);
  const pip = spawnSync(join(toolchain, 'bin', 'python'), ['-m', 'pip', 'install', '--no-input', ...wheels], {
    stdio: 'inherit',
  });
  if (pip.status !== 0) throw new Missing(`pip could not install ${wheels.join(' ')}: is there a network?`);
  const made = wheelNvcc();
  // The compiler looks for libraries where an installed toolkit has them.
  symlinkSync('lib', made.lib64);
  return made.nvcc;
}

function findNvcc() {
  const installed = installedNvcc();
  if (installed) return installed;
  const made = wheelNvcc();
  return made && existsSync(made.lib64) ? made.nvcc : installWheels();
}

/** Where nvcc is that CMake has found, and the Python that installs beside it where it is one of the wheels. */
export function toolFolder() {
  const settings = join(root, 'build-cuda', 'CMakeCache.txt');
  const found = existsSync(settings) && /^CMAKE_CUDA_COMPILER:\w+=(.*)$/m.exec(readFileSync(settings, 'utf8'));
  if (!found) throw new Missing('the CUDA addon is not built: npm run build:cuda');
  const bin = dirname(found[1]);
  return { bin, python: bin.startsWith(toolchain) ? join(toolchain, 'bin', 'python') : undefined };
}

function checkTools() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Missing(`the CUDA addon is built on linux-x64, this is ${process.platform}-${process.arch}`);
  }
  if (!works(process.env.CXX || 'g++', '--version')) throw new Missing('no C++ compiler found (g++)');
  if (!works('cmake', '--version')) throw new Missing('no cmake found');
  if (!works('ninja', '--version') && !works('make', '--version')) throw new Missing('neither ninja nor make found');
}

/** Builds what changed; throws a Failure when the sources do not compile or tools are missing. */
export function buildCuda({ jobs = availableParallelism(), ...options } = {}) {
  if (isCurrent(options)) return;
  checkTools();
  const defined = [['CMAKE_CUDA_COMPILER', findNvcc()], ...definitions(options)];
  const cmakeJs = require.resolve('cmake-js/bin/cmake-js');
  mkdirSync(join(root, 'build-cuda'), { recursive: true });
  for (const command of [['configure', ...defined.map((pair) => `--CD${pair.join('=')}`)], ['build', `-p${jobs}`]]) {
    const args = [cmakeJs, ...command, '--out=build-cuda', '--log-level=error'];
    const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
    if (status !== 0) throw new Failure(`the CUDA addon does not build: cmake-js ${command[0]} failed`);
  }
  // A build tool leaves a binary alone whose sources changed only in time.
  utimesSync(join(root, addon), new Date(), new Date());
}

function main() {
  const { values } = parseArgs({
    options: {
      arch: { type: 'string' },
      jobs: { type: 'string' },
      'line-info': { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const started = Date.now();
  const { arch, jobs, 'line-info': lineInfo } = values;
  buildCuda({ arch, lineInfo, ...(jobs && { jobs: Number(jobs) }) });
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  console.log(`${addon}: ${mebibytes(statSync(join(root, addon)).size)} after ${seconds} s`);
}

if (isMain(import.meta.url)) await runMain(main);
