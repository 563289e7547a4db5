// The time of a launch: the largest of five, each the time that one thing would take if nothing else were in the way.
//
//   issue    the schedulers issue every instruction, and the pipes take those that are theirs
//   tensor   the tensor cores multiply, at the rate that mma.sync reaches
//   shared   shared memory and the first-level cache pass 128 bytes at a time
//   memory   bytes go to and from the second-level cache, and each byte that is used to and from memory once
//   chain    a block waits for its own results; blocks that find no room wait for others
//
// The multiprocessor with the most blocks decides.
import { FACTS, PIPES, valueOf } from './constants.mjs';

const facts = valueOf(FACTS);
const pipes = valueOf(PIPES);

const tensorPerCycle = (facts.tensorPeak / facts.tensorClock / facts.multiprocessors) * facts.mmaShare;

/** Bytes of memory that a launch uses, each counted once for reading and once for writing. */
function memoryBytes(counts, { blocks, buffers }) {
  let sum = 0;
  for (const [key, each] of Object.entries(counts)) {
    if (!key.startsWith('buffer ')) continue;
    const buffer = buffers[Number(key.slice('buffer r'.length))];
    sum += Math.min(blocks * each, buffer?.bytes ?? Infinity);
  }
  return sum;
}

/** { times: { issue, tensor, shared, memory, chain }, bound, seconds, bytes } of a launch whose blocks do `counts` on the average. */
export function predict(counts, launch) {
  const { blocks, threads, blocksAtOnce } = launch;
  const most = Math.ceil(blocks / facts.multiprocessors);
  const atOnce = Math.min(most, blocksAtOnce);
  const schedulers = Math.min(facts.schedulers, (threads / 32) * atOnce);
  const part = schedulers / facts.schedulers;
  const pipeCycles = Object.entries(pipes).map(([name, rate]) => (counts[`pipe ${name}`] ?? 0) / (rate * part));
  const cycles = {
    issue: most * Math.max(counts.instructions / schedulers, ...pipeCycles),
    tensor: (most * counts.tensorWork) / (tensorPerCycle * part),
    shared: most * (counts.sharedPasses + counts.linePasses),
    chain: Math.ceil(most / blocksAtOnce) * counts.cycles,
  };
  const bytes = memoryBytes(counts, launch);
  const transferred = blocks * (counts.cacheReads + counts.cacheWrites);
  const seconds = Object.fromEntries(Object.entries(cycles).map(([name, n]) => [name, n / facts.clock]));
  const memory = Math.max(bytes / facts.memoryBandwidth, transferred / facts.cacheBandwidth);
  const { issue, tensor, shared, chain } = seconds;
  const times = { issue, tensor, shared, memory, chain };
  const [bound, time] = Object.entries(times).reduce((a, b) => (b[1] > a[1] ? b : a));
  return { times, bound, seconds: time, bytes, transferred };
}

/** Seconds between launches that follow each other. */
export const launchSeconds = facts.launch;
