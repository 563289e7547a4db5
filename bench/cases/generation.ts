// Whole models that write a text, one token after the other, and that read a prompt before.
import type { Finding, Prepared } from '../contender';
import { type Device, fw } from '../library';
import type { Case, GenerationProblem } from '../problem';
import { relativeError, TOLERANCE } from '../reference';

export const SIZES = {
  '0.14M': { layers: 2, d: 64, heads: 2, hidden: 192, vocabulary: 256 },
  '3.3M': { layers: 4, d: 256, heads: 4, hidden: 704, vocabulary: 256 },
  '26M': { layers: 8, d: 512, heads: 8, hidden: 1408, vocabulary: 1024 },
  '171M': { layers: 12, d: 1024, heads: 8, hidden: 2816, vocabulary: 16384 },
};

export function generation(size: keyof typeof SIZES, device: Device): { shape: string; problem: GenerationProblem } {
  const { layers, d } = SIZES[size];
  return {
    shape: `${layers} layers d${d}`,
    problem: { kind: 'generation', device, dtype: 'float32', prompt: PROMPT[device] ?? 2048, ...SIZES[size] },
  };
}

/** A prompt is to take its share of a second beside the text. */
const PROMPT: Partial<Record<Device, number>> = { js: 128 };

const MODELS: [keyof typeof SIZES, Device][] = [
  ['0.14M', 'cpu'],
  ['3.3M', 'cpu'],
  ['26M', 'cpu'],
  ['0.14M', 'js'],
  ['3.3M', 'js'],
];

const named = (what: string): { name: string; shape: string; problem: GenerationProblem; serial: boolean }[] =>
  MODELS.map(([size, device]) => {
    const name = `${what}/${device === 'js' ? 'js/' : ''}${size}`;
    return { name, serial: device === 'js', ...generation(size, device) };
  });

/** Of a model whose weights no cache holds: a token takes as long as reading them. */
const FROM_MEMORY = ([undefined, 'transformer'] as const).flatMap((family) =>
  ([undefined, 'bfloat16', 'int8'] as const).map((weights): Case => {
    const { shape, problem } = generation('171M', 'cpu');
    const name = ['generate/171M', family, weights].filter((part) => part !== undefined).join('/');
    return { name, shape, problem: { ...problem, family, weights } };
  }),
);

export const generationCases: Case[] = [...named('generate'), ...FROM_MEMORY];

/** How late a timer is meanwhile. */
export const generationLoopCases: Case[] = named('eventloop/generate').map(({ problem, ...rest }) => ({
  ...rest,
  problem: { kind: 'eventLoop', during: problem },
}));

type Model = ReturnType<typeof fw.createModel>;
type ModelProblem = Omit<GenerationProblem, 'kind'>;

export function makeModel(problem: ModelProblem, device: Device): Model {
  const { layers, d, heads, hidden, vocabulary, family = 'deltanet' } = problem;
  fw.manualSeed(1);
  const model = fw.createModel(family, {
    vocabSize: vocabulary,
    hiddenSize: d,
    numLayers: layers,
    numHeads: heads,
    intermediateSize: hidden,
    device,
  });
  return model.eval();
}

/** Ids of a text that the model has not written. */
export function text({ vocabulary }: ModelProblem, length: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => (i * 7919) % vocabulary);
}

const CHECKED = { prompt: 24, tokens: 8 };

/** Of more values than this no second model is made: the parallel form is that of the model itself. */
const COPIED = 5e7;

/** The logits of the step form against the parallel form on `js`. */
export function check(problem: ModelProblem, model: Model): Finding[] {
  const ids = text(problem, CHECKED.prompt + CHECKED.tokens);
  using session = model.createSession();
  session.feed(ids.subarray(0, CHECKED.prompt)).dispose();
  let found: ArrayLike<number> = [];
  for (const id of ids.subarray(CHECKED.prompt)) found = fw.scope(() => session.feed([id]).dataSync());
  const reference = model.parameterCount > COPIED ? model : copyOnJs(problem, model);
  const expected = fw.noGrad(() =>
    fw.scope(() => {
      const all = fw.tensor(ids, { shape: [1, ids.length], dtype: 'int32', device: reference.device });
      return reference.forward(all).logits.slice(1, -1).dataSync();
    }),
  );
  return [{ quantity: 'logits', error: relativeError(found, expected), tolerance: TOLERANCE.float32.forward }];
}

function copyOnJs(problem: ModelProblem, model: Model): Model {
  const reference = makeModel(problem, 'js');
  const weights = Object.entries(model.stateDict()).map(([name, t]) => [name, t.to('js')] as const);
  reference.loadStateDict(Object.fromEntries(weights));
  return reference;
}

/** What every text begins with. */
export const PROMPT_TOKENS = [1, 2, 3];

/** The first tokens of a text, always the likeliest. */
export async function greedyTokens(problem: ModelProblem): Promise<number[]> {
  const model = makeModel(problem, problem.device);
  const ids: number[] = [];
  const options = { maxNewTokens: CHECKED.tokens, stopTokens: [], temperature: 0 };
  for await (const { id } of model.generate(PROMPT_TOKENS, options)) ids.push(id);
  return ids;
}

/** A text without end; a call is a token. */
export function prepareGeneration(problem: GenerationProblem): Prepared {
  const model = makeModel(problem, problem.device);
  if (problem.weights) model.quantize(problem.weights);
  fw.trimMemory();
  const text = model.generate(PROMPT_TOKENS, { maxNewTokens: Number.MAX_SAFE_INTEGER, stopTokens: [] });
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) await text.next();
    },
    check: () => check(problem, model),
  };
}

/** Prompts, and as many tokens after them. */
export function generationWork(problem: GenerationProblem): { work: () => Promise<void>; check: Prepared['check'] } {
  const model = makeModel(problem, problem.device);
  const prompt = text(problem, problem.prompt);
  const work = async (): Promise<void> => {
    for await (const _ of model.generate(prompt, { maxNewTokens: problem.prompt, stopTokens: [] }));
  };
  return { work, check: () => check(problem, model) };
}
