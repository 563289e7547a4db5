// One training step of a small DeltaNet language model.
import type { Finding, Prepared } from '../contender';
import { uniform } from '../inputs';
import { type Device, fw, type Tensor } from '../library';
import { type Case, isCard, type LanguageModelProblem, type Place } from '../problem';
import { relativeError, TOLERANCE } from '../reference';
import { finishQueue } from './queue';

export const SMALL = { layers: 4, d: 256, heads: 4, hidden: 704, vocabulary: 256, B: 8, T: 256 };

export type ModelSizes = typeof SMALL;

export const modelShape = ({ layers, d, B, T }: ModelSizes): string => `${layers} layers d${d} B${B} T${T}`;

function training(name: string, precision: LanguageModelProblem['precision']): Case {
  return {
    name,
    shape: modelShape(SMALL),
    problem: { kind: 'languageModel', device: 'cpu', dtype: 'float32', precision, ...SMALL },
  };
}

export const languageModelCases: Case[] = [
  training('train/deltanet', 'highest'),
  training('train/deltanet/bfloat16', 'medium'),
];

/** What is checked of a model: a text just long enough for products to be rounded, and not more than so many layers. */
const CHECKED = { tokens: 128, layers: 4 };
/** Rounded operands meet in every layer; in a bfloat16 model every activation is rounded. */
const ROUNDED = { medium: { forward: 0.005, gradient: 0.05 }, bfloat16: { forward: 0.005, gradient: 0.12 } };

function toleranceOf({ dtype, precision }: LanguageModelProblem): { forward: number; gradient: number } {
  if (dtype === 'bfloat16') return ROUNDED.bfloat16;
  return precision === 'medium' ? ROUNDED.medium : TOLERANCE.float32;
}

type Model = ReturnType<typeof fw.createModel>;

function makeModel(problem: LanguageModelProblem, options: Place): Model {
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

function tokens(B: number, T: number, vocabulary: number, device: Device): Tensor {
  const ids = Int32Array.from(uniform(B * T, 0, vocabulary, 7), Math.floor);
  return fw.tensor(ids, { shape: [B, T], dtype: 'int32', device });
}

/** Loss and gradients of a short text, by parameter. */
function gradients(model: Model, problem: LanguageModelProblem, device: Device): Record<string, ArrayLike<number>> {
  return fw.scope(() => {
    const ids = tokens(1, Math.min(CHECKED.tokens, problem.B * problem.T), problem.vocabulary, device);
    const loss = model.forward(ids, { labels: ids }).loss;
    loss.backward();
    const parameters = model.namedParameters().map(([name, t]) => [`d${name}`, t.grad!.dataSync()] as const);
    model.zeroGrad();
    return { loss: loss.detach().dataSync(), ...Object.fromEntries(parameters) };
  });
}

/** What a device's models are compared with. */
function referenceOf(device: Device): Device {
  const faster = isCard(device) && fw.devices().some((each) => each.device === 'cpu' && each.available);
  return faster ? 'cpu' : 'js';
}

/**
 * The same weights on both devices; the float32 sums of the other device stand for float64, the tolerance for both. They
 * are fresh ones: a model that has learnt its batch by heart has gradients of hardly more than rounding.
 */
export function checkModel(given: LanguageModelProblem): Finding[] {
  const problem = { ...given, layers: Math.min(given.layers, CHECKED.layers) };
  const { model } = makeTraining(problem);
  const device = referenceOf(problem.device);
  const other = makeModel(problem, { device, dtype: 'float32' });
  const weights = model.namedParameters().map(([name, t]) => [name, t.detach().to('float32').to(device)] as const);
  other.loadStateDict(Object.fromEntries(weights));
  const found = gradients(model, problem, problem.device);
  fw.setFloat32MatmulPrecision('highest');
  const expected = gradients(other, problem, device);
  const tolerance = toleranceOf(problem);
  return Object.entries(expected).map(([quantity, reference]) => ({
    quantity,
    error: relativeError(found[quantity], reference),
    tolerance: quantity === 'loss' ? tolerance.forward : tolerance.gradient,
  }));
}

/** A model, and a step of its training that queues all of its work and returns the loss. */
export function makeTraining(problem: LanguageModelProblem): { model: Model; step: () => Tensor } {
  const { device, dtype, vocabulary, B, T } = problem;
  fw.manualSeed(1);
  fw.setFloat32MatmulPrecision(problem.precision);
  const model = makeModel(problem, { device, dtype });
  const optimizer = new fw.optim.AdamW(model.namedParameters(), { lr: 3e-4 });
  const ids = tokens(B, T, vocabulary, device);
  const step = (): Tensor =>
    fw.scope(() => {
      const { loss } = model.forward(ids, { labels: ids, outputLogits: false });
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    });
  return { model, step };
}

export function prepareLanguageModel(problem: LanguageModelProblem): Prepared {
  const { step } = makeTraining(problem);
  const finish = finishQueue(problem.device);
  return {
    run(calls) {
      for (let i = 0; i < calls; i++) step().dispose();
      return finish();
    },
    check: () => checkModel(problem),
  };
}
