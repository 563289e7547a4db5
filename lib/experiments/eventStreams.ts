// The tasks of 1992 (spec 3.1): a slow net learns to use the weights of a fast net as its memory, in one endless stream.
import { type Tensor, withSeed } from '../core';
import { type EventStream, flipFlopStream, parkingStream } from '../data';
import { init, Linear, Module } from '../nn';
import { type FromTo1992Options, fromTo1992 } from '../rules';
import { tensor, type TensorOptions } from '../ops';
import { constant } from '../optim';
import type { Experiment, Findings, TrialContext, TrialResult } from './experiment';
import { fit } from './fit';
import { measureOf, trialsOf } from './results';

/** Steps of the stream until it was solved, or Infinity's stand-in null; the largest error of every stretch. */
type Found = { solved: number | null; errors: number[] };

type Interface = NonNullable<FromTo1992Options['interface']>;

/** Steps that are learned from at once; fast weights are carried over, gradients are not. */
const STRETCH = 10;
const MOST_STEPS = { quick: 6_000, long: 50_000 };
const IN_A_ROW = 100;
const TOLERANCE = 0.05;
const STEEPNESS = 10;
const LEARNING_RATE = 0.05;

/** A linear net without biases, its weights uniform in +-0.1, that changes each fast weight or names where FROM and where TO. */
class SlowNet extends Module {
  delta: Linear | null;
  fromUnits: Linear | null;
  toUnits: Linear | null;

  constructor(
    readonly kind: Interface,
    { slowSize, fastSize, outputSize }: EventStream,
    where: TensorOptions,
  ) {
    super();
    const direct = kind === 'direct';
    const layer = (size: number): Linear => new Linear(slowSize, size, { bias: false, ...where });
    this.delta = direct ? layer(fastSize * outputSize) : null;
    this.fromUnits = direct ? null : layer(fastSize);
    this.toUnits = direct ? null : layer(outputSize);
    for (const weight of this.parameters()) init.uniform_(weight, -0.1, 0.1);
  }

  /** slow [1, T, S], x [1, T, I], the fast weights [1, 1, I, V]: outputs [1, T, 1, V] and the fast weights after them. */
  forward(slow: Tensor, x: Tensor, initialState: Tensor): { output: Tensor; finalState: Tensor } {
    const { delta, fromUnits, toUnits, kind } = this;
    const [, T, I] = x.shape;
    const V = initialState.shape[3];
    const changes = delta
      ? { delta: delta.forward(slow).reshape(1, T, I, V) }
      : { from: fromUnits!.forward(slow), to: toUnits!.forward(slow) };
    return fromTo1992(
      { x, ...changes, initialState },
      { interface: kind, activation: 'sigmoidSteep', steepness: STEEPNESS, outputFinalState: true },
    );
  }
}

async function run(data: EventStream, kind: Interface, context: TrialContext): Promise<Found> {
  const { seed, quick, device } = context;
  const { slowSize: S, fastSize: I, outputSize: V } = data;
  const net = withSeed(seed, () => new SlowNet(kind, data, { device }));
  let fastWeights = new Float32Array(I * V).fill(0.5);
  let [inARow, at, solved] = [0, 0, null as number | null];
  const errors: number[] = [];
  try {
    await fit(
      net.parameters(),
      {
        steps: (quick ? MOST_STEPS.quick : MOST_STEPS.long) / STRETCH,
        learningRate: LEARNING_RATE,
        schedule: constant,
        loss() {
          const { slow, fast, targets } = data.next(STRETCH);
          const [seen, x] = [
            tensor(slow, { shape: [1, STRETCH, S], device }),
            tensor(fast, { shape: [1, STRETCH, I], device }),
          ];
          const wanted = tensor(targets, { shape: [1, STRETCH, 1, V], device });
          const { output, finalState } = net.forward(seen, x, tensor(fastWeights, { shape: [1, 1, I, V], device }));
          const error = output.sub(wanted);
          fastWeights = Float32Array.from(finalState.detach().dataSync());
          const sizes = error.detach().abs().max(-1).reshape(STRETCH).dataSync();
          errors.push(Math.max(...sizes));
          for (const size of sizes) {
            at++;
            inARow = size <= TOLERANCE ? inARow + 1 : 0;
            if (inARow === IN_A_ROW) solved ??= at;
          }
          return error.square().sum();
        },
        checkEvery: 1,
        done: () => solved !== null,
      },
      context,
    );
    return { solved, errors };
  } finally {
    net.dispose();
  }
}

function findings(results: readonly TrialResult<Found>[], quick: boolean): Findings {
  const most = quick ? MOST_STEPS.quick : MOST_STEPS.long;
  const steps = measureOf(
    results,
    ({ solved }) => solved ?? Infinity,
    (n) => (n < Infinity ? `${n} steps` : `not in ${most} steps`),
  );
  return {
    measures: Object.fromEntries(
      trialsOf(results).map((trial) => [
        trial,
        {
          'steps until solved': results
            .flatMap((result) => (result.trial === trial ? [result.found.solved ?? `not in ${most}`] : []))
            .join(', '),
        },
      ]),
    ),
    charts: [
      {
        title: 'Largest error in ten steps, first seed',
        xLabel: 'step of the stream',
        yLabel: 'error',
        series: results
          .filter(({ seed }) => seed === 1)
          .map(({ trial, found }) => ({
            name: trial,
            x: found.errors.map((_, i) => STRETCH * (i + 1)),
            y: found.errors,
          })),
      },
    ],
    claims: trialsOf(results).flatMap((trial) =>
      steps.claim(`A slow net learns to keep what it needs in fast weights (${trial})`, { [trial]: [0, most] }),
    ),
  };
}

const SOURCE =
  'Schmidhuber, "Learning to control fast-weight memories: an alternative to dynamic recurrent networks" (Neural Computation 1992)';
const INTERFACES: readonly Interface[] = ['direct', 'fromTo'];

/** Solved: 100 steps in a row with errors of at most 0.05. Published: about 300 steps (direct), 800 (FROM and TO). */
export const flipFlopExperiment: Experiment<Found> = {
  name: 'flip-flop',
  title: 'Flip-flop of 1992: the first B after an A, after any delay',
  source: SOURCE,
  trials: () => INTERFACES,
  run: (trial, context) => run(flipFlopStream({ seed: context.seed }), trial as Interface, context),
  findings,
};

/** Solved as the flip-flop. The fast weights are squashed here, too, so that a slot replaces the one before. */
export const parkingExperiment: Experiment<Found> = {
  name: 'parking',
  title: 'Where did I park? Fast weights that bind a variable',
  source: SOURCE,
  trials: () => ['fromTo'],
  run: (trial, context) => run(parkingStream({ seed: context.seed }), trial as Interface, context),
  findings,
};
