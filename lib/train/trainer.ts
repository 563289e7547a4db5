// The training loop: batches, steps, validation, checkpoints, until the steps or the minutes are used up.
import { breathe } from '../platform';
import {
  argumentError,
  checkInteger,
  checkObject,
  checkOptions,
  FastWeightsError,
  Generator,
  type OptionNames,
  outsideScopes,
  scope,
  type Tensor,
  withGenerator,
} from '../core';
import { getBackend } from '../backends';
import { noGrad } from '../autograd';
import { cat, crossEntropy, keepSettings, withChecks, withPrecision } from '../ops';
import type { Tokenizer } from '../io';
import { checkModule } from '../nn';
import { clipFactor, type CommonSettings, type Optimizer, Plateau, type Schedule, setMomentum, warmup } from '../optim';
import type { Batch, Dataset } from '../data';
import { loadOptimizer, readTrainerState, saveCheckpoint } from './checkpoint';
import { fillTraining, type TrainingConfig } from './config';
import { batchTensors, evaluate, type EvaluateOptions, type Evaluation, inMode, type TrainableModel } from './evaluate';
import { causeOf, checkParameters, explained } from './finite';
import { makeOptimizer, scheduleOver } from './optimizer';
import { type Metrics, type RunFolder } from './runFolder';

/** What a trainer works on. */
export interface TrainerOptions {
  /** Its weights change in place; it stays the caller's to dispose. */
  model: TrainableModel;
  /** Its ids must be below the vocabulary of the model; closing it is the caller's. */
  data: Dataset;
  /** Where metrics and checkpoints go; locked against other processes while `run` is at work. */
  folder: RunFolder;
  /** What is left out gets its default: 1000 steps where neither steps nor minutes are given. */
  training?: Partial<TrainingConfig>;
  /** Saved beside the model in every checkpoint. */
  tokenizer?: Tokenizer;
}

const PARTS: OptionNames<TrainerOptions> = { model: true, data: true, folder: true, training: true, tokenizer: true };

/** Options of `Trainer.run`. */
export interface TrainOptions {
  /** Aborting it ends the run after the step at hand, with a checkpoint and an ABORTED error. */
  signal?: AbortSignal;
  /** Called with every line of metrics.jsonl. */
  onMetrics?(metrics: Metrics): void;
  /** Called during the last validation with the sequences done, and those that there will be as far as that is known. */
  onValidation?(done: number, total: number): void;
}

const TRAIN: OptionNames<TrainOptions> = { signal: true, onMetrics: true, onValidation: true };

/** Where a run that came to its end stands. */
export interface TrainingResult {
  /** Steps done in the whole run, those before a resumption included. */
  step: number;
  /** Seconds of work, over all resumed parts. */
  seconds: number;
  /** The measurement at the end: of the whole evaluation set, as far as a budget of minutes leaves time. */
  validation: Evaluation;
  /** The smallest validation loss so far, in nats; those on the way are of `validationBatches` batches only. */
  bestLoss: number;
  /** The last checkpoint. */
  checkpoint: string;
}

/** Streams of random numbers in steps are counted from here: those of new weights are below, those of data above. */
const FIRST_STREAM = 2 ** 47;

/** Steps after which the speed is known well enough to reckon the length of a run. */
const SETTLED = 10;
/** The most of a budget of time that the validation at the end takes. */
const VALIDATION_SHARE = 0.1;

function checkpointGradients(model: TrainableModel): void {
  if (typeof model.gradientCheckpointing !== 'boolean') {
    const expected = 'one with a property gradientCheckpointing';
    throw argumentError('UNSUPPORTED', 'Trainer', 'model', expected, 'one without');
  }
  model.gradientCheckpointing = true;
}

/** A step whose numbers are still on their way from the device. */
interface Pending {
  step: number;
  learningRate: number;
  values: Promise<ArrayLike<number>>;
  tensor: Tensor;
}

/**
 * Trains a model on a data set and writes metrics and checkpoints into a run folder. A loss or gradient that is not
 * finite ends the run with INVALID_ARGUMENT, its last checkpoint untouched.
 */
export class Trainer {
  /** The settings with every default filled in. */
  readonly config: TrainingConfig;
  /** Steps done. */
  step = 0;
  private secondsBefore = 0;
  private begun = 0;
  private bestLoss: number | null = null;
  private validationLoss: number | null = null;
  private validated = -1;
  private saved = -1;
  private savedAt = 0;
  private secondsPerStep = NaN;
  private arrivedAt = 0;
  /** Steps that have arrived since `run` was called. */
  private arrived = 0;
  /** Seconds of a budget kept back for the validation at the end. */
  private reserve = 0;
  /** [1]: 0, and NaN from the first step on whose loss or gradients are not finite, so that nothing changes any more. */
  private health: Tensor | null = null;
  private readonly evaluationBatches: number;
  private settings = keepSettings();
  /** The call that is under way. */
  private task: string | null = null;
  private generator: Generator;
  private readonly optimizer: Optimizer<CommonSettings>;
  private readonly parameters: Tensor[];
  /** Of the progress, behind the warm-up. */
  private readonly schedule: Schedule;
  private readonly warmup: Schedule;
  /** Where the schedule has plateaus of the validation loss, and what they have left of the learning rate. */
  private readonly plateau: Plateau | null;
  private share = 1;

  constructor(private readonly options: TrainerOptions) {
    checkOptions('Trainer', options, PARTS);
    checkModule('Trainer', 'model', options.model);
    checkObject('Trainer', 'data', options.data);
    this.config = fillTraining(options.training);
    const { batchSize, schedule, patience } = this.config;
    this.generator = new Generator(this.config.seed, FIRST_STREAM);
    if (this.config.gradientCheckpointing) checkpointGradients(options.model);
    const named = options.model.namedParameters();
    this.parameters = named.map(([, t]) => t);
    this.optimizer = makeOptimizer(this.config, named);
    const { evaluationSize } = options.data;
    this.evaluationBatches = Math.ceil(checkInteger('Trainer', 'data.evaluationSize', evaluationSize) / batchSize);
    this.keep(Infinity);
    this.warmup = warmup(this.config.warmup);
    this.schedule = scheduleOver(this.config);
    this.plateau = schedule === 'reduceOnPlateau' ? new Plateau('training', { patience }) : null;
  }

  /** Seconds of work so far, over all resumed parts of the run. */
  get seconds(): number {
    return this.secondsBefore + (this.begun > 0 ? (performance.now() - this.begun) / 1000 : 0);
  }

  /** How far the run is, 0 to 1, by steps or by time, whichever is further. */
  get progress(): number {
    const { steps, minutes } = this.config;
    const bySteps = steps === null ? 0 : steps === 0 ? 1 : this.step / steps;
    const byTime = minutes === null ? 0 : this.seconds / Math.max(1e-3, minutes * 60 - this.reserve);
    return Math.min(1, Math.max(bySteps, byTime));
  }

  /** Of the next step. */
  get learningRate(): number {
    return this.config.learningRate * (this.warmup(this.step) * this.schedule(this.progress)) * this.share;
  }

  /** At the end of the run, plateaus that may come apart. */
  get finalLearningRate(): number {
    return this.config.learningRate * this.schedule(1) * this.share;
  }

  /** Steps of the whole run; reckoned from the speed where time limits it, undefined until that is known. */
  get totalSteps(): number | undefined {
    const { steps, minutes } = this.config;
    if (minutes === null) return steps ?? undefined;
    if (this.progress >= 1) return this.step;
    if (this.step < SETTLED || this.progress === 0) return undefined;
    return Math.max(this.step, Math.round(this.step / this.progress));
  }

  /** Goes on from a checkpoint whose weights the model already has. */
  restore(checkpoint: string): Promise<void> {
    return this.alone('restore', () => this.goBack(checkpoint));
  }

  private async goBack(checkpoint: string): Promise<void> {
    const state = await readTrainerState(checkpoint);
    await loadOptimizer(checkpoint, this.optimizer, this.parameters[0].device, state);
    await this.options.folder.truncateMetrics(state.step);
    this.generator = new Generator(state.generator.seed, state.generator.stream);
    this.step = this.saved = state.step;
    this.secondsBefore = state.seconds;
    this.bestLoss = state.bestLoss;
    this.validationLoss = state.validationLoss;
    if (state.validationLoss !== null) this.validated = state.step;
    if (this.plateau && state.plateau) {
      const { share, ...measured } = state.plateau;
      this.plateau.loadState(measured);
      this.share = share;
    }
  }

  /** Trains to the end. What was reached is in the run folder whenever and however this ends. */
  async run(options: TrainOptions = {}): Promise<TrainingResult> {
    checkOptions('train', options, TRAIN);
    return this.alone('run', () => this.train(options));
  }

  /** Runs a call that no other may change the trainer in. */
  private async alone<T>(task: string, run: () => Promise<T>): Promise<T> {
    if (this.task !== null) {
      const found = `one that ${this.task} is at work on`;
      throw argumentError('INVALID_ARGUMENT', task, 'trainer', 'free; await what is under way first', found);
    }
    this.task = task;
    try {
      return await run();
    } finally {
      this.task = null;
    }
  }

  private async train(options: TrainOptions): Promise<TrainingResult> {
    const { signal, onMetrics, onValidation } = options;
    const { validateEvery, validationBatches, checkpointEvery, checkpointMinutes } = this.config;
    await this.options.folder.lock();
    const report = (metrics: Metrics): void => {
      this.options.folder.log(metrics);
      onMetrics?.(metrics);
    };
    this.begun = this.arrivedAt = performance.now();
    this.arrived = 0;
    this.savedAt = this.seconds;
    this.health?.dispose();
    this.health = null;
    this.settings = keepSettings();
    let pending: Pending | undefined;
    // The numbers of a step are read while the next one is under way, so that the device's queue never runs dry.
    const settle = async (next?: Pending): Promise<void> => {
      const done = pending;
      pending = next;
      if (done) report(await this.collect(done));
    };
    const begin = async (): Promise<Pending> => {
      try {
        return this.takeStep();
      } catch (error) {
        // What went wrong in the step before is the cause.
        await settle();
        throw await explained(error, this.options.model, `step ${this.step + 1}`, this.lastCheckpoint());
      }
    };
    try {
      await checkParameters('train', this.options.model.namedParameters());
      while (this.progress < 1 && !signal?.aborted) {
        await settle(await begin());
        await breathe();
        const validationDue = this.step % validateEvery === 0;
        const checkpointDue = this.step % checkpointEvery === 0 || this.seconds - this.savedAt > checkpointMinutes * 60;
        if (!validationDue && !checkpointDue) continue;
        await settle();
        if (validationDue && this.progress < 1) {
          report(await this.validate({ maxBatches: validationBatches, signal }));
          this.meetPlateau();
        }
        if (checkpointDue || this.validationLoss === this.bestLoss) await this.save();
        this.arrivedAt = performance.now();
      }
      await settle();
      if (signal?.aborted) throw new FastWeightsError('ABORTED', `train: stopped after step ${this.step}`);
      const last = await this.validate({ maxSeconds: this.secondsLeft, signal, onProgress: onValidation });
      report(last);
      await this.save();
      return {
        step: this.step,
        seconds: this.seconds,
        validation: last.validation!,
        bestLoss: this.bestLoss!,
        checkpoint: this.options.folder.checkpointPath(this.step),
      };
    } catch (error) {
      if (error instanceof FastWeightsError && error.code === 'ABORTED') {
        await settle();
        await this.save();
      } else if (this.step === 0 && this.saved < 0) await this.options.folder.discard();
      throw error;
    } finally {
      pending?.tensor.dispose();
      this.secondsBefore = this.seconds;
      this.begun = 0;
      await this.options.folder.flush();
      await this.options.folder.unlock();
    }
  }

  /** Frees the optimiser's memory; the model is the caller's. */
  dispose(): void {
    this.optimizer.zeroGrad();
    this.optimizer.dispose();
    this.health?.dispose();
    this.health = null;
  }

  /** Queues one step. */
  private takeStep(): Pending {
    return outsideScopes(() => this.asStep(() => this.queueStep()));
  }

  /** Runs `fn` with the settings that steps have; the very first one with the checks of values on. */
  private asStep<T>(fn: () => T): T {
    const backend = getBackend(this.parameters[0].device);
    const run = (): T => {
      try {
        backend.useProductLibrary?.(true);
        return this.step === 0 ? withChecks(true, fn) : fn();
      } finally {
        backend.useProductLibrary?.(false);
      }
    };
    return this.settings(() =>
      withGenerator(this.generator, () =>
        inMode(this.options.model, true, () => withPrecision(this.config.matmulPrecision, run)),
      ),
    );
  }

  private queueStep(): Pending {
    const { clip } = this.config;
    const { learningRate } = this;
    const momentum = this.schedule.momentum?.(this.progress);
    const tensor = scope(() => {
      const losses = this.addGradients(this.step);
      const { factor, norm } = clipFactor(this.parameters, clip);
      this.optimizer.lr = learningRate;
      if (momentum !== undefined) setMomentum(this.optimizer, momentum);
      this.optimizer.step(noGrad(() => factor.add(this.healthAfter([...losses, norm]))));
      this.optimizer.zeroGrad();
      return noGrad(() => cat([...losses, norm], 0));
    });
    this.step++;
    this.validationLoss = null;
    const values = tensor.data();
    // Whoever awaits them sees why they failed; a step that throws before that is reason enough for the run to end.
    values.catch(() => undefined);
    return { step: this.step, learningRate, values, tensor };
  }

  /** Adds the gradients of a step, counted from 0; the loss of each batch counts by its share of all labels. */
  private addGradients(step: number): Tensor[] {
    const { model, data } = this.options;
    const { accumulate, batchSize } = this.config;
    const batches = Array.from({ length: accumulate }, (_, i) => data.batch(step * accumulate + i, batchSize));
    const count = batches.reduce((n, batch) => n + batch.labelCount, 0);
    return batches.map((batch) => addGradients(model, batch, count));
  }

  private healthAfter(numbers: readonly Tensor[]): Tensor {
    const before = this.health;
    const sum = numbers.reduce((a, b) => a.add(b)).mul(0);
    this.health = (before ? sum.add(before) : sum).persist();
    before?.dispose();
    return this.health;
  }

  private lastCheckpoint(): string {
    return this.saved >= 0 ? `the checkpoint of step ${this.saved} is kept` : 'there is no checkpoint yet';
  }

  /** Waits for the numbers of a step; a run whose numbers are no longer finite ends, its last checkpoint untouched. */
  private async collect({ step, learningRate, values, tensor }: Pending): Promise<Metrics> {
    const numbers = Array.from(await values);
    tensor.dispose();
    const gradNorm = numbers.pop()!;
    const loss = numbers.reduce((sum, x) => sum + x, 0);
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      const [what, found] = Number.isFinite(loss) ? ['gradient norm', gradNorm] : ['loss', loss];
      const cause = await causeOf(this.options.model, loss, () => this.asStep(() => this.addGradients(step - 1)));
      throw new FastWeightsError(
        'INVALID_ARGUMENT',
        `train: the ${what} of step ${step} is ${found}${cause}; ${this.lastCheckpoint()}; try a lower learning rate`,
        {
          argument: 'learningRate',
          expected: 'small enough that the loss stays finite',
          found: String(found),
        },
      );
    }
    const now = performance.now();
    const spent = (now - this.arrivedAt) / 1000;
    this.arrivedAt = now;
    // The first one also makes buffers and looks at values: it says nothing of the others' speed.
    if (++this.arrived > 1) {
      this.secondsPerStep = this.arrived === 2 ? spent : 0.9 * this.secondsPerStep + 0.1 * spent;
    }
    const { accumulate, batchSize } = this.config;
    // Until a validation has been timed: a forward pass takes about a third of a step.
    if (this.arrived === SETTLED && this.validated < 0) this.keep((0.4 * this.secondsPerStep) / accumulate);
    const speed = (accumulate * batchSize * this.options.data.sequenceLength) / this.secondsPerStep;
    const metrics = { step, seconds: this.seconds, loss, gradNorm, learningRate };
    return this.arrived > 1 ? { ...metrics, tokensPerSecond: speed } : metrics;
  }

  /** Keeps back what a validation of the whole set takes, but no more than its share of the budget. */
  private keep(secondsPerBatch: number): void {
    const { minutes } = this.config;
    if (minutes === null) return;
    const whole = this.evaluationBatches === 0 ? 0 : secondsPerBatch * this.evaluationBatches;
    this.reserve = Math.min(VALIDATION_SHARE * minutes * 60, whole);
  }

  /** For the last validation: its share of the budget in any case, for the reserve is but an estimate. */
  private get secondsLeft(): number {
    const { minutes } = this.config;
    return minutes === null ? Infinity : Math.max(VALIDATION_SHARE * minutes * 60, minutes * 60 - this.seconds);
  }

  private async validate(limits: EvaluateOptions): Promise<Metrics> {
    const { model, data } = this.options;
    const { batchSize } = this.config;
    const from = performance.now();
    const validation = await this.settings(() => evaluate(model, data, { ...limits, batchSize }));
    this.keep((performance.now() - from) / 1000 / Math.ceil(validation.measured / batchSize));
    this.validationLoss = validation.loss;
    this.bestLoss = Math.min(this.bestLoss ?? Infinity, validation.loss);
    this.validated = this.step;
    return { step: this.step, seconds: this.seconds, validation };
  }

  /** Takes the loss of a validation on the way into the schedule. */
  private meetPlateau(): void {
    const { floor, plateauFactor } = this.config;
    if (this.plateau?.update(this.validationLoss!)) this.share = Math.max(floor, this.share * plateauFactor);
  }

  private async save(): Promise<void> {
    const { model, folder, tokenizer } = this.options;
    const { optimizer, step, seconds, bestLoss, validationLoss, plateau, share } = this;
    if (this.saved === step && this.validated !== step) return;
    await folder.flush();
    const { tensors: _, ...counts } = optimizer.state();
    await saveCheckpoint(
      folder.checkpointPath(step),
      { model, optimizer, tokenizer },
      {
        step,
        seconds,
        generator: this.generator.state,
        optimizer: counts,
        bestLoss,
        validationLoss,
        ...(plateau && { plateau: { ...plateau.state(), share } }),
        config: await folder.config(),
      },
    );
    this.saved = step;
    this.savedAt = this.seconds;
    await folder.prune();
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
