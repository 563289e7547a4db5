// A text that one model writes token by token, with guesses by what stood in it before and without.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Prepared } from '../contender';
import type { Case, SpeculationProblem } from '../problem';
import { check, generation, makeModel, type SIZES } from './generation';

function speculation(size: keyof typeof SIZES, written: SpeculationProblem['written'], guesses: boolean): Case {
  const { shape, problem } = generation(size, 'cpu');
  return {
    name: `speculation/${size}/${written}/${guesses ? 'ngram' : 'none'}`,
    shape,
    problem: { ...problem, kind: 'speculation', written, guesses, tokens: 64 },
  };
}

export const speculationCases: Case[] = (['3.3M', '26M'] as const).flatMap((size) =>
  (['rows', 'prose'] as const).flatMap((written) =>
    [false, true].map((guesses) => speculation(size, written, guesses)),
  ),
);

/** Bytes of rows that differ in their numbers, or of what is written about this library. */
function bytesOf(written: SpeculationProblem['written']): Uint8Array {
  if (written === 'rows') {
    const row = (i: number): string => `{"id": ${i}, "name": "item ${(i * 7919) % 10_007}", "tags": ["new", "sale"]}\n`;
    return Buffer.from(Array.from({ length: 4000 }, (_, i) => row(i)).join(''));
  }
  const folder = path.resolve(__dirname, '../../docs');
  const files = readdirSync(folder).filter((name) => name.endsWith('.md'));
  return Buffer.concat(files.sort().map((name) => readFileSync(path.join(folder, name))));
}

const PROMPT = 512;

/** The model is made to write the text: what a call takes does not depend on what is said. */
export function prepareSpeculation(problem: SpeculationProblem): Prepared {
  const model = makeModel(problem, problem.device);
  const bytes = bytesOf(problem.written);
  const text = model.generate(bytes.subarray(0, PROMPT), {
    maxNewTokens: Number.MAX_SAFE_INTEGER,
    stopTokens: [],
    logitProcessors: [(logits, ids) => (logits[bytes[ids.length % bytes.length]] = 1e4)],
    ...(problem.guesses && { speculate: { guesser: 'ngram' } }),
  });
  return {
    async run(calls) {
      for (let i = 0; i < calls * problem.tokens; i++) await text.next();
    },
    check: () => check(problem, model),
  };
}
