// Completion of binary patterns by a plastic network (Miconi, Stanley, Clune 2018, simple.py; spec 3.12). Inputs are
// vectors of numbers, and the loss is on the last token only.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkNumbers,
  checkOptions,
  type HostRandom,
  type OptionNames,
} from '../../core';
import { evaluationRandom, MAX_STEP, trainingRandom } from '../dataset';

/** Options of `patternCompletion`. */
export interface PatternCompletionOptions {
  /** Bits of a pattern; 1000 by default, 50 for small networks. */
  bits?: number;
  /** Patterns of an episode; 5 by default. */
  patterns?: number;
  /** How often each is shown; 2 by default. */
  cycles?: number;
  /** Tokens that a pattern stays, in the test, too; 6 by default. */
  shown?: number;
  /** Tokens without a pattern after each; 4 by default. */
  pause?: number;
  /** The share of the bits that the test leaves out; 0.5 by default. */
  hidden?: number;
  /** What inputs are multiplied by, which holds the units that get one; 20 by default. */
  gain?: number;
  /** Default 0. */
  seed?: number;
  /** Episodes in the evaluation set, default 20. */
  evaluationSize?: number;
}

const OPTIONS: OptionNames<PatternCompletionOptions> = {
  bits: true,
  patterns: true,
  cycles: true,
  shown: true,
  pause: true,
  hidden: true,
  gain: true,
  seed: true,
  evaluationSize: true,
};

/** Episodes, of which the last token's output is compared with a pattern. */
export interface PatternBatch {
  /** B */
  batchSize: number;
  /** T = cycles patterns (shown + pause) + shown. */
  length: number;
  /** bits + 1: the last input is a bias, `gain` at every token. */
  width: number;
  /** [B, T, width] */
  inputs: Float32Array;
  /** [B, bits] of -1 and 1: the whole pattern of the test. */
  targets: Float32Array;
}

/** Batches of episodes; no `Dataset`, since its inputs are no token ids. */
export interface PatternCompletion {
  /** Always `patternCompletion`. */
  readonly name: string;
  /** A line for people. */
  readonly description: string;
  /** T */
  readonly length: number;
  /** bits + 1 */
  readonly width: number;
  /** The training batch of a step; one episode by default, as in the authors' program. */
  batch(step: number, batchSize?: number): PatternBatch;
  /** The fixed evaluation set. */
  evaluation(): PatternBatch;
}

/**
 * Patterns of -1 and 1, half of each, are shown several times in random order, each for some tokens; then one of them, of
 * which random bits are left out (0), which the network completes: spec 3.12, after `simple.py` of Miconi, Stanley, Clune
 * 2018. The network has a unit for each bit and one for the bias; the authors' loss is the sum of squares at the last
 * token, their figure the share of wrong signs (`wrongSigns`).
 */
export function patternCompletion(options: PatternCompletionOptions = {}): PatternCompletion {
  const name = 'patternCompletion';
  checkOptions(name, options, OPTIONS);
  const bits = checkInteger(name, 'bits', options.bits ?? 1000, 1);
  const patterns = checkInteger(name, 'patterns', options.patterns ?? 5, 1);
  const cycles = checkInteger(name, 'cycles', options.cycles ?? 2, 1);
  const shown = checkInteger(name, 'shown', options.shown ?? 6, 1);
  const pause = checkInteger(name, 'pause', options.pause ?? 4, 0);
  const hidden = checkNumber(name, 'hidden', options.hidden ?? 0.5, 0, 1);
  const gain = checkNumber(name, 'gain', options.gain ?? 20);
  const seed = checkInteger(name, 'seed', options.seed ?? 0);
  const evaluationSize = checkInteger(name, 'evaluationSize', options.evaluationSize ?? 20, 1, MAX_STEP);
  const length = cycles * patterns * (shown + pause) + shown;
  const width = bits + 1;

  const draw = (random: HostRandom, inputs: Float32Array, target: Float32Array): void => {
    const order = Array.from({ length: patterns }, () =>
      random.shuffle(Array.from({ length: bits }, (_, i) => (i < bits >> 1 ? -1 : 1))),
    );
    const tested = order[random.below(patterns)];
    const seen = random.shuffle(Array.from({ length: bits }, (_, i) => Number(i >= Math.floor(hidden * bits))));
    const show = (pattern: readonly number[], from: number): void => {
      for (let t = from; t < from + shown; t++) pattern.forEach((bit, i) => (inputs[t * width + i] = gain * bit));
    };
    for (let cycle = 0; cycle < cycles; cycle++) {
      random.shuffle(order).forEach((pattern, i) => show(pattern, (cycle * patterns + i) * (shown + pause)));
    }
    show(
      tested.map((bit, i) => bit * seen[i]),
      length - shown,
    );
    for (let t = 0; t < length; t++) inputs[t * width + bits] = gain;
    target.set(tested);
  };
  const collect = (batchSize: number, randomOf: (b: number) => HostRandom): PatternBatch => {
    const inputs = new Float32Array(batchSize * length * width);
    const targets = new Float32Array(batchSize * bits);
    for (let b = 0; b < batchSize; b++) {
      const own = inputs.subarray(b * length * width, (b + 1) * length * width);
      draw(randomOf(b), own, targets.subarray(b * bits, (b + 1) * bits));
    }
    return { batchSize, length, width, inputs, targets };
  };

  return {
    name,
    description: `completion of ${patterns} patterns of ${bits} bits`,
    length,
    width,
    batch(step, batchSize = 1) {
      const random = trainingRandom(seed, checkInteger(name, 'step', step, 0, MAX_STEP - 1));
      return collect(checkInteger(name, 'batchSize', batchSize, 1), () => random);
    },
    evaluation: () => collect(evaluationSize, (b) => evaluationRandom(seed, b)),
  };
}

/** The share of `outputs` whose sign is not that of the targets, both [B, bits]; 0 has no sign. */
export function wrongSigns(outputs: ArrayLike<number>, targets: ArrayLike<number>): number {
  checkNumbers('wrongSigns', 'outputs', outputs);
  checkNumbers('wrongSigns', 'targets', targets);
  const size = targets.length;
  if (outputs.length !== size) {
    throw argumentError('SHAPE', 'wrongSigns', 'outputs', `${size} values`, `${outputs.length}`);
  }
  const wrong = Array.from(targets, (target, i) => Number(Math.sign(outputs[i]) !== Math.sign(target)));
  return wrong.reduce((sum, one) => sum + one, 0) / Math.max(1, size);
}
