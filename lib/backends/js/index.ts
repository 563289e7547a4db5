// The js device: every kernel in TypeScript, on float32 and float64. It needs no addon and is the reference of the others.
import { engine } from '../../platform';
import type { Backend } from '../backend';
import type { Tensor } from '../../core';
import { KERNELS, type FieldKind, type KernelName, type KernelTable } from '../table';
import { attention, attentionBackward } from './attention';
import { shortConv, shortConvBackward, shortConvStep } from './conv';
import { cast, copy, fill } from './copy';
import { binary, compare, swiglu, swigluBackward, unary, unaryBackward } from './elementwise';
import { embedding, embeddingBackward } from './embedding';
import { feedForward, feedForwardBackward, linear } from './linear';
import { crossEntropy, crossEntropyBackward } from './loss';
import { gather, scatterAdd, where } from './indexed';
import { exponentialGates, exponentialGatesBackward } from './exponentialGates';
import { lstmCell, lstmCellBackward } from './lstm';
import { matmul } from './matmul';
import { JsMemory } from './memory';
import { norm, normBackward } from './norm';
import { adam, sgd } from './optim';
import { quantizedLinear } from './quantized';
import { dropout, random } from './random';
import { recurrence, recurrenceBackward, recurrenceStep } from './recurrence';
import { argmax, cumsum, reduce, scan, sumSquares } from './reduce';
import { rope } from './rope';
import { argsort } from './sort';
import { deltaCell, deltaCellBackward } from './sequential/deltaCell';
import { recurrentDelta, recurrentDeltaBackward } from './sequential/recurrentDelta';
import { linearLearner, linearLearnerBackward } from './sequential/linearLearner';
import { selfReferential, selfReferentialBackward } from './sequential/selfReferential';
import { softmax, softmaxBackward } from './softmax';

const kernels: KernelTable = {
  fill,
  cast,
  copy,
  unary,
  unaryBackward,
  binary,
  compare,
  where,
  gather,
  scatterAdd,
  argsort,
  reduce,
  argmax,
  cumsum,
  scan,
  softmax,
  softmaxBackward,
  norm,
  normBackward,
  embedding,
  embeddingBackward,
  shortConv,
  shortConvBackward,
  shortConvStep,
  matmul,
  linear,
  quantizedLinear,
  feedForward,
  feedForwardBackward,
  random,
  dropout,
  crossEntropy,
  crossEntropyBackward,
  rope,
  attention,
  attentionBackward,
  lstmCell,
  lstmCellBackward,
  exponentialGates,
  exponentialGatesBackward,
  recurrence,
  recurrenceBackward,
  recurrenceStep,
  selfReferential,
  selfReferentialBackward,
  recurrentDelta,
  recurrentDeltaBackward,
  deltaCell,
  deltaCellBackward,
  linearLearner,
  linearLearnerBackward,
  adam,
  sgd,
  sumSquares,
  swiglu,
  swigluBackward,
};

/** These refuse indices outside their table also where rows are empty. */
const ANSWERING: readonly KernelName[] = ['embedding', 'embeddingBackward', 'gather', 'scatterAdd'];

/** A call that has no element to write does nothing: other sizes of it may be too large even to count through. */
function unlessEmpty(table: KernelTable): KernelTable {
  const entries = (Object.keys(KERNELS) as KernelName[]).map((name) => {
    const run = table[name] as (args: object) => void;
    const written = Object.entries<FieldKind>(KERNELS[name]).flatMap(([field, kind]) =>
      kind.startsWith('out') || kind.startsWith('inout') ? [field] : [],
    );
    if (ANSWERING.includes(name)) return [name, run] as const;
    const writes = (value: Tensor | readonly Tensor[] | null): boolean =>
      value !== null && ('size' in value ? value.size > 0 : value.length > 0);
    const guarded = (args: Readonly<Record<string, Tensor | readonly Tensor[] | null>>): void => {
      if (written.some((field) => writes(args[field]))) run(args);
    };
    return [name, guarded] as const;
  });
  return Object.fromEntries(entries) as unknown as KernelTable;
}

class JsBackend extends JsMemory implements Backend {
  readonly name = engine;
  readonly kernels = unlessEmpty(kernels);
  readonly prefersTokenLoop = true;
  readonly computes = ['float32', 'float64'] as const;

  /** JavaScript has one thread. */
  setNumThreads(): void {}

  synchronize(): Promise<void> {
    return Promise.resolve();
  }

  /** The garbage collector decides. */
  trimMemory(): void {}
}

export function createJsBackend(): Backend {
  return new JsBackend();
}
