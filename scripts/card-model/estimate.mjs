// A case by its kernels: what the library launches for it, what blocks of each launch do, how long they would take.
import { countsOf, extrapolated, weighted } from './counts.mjs';
import { BlockCount } from './block.mjs';
import { kernelNamed } from './machineCode.mjs';
import { launchOf } from './launch.mjs';
import { predict } from './prediction.mjs';
import { record } from './record.mjs';
import { TooLong } from './warp.mjs';

/** Counts of the blocks of a launch on the average: the first, one of the middle for those between, and the last. */
function blocksOf(recorded, most) {
  const kernel = kernelNamed(recorded.kernel);
  const launch = launchOf(recorded, kernel, most);
  const n = recorded.blocks;
  const run = (block) => countsOf(new BlockCount(kernel, launch).run(block));
  const middle = run(Math.floor(n / 2));
  // Blocks that walk through a sequence are all alike.
  if (n === 1 || most === undefined) return middle;
  return weighted([
    [1 / n, run(0)],
    [(n - 2) / n, middle],
    [1 / n, run(n - 1)],
  ]);
}

/** One of so many launches of a kernel in a shorter run: the one with the same number, or the last. */
function alike(launches, kernel, number) {
  const same = launches.filter((launch) => launch.kernel === kernel);
  return same[Math.min(number, same.length - 1)];
}

/**
 * The tokens that a launch walks through, of T in each sequence. Where scratch memory is for a part of the chunks there are
 * several launches where a shorter run has one, of as many blocks, which share the sequences; passes over some of the heads
 * have fewer blocks.
 */
export function tokensOf(recorded, launches, shorter, T) {
  const isAlike = ({ kernel, blocks }) => kernel === recorded.kernel && blocks === recorded.blocks;
  const alone = shorter.filter(isAlike).length;
  return alone > 0 ? (T * alone) / launches.filter(isAlike).length : T;
}

/** Kernels whose launches with as many blocks are passes over other heads or chunks. */
const PASSES = /^recurrence\//;

/** Instructions of a warp that are worth the time, and kernels that issue more of them at a real size. */
const LONG = 300_000;
const long = new Set();

/** Counts of a launch, from shorter runs where it would take too long; `number` among those of its kernel. */
function countLaunch(recorded, number, task, { launches, shorter }) {
  try {
    if (!task.short || !long.has(recorded.kernel)) return blocksOf(recorded, LONG);
  } catch (error) {
    if (!(error instanceof TooLong) || !task.short) throw error;
    long.add(recorded.kernel);
  }
  const points = task.short.map((sizes, i) => [sizes.T, blocksOf(alike(shorter[i], recorded.kernel, number))]);
  return extrapolated(tokensOf(recorded, launches, shorter.at(-1), task.sizes.T), ...points);
}

/** What is launched for a case, and for its shorter runs. */
export function recordingsOf(task) {
  const recorded = (sizes) => record((fw, device) => task.prepare(fw, device, sizes), task.training);
  return { launches: recorded(task.sizes), shorter: (task.short ?? []).map(recorded) };
}

/** The kernels of a case, { kernel, launches } each with counts and predictions, in the order of their first launch. */
export function estimate(task, recordings) {
  const { launches } = recordings;
  const counted = new Map();
  const kernels = new Map();
  const numbers = new Map();
  for (const recorded of launches) {
    const number = numbers.get(recorded.kernel) ?? 0;
    numbers.set(recorded.kernel, number + 1);
    const same = PASSES.test(recorded.kernel) ? '' : recorded.arguments;
    const key = `${recorded.kernel} ${recorded.blocks} ${recorded.sharedBytes} ${same}`;
    if (!counted.has(key)) counted.set(key, countLaunch(recorded, number, task, recordings));
    const counts = counted.get(key);
    const kernel = kernelNamed(recorded.kernel);
    const launch = launchOf(recorded, kernel);
    const row = kernels.get(recorded.kernel) ?? { kernel, launches: [] };
    row.launches.push({ counts, launch, ...predict(counts, launch) });
    kernels.set(recorded.kernel, row);
  }
  return [...kernels.values()];
}
