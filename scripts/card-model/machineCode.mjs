// The machine code of the built CUDA addon: listings of its objects, made by NVIDIA's cuobjdump and nvdisasm, and the functions in
// them by the names of native/cuda/resources.json.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { toolFolder } from '../build-cuda.mjs';
import { demangle, LOGS, parseLog } from '../cuda-resources.mjs';
import { current, Failure, Missing, root, works } from '../support.mjs';
import { parseFunction, sectionsOf, symbolsOf } from './listing.mjs';
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

/** What is known of the kernels of a source: by name a function that reads one, ready to run, with registers, stack and spills. */
function kernelsOf(source) {
  const sections = sectionsOf(listingOf(source));
  const { reports } = parseLog(source, readFileSync(join(root, LOGS, `${source}.o.log`), 'utf8'));
  const symbols = symbolsOf(sections);
  const names = demangle(symbols).map(({ kernel }) => `${source} ${kernel}`);
  const read = (symbol, name) => {
    const report = reports.find((each) => each.symbol === symbol && each.architecture === ARCHITECTURE);
    const { registers, stack, spills } = report;
    return { ...timed(prepare(parseFunction(sections, symbol))), name, registers, stack, spills };
  };
  return new Map(symbols.map((symbol, i) => [names[i], () => read(symbol, names[i])]));
}

const sources = new Map();
const kernels = new Map();
/** A kernel by the name `source kernel`, such as `recurrence/forward.cu Forward<false>`. */
export function kernelNamed(name) {
  if (kernels.has(name)) return kernels.get(name);
  const source = name.slice(0, name.indexOf(' '));
  if (!sources.has(source)) sources.set(source, kernelsOf(source));
  const read = sources.get(source).get(name);
  if (!read) throw new Failure(`${source} has no kernel ${name}`);
  kernels.set(name, read());
  return kernels.get(name);
}
