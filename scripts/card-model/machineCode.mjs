// The machine code of the built CUDA addon: listings of its objects, made by NVIDIA's cuobjdump and nvdisasm, and the functions in
// them by the names of native/cuda/resources.json.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { toolFolder } from '../build-cuda.mjs';
import { demangle, LOGS, parseLog } from '../cuda-resources.mjs';
import { current, Failure, Missing, root, works } from '../support.mjs';
import { parseListing } from './listing.mjs';
import { timed } from './block.mjs';
import { prepare } from './warp.mjs';

export const ARCHITECTURE = '90a';
const LISTINGS = join('build-cuda', 'listings');
const WHEELS = ['nvidia-cuda-cuobjdump==13.2.*', 'nvidia-cuda-nvdisasm==13.2.*'];

let folder;
/** Where the tools are: beside nvcc, or installed beside it where nvcc is one of NVIDIA's wheels. */
function tools() {
  if (folder) return folder;
  const { bin, python } = toolFolder();
  const there = () =>
    ['cuobjdump', 'nvdisasm'].every((name) => existsSync(join(bin, name)) && works(join(bin, name), '--version'));
  if (!there() && python)
    spawnSync(python, ['-m', 'pip', 'install', '--no-input', '--quiet', ...WHEELS], { stdio: 'inherit' });
  if (!there()) throw new Missing(`no cuobjdump and nvdisasm beside nvcc in ${bin}`);
  return (folder = bin);
}

/** Runs one of NVIDIA's tools, and returns what it prints. */
export function run(tool, args, cwd) {
  const { status, stdout, stderr } = spawnSync(join(tools(), tool), args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  });
  if (status !== 0) throw new Failure(`${tool} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** The listing of a source's object for the architecture; kept until the object changes. */
export function listingOf(source) {
  const object = join(LOGS, `${source}.o`);
  const listing = join(LISTINGS, `${source}.sass`);
  if (current(listing, object)) return readFileSync(join(root, listing), 'utf8');
  const work = mkdtempSync(join(tmpdir(), 'listing-'));
  try {
    run('cuobjdump', ['-xelf', 'all', join(root, object)], work);
    const cubin = readdirSync(work).find((name) => name.endsWith(`.sm_${ARCHITECTURE}.cubin`));
    if (!cubin) throw new Missing(`the addon is not built for ${ARCHITECTURE}`);
    const text = run('nvdisasm', ['-hex', '-gi', cubin], work);
    mkdirSync(join(root, dirname(listing)), { recursive: true });
    writeFileSync(join(root, listing), text);
    return text;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The kernels of a source by name, ready to run, each with registers, stack and spills. */
function kernelsOf(source) {
  const functions = [...parseListing(listingOf(source)).values()];
  const { reports } = parseLog(source, readFileSync(join(root, LOGS, `${source}.o.log`), 'utf8'));
  const names = demangle(functions.map(({ symbol }) => symbol));
  return new Map(
    functions.map((fn, i) => {
      const report = reports.find(({ symbol, architecture }) => symbol === fn.symbol && architecture === ARCHITECTURE);
      const { registers, stack, spills } = report;
      return [
        `${source} ${names[i].kernel}`,
        { ...timed(prepare(fn)), name: `${source} ${names[i].kernel}`, registers, stack, spills },
      ];
    }),
  );
}

const known = new Map();
/** A kernel by the name `source kernel`, such as `recurrence/forward.cu Forward<false>`. */
export function kernelNamed(name) {
  const source = name.slice(0, name.indexOf(' '));
  if (!known.has(source)) known.set(source, kernelsOf(source));
  const kernel = known.get(source).get(name);
  if (!kernel) throw new Failure(`${source} has no kernel ${name}`);
  return kernel;
}
