// Many texts that one model writes at once: tokens of all together, and how long each waits for its next one.
import type { Prepared } from '../contender';
import { fw } from '../library';
import type { BatchingProblem, Case } from '../problem';
import { quantile } from '../statistics';
import { check, generation, makeModel, type SIZES, text } from './generation';

function batching(size: keyof typeof SIZES, sessions: number, reads = false): Case {
  const { shape, problem } = generation(size, 'cpu');
  return {
    name: `batching/${reads ? 'p99' : 'tokens'}/${size}/x${sessions}`,
    shape: `${shape}, ${sessions} ${sessions === 1 ? 'text' : 'texts'}`,
    problem: { ...problem, kind: 'batching', sessions, reads },
  };
}

export const batchingCases: Case[] = (['3.3M', '26M'] as const).flatMap((size) => [
  ...[1, 8, 64].map((sessions) => batching(size, sessions)),
  batching(size, 8, true),
]);

type Batch = InstanceType<typeof fw.BatchedModel>;

/** Reads prompts, one after the other, until told to stop. */
function readOn(batch: Batch, prompt: Int32Array): () => Promise<void> {
  let stopped = false;
  const done = (async () => {
    while (!stopped) {
      const session = batch.createSession();
      (await session.read(prompt)).dispose();
      session.dispose();
    }
  })();
  return () => {
    stopped = true;
    return done;
  };
}

/** Texts without end; a call is a token of each. */
export function prepareBatching(problem: BatchingProblem): Prepared {
  const model = makeModel(problem, problem.device);
  const batch = new fw.BatchedModel(model);
  const texts = Array.from({ length: problem.sessions }, (_, i) =>
    batch.createSession().generate([1, 2, i], { maxNewTokens: Number.MAX_SAFE_INTEGER, stopTokens: [] }),
  );
  const next = (): Promise<unknown> => Promise.all(texts.map((each) => each.next()));
  const rounds = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await next();
  };
  // Prompts are read, and all texts join, before anything counts.
  let joined: Promise<void> | undefined;
  const run = async (calls: number): Promise<void> => {
    await (joined ??= rounds(3));
    await rounds(calls);
  };
  if (!problem.reads) return { run, check: () => check(problem, model) };
  const prompt = text(problem, problem.prompt);
  const sample = async (): Promise<number> => {
    const stops = [readOn(batch, prompt), readOn(batch, prompt)];
    const gaps: number[] = [];
    for (let i = 0; i < 100; i++) {
      const begin = performance.now();
      await next();
      gaps.push(performance.now() - begin);
    }
    await Promise.all(stops.map((stop) => stop()));
    return quantile(
      gaps.sort((a, b) => a - b),
      0.99,
    );
  };
  return { run, sample, check: () => check(problem, model) };
}
