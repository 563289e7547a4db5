// The suite of a card: launches, products, whole sequences, training, single steps. What tells most comes first. On the
// emulated card everything is tiny: that the code runs is all it can tell.
import type { Device } from '../library';
import type {
  Case,
  LanguageModelProblem,
  MatmulProblem,
  Place,
  Precision,
  SequenceProblem,
  StepProblem,
} from '../problem';
import { launchCases } from './launch';
import { modelShape, type ModelSizes, SMALL } from './languageModel';
import { MIXERS } from './sequence';

const DTYPES = ['float32', 'bfloat16'] as const;

/** How numbers are stored and multiplied; the name of a case ends with it, except for the first. */
interface Numbers {
  dtype: Place['dtype'];
  precision: Precision;
}
const NUMBERS: Readonly<Record<string, Numbers>> = {
  '': { dtype: 'float32', precision: 'highest' },
  '/medium': { dtype: 'float32', precision: 'medium' },
  '/bfloat16': { dtype: 'bfloat16', precision: 'highest' },
};

const suffix = (dtype: Place['dtype']): string => (dtype === 'float32' ? '' : `/${dtype}`);

type Resize<S> = (sizes: S) => S;
/** How sizes shrink on the emulated card. */
interface Scale {
  sequence: Resize<Pick<SequenceProblem, 'B' | 'T' | 'H'>>;
  step: Resize<Pick<StepProblem, 'B' | 'H'>>;
  matmul: Resize<Pick<MatmulProblem, 'm' | 'n' | 'k'>>;
  model: Resize<ModelSizes>;
}
const FULL: Scale = { sequence: (s) => s, step: (s) => s, matmul: (s) => s, model: (s) => s };
const TINY: Scale = {
  sequence: ({ B, T }) => ({ B: Math.min(B, 2), T: T / 64, H: 1 }),
  step: ({ B }) => ({ B: Math.ceil(B / 32), H: 2 }),
  matmul: ({ m, n, k }) => ({ m: m / 64, n: n / 64, k: k / 64 }),
  model: (sizes) => ({ ...sizes, layers: 2, d: 32, heads: 2, hidden: 48, vocabulary: 32, B: 1, T: 32 }),
};

/** DeltaNet of the published recipes for 340 million weights: a step of training takes 51 GB, beside what kernels ask for. */
const LARGE: ModelSizes = { layers: 24, d: 1024, heads: 8, hidden: 2816, vocabulary: 32000, B: 8, T: 4096 };
const LARGE_NEEDS = 60e9;

const HEADS = 16;
const SIZES = { '8x4096': { B: 8, T: 4096 }, '1x8192': { B: 1, T: 8192 }, '4x2048': { B: 4, T: 2048 } };
const SEQUENCES = ['delta', 'gated-delta', 'kda', 'gla'];
const PASSES = { forward: 'forward', 'forward-backward': 'training' } as const;

const STEPS = ['delta', 'gated-delta'];
/** Times 16 heads: 16 to 4096 states. */
const BATCHES = [1, 4, 16, 64, 256];

const LARGE_PRODUCT = { m: 4096, n: 4096, k: 4096 };
const LAYER_PRODUCT = { m: 2048, n: 1024, k: 1024 };

export function cudaSuite(device: Device): Case[] {
  const scale = device === 'cuda-emulation' ? TINY : FULL;

  function matmul(form: MatmulProblem['form'], full: typeof LARGE_PRODUCT, numbers: string): Case {
    const { m, n, k } = scale.matmul(full);
    return {
      name: `matmul/${form}/${full.m}x${full.n}x${full.k}${numbers}`,
      shape: `${m}x${n}x${k}`,
      problem: { kind: 'matmul', device, ...NUMBERS[numbers], form, batch: 1, m, n, k },
    };
  }

  function step(mixer: string, B: number, dtype: Place['dtype']): Case {
    const full = { B, H: HEADS };
    const sizes = scale.step(full);
    return {
      name: `step/${mixer}/${B * HEADS}${suffix(dtype)}`,
      shape: `B${sizes.B} H${sizes.H} d128`,
      problem: { kind: 'step', ...MIXERS[mixer], device, dtype, ...sizes, D: 128 },
    };
  }

  function sequence(
    what: keyof typeof PASSES,
    mixer: string,
    size: keyof typeof SIZES,
    D: number,
    dtype: Place['dtype'],
  ): Case {
    const sizes = scale.sequence({ ...SIZES[size], H: HEADS });
    return {
      name: `${what}/${mixer}/${size}/d${D}${suffix(dtype)}`,
      shape: `B${sizes.B} T${sizes.T} H${sizes.H} d${D}`,
      problem: { kind: 'sequence', ...MIXERS[mixer], pass: PASSES[what], device, dtype, ...sizes, D },
    };
  }

  function train(name: string, full: ModelSizes, numbers: string, needs?: number): Case {
    const sizes = scale.model(full);
    const problem: LanguageModelProblem = { kind: 'languageModel', device, ...NUMBERS[numbers], ...sizes };
    return { name: `train/${name}${numbers}`, shape: modelShape(sizes), problem, needs };
  }

  const numbers = Object.keys(NUMBERS);
  const sequences = (size: keyof typeof SIZES, D: number): Case[] =>
    SEQUENCES.flatMap((mixer) =>
      (['forward', 'forward-backward'] as const).flatMap((what) =>
        DTYPES.map((dtype) => sequence(what, mixer, size, D, dtype)),
      ),
    );
  return [
    ...launchCases({ device, dtype: 'float32' }),
    ...numbers.map((each) => matmul('NN', LARGE_PRODUCT, each)),
    ...sequences('8x4096', 128),
    ...numbers.map((each) => train('deltanet', SMALL, each)),
    ...numbers.map((each) => train('deltanet-340m', LARGE, each, LARGE_NEEDS)),
    ...STEPS.flatMap((mixer) => DTYPES.flatMap((dtype) => BATCHES.map((B) => step(mixer, B, dtype)))),
    ...numbers.flatMap((each) => (['NN', 'NT', 'TN'] as const).map((form) => matmul(form, LAYER_PRODUCT, each))),
    ...sequences('1x8192', 128),
    ...sequences('4x2048', 128),
    ...(['8x4096', '1x8192', '4x2048'] as const).flatMap((size) => sequences(size, 64)),
  ];
}
