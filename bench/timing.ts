// Samples of a prepared problem: warm-up, then times of single calls or of batches long enough for the clock.
import type { Prepared } from './contender';

/** Until then V8 has compiled what runs often, threads have found their cores, and clocks have settled. */
const WARM_CALLS = 3;
const WARM_MS = 200;

/** Milliseconds of `calls` calls. */
async function timed({ setup, run }: Prepared, calls: number): Promise<number> {
  await setup?.();
  const begin = performance.now();
  await run(calls);
  return performance.now() - begin;
}

/** Warms up and finds how many calls a sample takes. */
async function warmUp(prepared: Prepared, seconds: number, shortest: number): Promise<number> {
  const begin = performance.now();
  for (let calls = 1, i = 1; ; i++) {
    const long = (await timed(prepared, calls)) >= shortest || prepared.setup !== undefined;
    if (!long) calls *= 2;
    const spent = performance.now() - begin;
    if (long && ((i >= WARM_CALLS && spent > WARM_MS) || spent > 1000 * seconds)) return calls;
  }
}

/** Milliseconds per call, so long as `seconds` last; a sample of many short calls is at least `shortest` ms long. */
export async function measure(prepared: Prepared, seconds: number, shortest: number): Promise<number[]> {
  const calls = await warmUp(prepared, seconds, shortest);
  const sample = prepared.sample ?? (async () => (await timed(prepared, calls)) / calls);
  const samples: number[] = [];
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end || samples.length === 0) samples.push(await sample());
  return samples;
}
