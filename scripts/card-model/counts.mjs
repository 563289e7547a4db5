// What blocks of a launch do, as sums and means: of a few that ran for all of them, and of short sequences for long ones.
import { isDivision, isGeneric, isGlobalLoad, isLocal, pipeOf, tensorOf } from './instructions.mjs';
import { loopsOf } from './listing.mjs';

/** Of a part of all instructions a loop is hot. */
const HOT = 0.05;

/** Numbers of a block that ran, by name. */
export function countsOf(block) {
  const { fn, issued } = block;
  const counts = { instructions: 0, tensorOperations: 0, tensorWork: 0, divisions: 0, generic: 0, local: 0, loads: 0 };
  fn.code.forEach((instruction, i) => {
    const n = issued[i];
    if (n === 0) return;
    counts.instructions += n;
    const pipe = pipeOf(instruction);
    if (pipe) counts[`pipe ${pipe}`] = (counts[`pipe ${pipe}`] ?? 0) + n;
    const tensor = tensorOf(instruction);
    if (tensor) {
      counts.tensorInstructions = (counts.tensorInstructions ?? 0) + n;
      counts.tensorOperations += n * tensor.operations;
      // In operations of bfloat16 that would take as long.
      counts.tensorWork += (n * tensor.operations) / tensor.rate;
    }
    if (isDivision(instruction)) counts.divisions += n;
    if (isGeneric(instruction)) counts.generic += n;
    if (isLocal(instruction)) counts.local += n;
    if (isGlobalLoad(instruction)) counts.loads += n;
  });
  for (const [bytes, n] of Object.entries(block.widths)) counts[`width ${bytes}`] = n;
  for (const [buffer, bytes] of block.byBuffer) counts[`buffer ${buffer}`] = bytes;
  for (const key of [
    'sharedPasses',
    'linePasses',
    'localBytes',
    'cacheReads',
    'cacheWrites',
    'cycles',
    'mostInFlight',
    'inFlight',
  ]) {
    counts[key] = block[key];
  }
  counts.unknownBranches = block.unknownBranches;
  for (const [loop, { all, tensor }] of hotLoops(block)) {
    counts[`loop ${loop}`] = all;
    counts[`looptensor ${loop}`] = tensor;
  }
  return counts;
}

/** Innermost loops by where they begin: instructions issued in them and not in a loop within, and those of tensor cores. */
function hotLoops({ fn, issued }) {
  const loops = loopsOf(fn);
  const sums = new Map();
  fn.code.forEach((instruction, i) => {
    if (issued[i] === 0) return;
    const inner = loops.findLast(({ first, last }) => i >= first && i <= last);
    if (!inner) return;
    const key = fn.code[inner.first].address.toString(16);
    const sum = sums.get(key) ?? { all: 0, tensor: 0 };
    sum.all += issued[i];
    if (tensorOf(instruction)) sum.tensor += issued[i];
    sums.set(key, sum);
  });
  return sums;
}

/** A sum of counts, each times a weight. */
export function weighted(pairs) {
  const sum = {};
  for (const [weight, counts] of pairs) {
    for (const [key, value] of Object.entries(counts)) sum[key] = (sum[key] ?? 0) + weight * value;
  }
  return sum;
}

/** The counts at a size from those at two smaller ones, along a line; what is no sum stays as it was. */
export function extrapolated(size, [size1, counts1], [size2, counts2]) {
  const slope = (size - size2) / (size2 - size1);
  const line = weighted([
    [1 + slope, counts2],
    [-slope, counts1],
  ]);
  return { ...line, mostInFlight: counts2.mostInFlight, inFlight: counts2.inFlight };
}

/** The hot loops, the hottest first: where they begin, their share of all instructions, and instructions for each of tensor cores. */
export function hotLoopsOf(counts) {
  const hot = Object.entries(counts)
    .filter(([key, all]) => key.startsWith('loop ') && all >= HOT * counts.instructions)
    .map(([key, all]) => {
      const begin = key.slice('loop '.length);
      const tensor = counts[`looptensor ${begin}`];
      return { begin, share: all / counts.instructions, perTensor: tensor > 0 ? all / tensor : undefined };
    });
  return hot.sort((a, b) => b.share - a.share);
}

/** Instructions for each of tensor cores in the hot loop that has the most of them, of loops with any. */
export function instructionsPerTensor(counts) {
  const each = hotLoopsOf(counts).flatMap(({ perTensor }) => perTensor ?? []);
  return each.length > 0 ? Math.max(...each) : undefined;
}

/** Bytes of each width that loads of global memory take, as a share of all such loads. */
export function widthsOf(counts) {
  const entries = Object.entries(counts).filter(([key, n]) => key.startsWith('width ') && n > 0);
  const all = entries.reduce((sum, [, n]) => sum + n, 0);
  return Object.fromEntries(
    entries.map(([key, n]) => [key.slice('width '.length), n / all]).sort((a, b) => a[0] - b[0]),
  );
}
