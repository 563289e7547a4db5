// llama.cpp through node-llama-cpp: one token after the other of a softmax Transformer in the layout of Llama.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { greedyTokens, makeModel, PROMPT_TOKENS } from '../cases/generation';
import type { Prepared } from '../contender';
import type { GenerationProblem, Problem } from '../problem';
import type { JavaScriptPeer } from '.';
import { writeGguf } from './gguf';
import { packageFile } from './packages';

interface Sequence {
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number>;
  clearHistory(): Promise<void>;
}
interface Context {
  getSequence(): Sequence;
}
interface LlamaModel {
  createContext(options: object): Promise<Context>;
}
interface Llama {
  loadModel(options: { modelPath: string }): Promise<LlamaModel>;
}
interface Package {
  getLlama(options: object): Promise<Llama>;
}

const CONTEXT = 2 ** 14;
/** Greedy, and beyond what would end a text. */
const OPTIONS = { temperature: 0, yieldEogToken: true };

/** The package has no form for `require`. */
async function load(threads: number): Promise<Llama> {
  const { getLlama } = (await import(pathToFileURL(packageFile('node-llama-cpp')).href)) as Package;
  return getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: threads });
}

async function sequenceOf(problem: GenerationProblem, threads: number): Promise<Sequence> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-gguf-'));
  try {
    const modelPath = path.join(folder, 'model.gguf');
    writeGguf(modelPath, problem, makeModel(problem, 'cpu').stateDict());
    const model = await (await load(threads)).loadModel({ modelPath });
    const context = await model.createContext({ contextSize: CONTEXT, threads: { ideal: threads, min: threads } });
    return context.getSequence();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function prepare(problem: GenerationProblem, threads: number): Promise<Prepared> {
  const sequence = await sequenceOf(problem, threads);
  const text = sequence.evaluate(PROMPT_TOKENS, OPTIONS);
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) await text.next();
    },
    /** The first tokens; fewer bits round differently, and only have to be ones. */
    async check() {
      await sequence.clearHistory();
      const again = sequence.evaluate(PROMPT_TOKENS, OPTIONS);
      const expected = await greedyTokens(problem);
      const found: number[] = [];
      while (found.length < expected.length) found.push((await again.next()).value as number);
      const differ = expected.filter((id, i) => (problem.weights ? found[i] < 0 : id !== found[i])).length;
      return [{ quantity: 'tokens', error: differ / expected.length, tolerance: 0 }];
    },
  };
}

export const llamaCpp: JavaScriptPeer = {
  name: 'llama.cpp',
  packages: ['node-llama-cpp'],
  // Beside its programs for processors come 600 MB for cards, which not everyone who measures has to load.
  install: 'npm --prefix bench install --no-save --ignore-scripts node-llama-cpp',
  supports: (problem: Problem) => problem.kind === 'generation' && problem.family === 'transformer',
  prepare: (problem, threads) => prepare(problem as GenerationProblem, threads),
};
