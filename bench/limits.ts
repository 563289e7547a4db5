// The most that the machine can do, measured in the process that it is compared with: of the processor a loop on its
// registers and a copy in memory, of a card a large product and a copy by the library's own kernels.
import { prepareMatmul } from './cases/matmul';
import { finishQueue } from './cases/queue';
import type { Prepared } from './contender';
import { fw, machineLimits, type Device } from './library';
import { isCard, type MatmulProblem, type Place, type Problem, workOf } from './problem';
import { measure } from './timing';

export interface Limits {
  /** Of a processor. */
  instructionSet?: string;
  /** Operations per second. */
  flops: number;
  /** Bytes per second, read and written. */
  copyBandwidth: number;
  /** Bytes per second, read; 0 of a card. */
  readBandwidth: number;
}

/** The better of two measurements. */
function best(a: Limits, b: Limits): Limits {
  return {
    ...a,
    flops: Math.max(a.flops, b.flops),
    copyBandwidth: Math.max(a.copyBandwidth, b.copyBandwidth),
    readBandwidth: Math.max(a.readBandwidth, b.readBandwidth),
  };
}

/** The clock of a card stops after a message from it, which takes some microseconds. */
const SHORTEST_MS: Partial<Record<Device, number>> = { cuda: 20 };

/** The shortest sample, so that the clock's own cost does not show. */
export const shortestSample = (device: Device): number => SHORTEST_MS[device] ?? 2;

/** Rows of a square product, and bytes of a copy that no cache holds. */
const LARGE = { rows: 4096, bytes: 2 ** 30 };
const EMULATED: typeof LARGE = { rows: 32, bytes: 2 ** 12 };

const SECONDS = 0.1;

/** How products are computed in a problem; the peak is one of the same kind. */
function numbersOf(problem: Problem & Place): Pick<MatmulProblem, 'device' | 'dtype' | 'precision'> {
  const { device, dtype } = problem;
  return { device, dtype, precision: 'precision' in problem ? problem.precision : 'highest' };
}

function prepareCopy(device: Device, bytes: number): Prepared {
  const [from, to] = [1, 0].map((value) => fw.full([bytes / 4], value, { device }));
  const finish = finishQueue(device);
  return {
    run(calls) {
      fw.noGrad(() => {
        for (let i = 0; i < calls; i++) to.copy_(from);
      });
      return finish();
    },
    check: () => [],
  };
}

async function cardLimits(problem: Problem & Place): Promise<Limits> {
  const { device } = problem;
  const { rows, bytes } = device === 'cuda-emulation' ? EMULATED : LARGE;
  const product: MatmulProblem = {
    ...{ kind: 'matmul', form: 'NN', batch: 1, m: rows, n: rows, k: rows },
    ...numbersOf(problem),
  };
  const fastest = async (prepared: Prepared): Promise<number> =>
    Math.min(...(await measure(prepared, SECONDS, shortestSample(device)))) / 1000;
  return {
    flops: workOf(product)!.flops / (await fastest(prepareMatmul(product))),
    copyBandwidth: (2 * bytes) / (await fastest(prepareCopy(device, bytes))),
    readBandwidth: 0,
  };
}

/**
 * Measures around `work`. A processor before and after, on the same threads, because it changes its clock; the copy and the
 * reading need memory of their own and come after. A card after, so that its memory is told from what this needs.
 */
export async function withLimits<R>(problem: Problem, work: () => Promise<R>): Promise<[R, Limits | undefined]> {
  if ('device' in problem && isCard(problem.device)) return [await work(), await cardLimits(problem)];
  const before = machineLimits();
  const result = await work();
  const { bytes = 0, reads = 0 } = workOf(problem) ?? {};
  const after = machineLimits(bytes / 2, reads);
  return [result, before && after ? best(before, after) : undefined];
}
