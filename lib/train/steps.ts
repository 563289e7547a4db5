// One step of training after the other: gradients of its batches, clipping, the optimiser, and the numbers that come of it.
import { FastWeightsError, Generator, outsideScopes, scope, type Tensor, withGenerator } from '../core';
import { getBackend } from '../backends';
import { noGrad } from '../autograd';
import { cat, crossEntropy, keepSettings, withChecks, withPrecision } from '../ops';
import { clipFactor, type CommonSettings, type Optimizer, setMomentum } from '../optim';
import type { Batch, Dataset } from '../data';
import type { TrainingConfig } from './config';
import { batchTensors, inMode, type TrainableModel } from './evaluate';
import { causeOf } from './finite';

/** Streams of random numbers in steps are counted from here: those of new weights are below, those of data above. */
const FIRST_STREAM = 2 ** 47;

/** A step whose numbers are still on their way from the device. */
export interface Pending {
  /** Its number, counted from 1. */
  step: number;
  learningRate: number;
  values: Promise<ArrayLike<number>>;
  tensor: Tensor;
}

/** Takes the steps of a run. */
export class Steps {
  private generator: Generator;
  /** [1]: 0, and NaN from the first step on whose loss or gradients are not finite, so that nothing changes any more. */
  private health: Tensor | null = null;
  /** What steps and validations run with: the settings of whoever made the trainer, then of whoever runs it. */
  settings = keepSettings();

  constructor(
    private readonly model: TrainableModel,
    private readonly data: Dataset,
    private readonly config: TrainingConfig,
    private readonly optimizer: Optimizer<CommonSettings>,
    private readonly parameters: readonly Tensor[],
  ) {
    this.generator = new Generator(config.seed, FIRST_STREAM);
  }

  /** Where the random numbers are. */
  get generatorState(): { seed: number; stream: number } {
    return this.generator.state;
  }

  restore({ seed, stream }: { seed: number; stream: number }): void {
    this.generator = new Generator(seed, stream);
  }

  /** Begins anew, with the settings of the caller. */
  begin(): void {
    this.dispose();
    this.settings = keepSettings();
  }

  dispose(): void {
    this.health?.dispose();
    this.health = null;
  }

  /** Queues the step behind so many others. */
  take(done: number, learningRate: number, momentum: number | undefined): Pending {
    return outsideScopes(() => this.asStep(done, () => this.queue(done, learningRate, momentum)));
  }

  /** Runs `fn` with the settings that steps have; the very first one with the checks of values on. */
  private asStep<T>(done: number, fn: () => T): T {
    const backend = getBackend(this.parameters[0].device);
    const run = (): T => {
      try {
        backend.useProductLibrary?.(true);
        return done === 0 ? withChecks(true, fn) : fn();
      } finally {
        backend.useProductLibrary?.(false);
      }
    };
    return this.settings(() =>
      withGenerator(this.generator, () =>
        inMode(this.model, true, () => withPrecision(this.config.matmulPrecision, run)),
      ),
    );
  }

  private queue(done: number, learningRate: number, momentum: number | undefined): Pending {
    const tensor = scope(() => {
      const losses = this.addGradients(done);
      const { factor, norm } = clipFactor(this.parameters, this.config.clip);
      this.optimizer.lr = learningRate;
      if (momentum !== undefined) setMomentum(this.optimizer, momentum);
      this.optimizer.step(noGrad(() => factor.add(this.healthAfter([...losses, norm]))));
      this.optimizer.zeroGrad();
      return noGrad(() => cat([...losses, norm], 0));
    });
    const values = tensor.data();
    // Whoever awaits them sees why they failed; a step that throws before that is reason enough for the run to end.
    values.catch(() => undefined);
    return { step: done + 1, learningRate, values, tensor };
  }

  /** Adds the gradients of the step behind so many others; the loss of each batch counts by its share of all labels. */
  private addGradients(done: number): Tensor[] {
    const { accumulate, batchSize } = this.config;
    const batches = Array.from({ length: accumulate }, (_, i) => this.data.batch(done * accumulate + i, batchSize));
    const count = batches.reduce((n, batch) => n + batch.labelCount, 0);
    return batches.map((batch) => addGradients(this.model, batch, count));
  }

  private healthAfter(numbers: readonly Tensor[]): Tensor {
    const before = this.health;
    const sum = numbers.reduce((a, b) => a.add(b)).mul(0);
    this.health = (before ? sum.add(before) : sum).persist();
    before?.dispose();
    return this.health;
  }

  /** Waits for the numbers of a step; where they are no longer finite an error says why, and `kept`, what is left of the run. */
  async numbers({ step, values, tensor }: Pending, kept: () => string): Promise<{ loss: number; gradNorm: number }> {
    const numbers = Array.from(await values);
    tensor.dispose();
    const gradNorm = numbers.pop()!;
    const loss = numbers.reduce((sum, x) => sum + x, 0);
    if (Number.isFinite(loss) && Number.isFinite(gradNorm)) return { loss, gradNorm };
    const [what, found] = Number.isFinite(loss) ? ['gradient norm', gradNorm] : ['loss', loss];
    const cause = await causeOf(this.model, loss, () => this.asStep(step, () => this.addGradients(step - 1)));
    throw new FastWeightsError(
      'INVALID_ARGUMENT',
      `train: the ${what} of step ${step} is ${found}${cause}; ${kept()}; try a lower learning rate`,
      {
        argument: 'learningRate',
        expected: 'small enough that the loss stays finite',
        found: String(found),
      },
    );
  }
}

/** Adds the gradients of one batch; the loss counts by its share of all labels of the step. */
function addGradients(model: TrainableModel, batch: Batch, count: number): Tensor {
  const { ids, labels } = batchTensors(model, batch);
  const sum = model.targetLoss?.(ids, labels) ?? crossEntropy(model.forward(ids).logits, labels, { reduction: 'sum' });
  const loss = sum.mul(1 / Math.max(1, count));
  loss.backward();
  return loss.detach();
}
