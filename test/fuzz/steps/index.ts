// All kinds of steps, and how often each is taken.
import type { Builder } from '../builder';
import { binary, cast, dropout, quotient, unary, whole } from './elementwise';
import { crossEntropy, embedding } from './indices';
import { inPlace, overlap } from './inPlace';
import { model, module } from './modules';
import { feedForward, linear, matmul } from './products';
import { badPacking, refusal } from './refusals';
import { feature, norm, reduce, softmax, statistics } from './rows';
import { rule, ruleStep } from './rules';
import { attention, convolution, convolutionStep, lstm, rope } from './sequences';
import { dispose, frame, join, view } from './views';

interface Kind {
  weight: number;
  emit(b: Builder): void;
}

export const STEPS: Record<string, Kind> = {
  unary: { weight: 10, emit: unary },
  binary: { weight: 10, emit: binary },
  whole: { weight: 3, emit: whole },
  quotient: { weight: 1, emit: quotient },
  cast: { weight: 2, emit: cast },
  dropout: { weight: 1, emit: dropout },
  reduce: { weight: 6, emit: reduce },
  statistics: { weight: 3, emit: statistics },
  softmax: { weight: 2, emit: softmax },
  norm: { weight: 4, emit: norm },
  feature: { weight: 2, emit: feature },
  matmul: { weight: 5, emit: matmul },
  linear: { weight: 4, emit: linear },
  feedForward: { weight: 2, emit: feedForward },
  view: { weight: 12, emit: view },
  frame: { weight: 3, emit: frame },
  join: { weight: 3, emit: join },
  dispose: { weight: 4, emit: dispose },
  inPlace: { weight: 4, emit: inPlace },
  overlap: { weight: 2, emit: overlap },
  embedding: { weight: 2, emit: embedding },
  crossEntropy: { weight: 2, emit: crossEntropy },
  convolution: { weight: 3, emit: convolution },
  convolutionStep: { weight: 1, emit: convolutionStep },
  attention: { weight: 2, emit: attention },
  rope: { weight: 1, emit: rope },
  lstm: { weight: 1, emit: lstm },
  rule: { weight: 8, emit: rule },
  step: { weight: 4, emit: ruleStep },
  module: { weight: 1.5, emit: module },
  model: { weight: 0.3, emit: model },
  refusal: { weight: 1.5, emit: refusal },
  badPacking: { weight: 0.5, emit: badPacking },
};

/** Kinds of values and calls, which run through the steps. */
export const ASPECTS: Record<string, string> = {
  gradient: 'programs on the tape with a backward pass',
  special: 'infinities, NaN, zeros of both signs',
  huge: 'numbers at the ends of the range of float32',
  empty: 'sizes of 0',
  large: 'tensors that threads share',
  badIndex: 'indices and labels out of range',
  out: 'memory handed over for the output of a step, odd ones among it',
};
