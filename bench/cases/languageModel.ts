// One training step of a small DeltaNet language model.
import type { Finding, Prepared } from '../contender';
import { uniform } from '../inputs';
import { fw, type Tensor } from '../library';
import type { Case, LanguageModelProblem } from '../problem';
import { relativeError, TOLERANCE } from '../reference';

const sizes = { layers: 4, d: 256, heads: 4, hidden: 704, vocabulary: 256, B: 8, T: 256 };

function training(name: string, precision: LanguageModelProblem['precision']): Case {
  return {
    name,
    shape: `${sizes.layers} layers d${sizes.d} B${sizes.B} T${sizes.T}`,
    problem: { kind: 'languageModel', ...sizes, precision },
  };
}

export const languageModelCases: Case[] = [
  training('train/deltanet', 'highest'),
  training('train/deltanet/bfloat16', 'medium'),
];

/** Tokens of the text that is checked: enough for products to be rounded. */
const CHECKED = 128;
/** Rounded operands meet in every layer. */
const ROUNDED = { forward: 0.005, gradient: 0.05 };

type Model = ReturnType<typeof fw.createModel>;

function makeModel(problem: LanguageModelProblem, options: { device: 'cpu' | 'js' }): Model {
  const { layers, d, heads, hidden, vocabulary } = problem;
  const model = fw.createModel('deltanet', {
    vocabSize: vocabulary,
    hiddenSize: d,
    numLayers: layers,
    numHeads: heads,
    intermediateSize: hidden,
    useShortConv: false,
    ...options,
  });
  model.train();
  return model;
}

function tokens(B: number, T: number, vocabulary: number, device: 'cpu' | 'js'): Tensor {
  const ids = Int32Array.from(uniform(B * T, 0, vocabulary, 7), Math.floor);
  return fw.tensor(ids, { shape: [B, T], dtype: 'int32', device });
}

/** Loss and gradients of a short text, by parameter. */
function gradients(
  model: Model,
  problem: LanguageModelProblem,
  device: 'cpu' | 'js',
): Record<string, ArrayLike<number>> {
  return fw.scope(() => {
    const ids = tokens(1, CHECKED, problem.vocabulary, device);
    const loss = model.forward(ids, { labels: ids }).loss!;
    loss.backward();
    const parameters = model.namedParameters().map(([name, t]) => [`d${name}`, t.grad!.dataSync()] as const);
    model.zeroGrad();
    return { loss: loss.detach().dataSync(), ...Object.fromEntries(parameters) };
  });
}

/**
 * The same weights on both devices; the js device's float32 sums stand for float64, the tolerance for both. They are
 * fresh ones: a model that has learnt its batch by heart has gradients of hardly more than rounding.
 */
export function checkModel(problem: LanguageModelProblem): Finding[] {
  const { model } = makeTraining(problem);
  const other = makeModel(problem, { device: 'js' });
  other.loadStateDict(Object.fromEntries(model.namedParameters().map(([name, t]) => [name, t.detach().to('js')])));
  const expected = gradients(other, problem, 'js');
  const found = gradients(model, problem, 'cpu');
  const tolerance = problem.precision === 'medium' ? ROUNDED : TOLERANCE;
  return Object.entries(expected).map(([quantity, reference]) => ({
    quantity,
    error: relativeError(found[quantity], reference),
    tolerance: quantity === 'loss' ? tolerance.forward : tolerance.gradient,
  }));
}

/** A model, and a step of its training that queues all of its work and returns the loss. */
export function makeTraining(problem: LanguageModelProblem): { model: Model; step: () => Tensor } {
  const { vocabulary, B, T } = problem;
  fw.manualSeed(1);
  fw.setFloat32MatmulPrecision(problem.precision);
  const model = makeModel(problem, { device: 'cpu' });
  const optimizer = new fw.optim.AdamW(model.namedParameters(), { lr: 3e-4 });
  const ids = tokens(B, T, vocabulary, 'cpu');
  const step = (): Tensor =>
    fw.scope(() => {
      const loss = model.forward(ids, { labels: ids }).loss!;
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    });
  return { model, step };
}

export function prepareLanguageModel(problem: LanguageModelProblem): Prepared {
  const { step } = makeTraining(problem);
  return {
    run(calls) {
      for (let i = 0; i < calls; i++) fw.scope(() => void step().item());
    },
    check: () => checkModel(problem),
  };
}
