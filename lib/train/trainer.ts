// The training loop: batches, steps, validation, checkpoints, until the steps or the minutes are used up.
import { breathe } from '../platform';
import {
  argumentError,
  checkInteger,
  checkObject,
  checkOptions,
  FastWeightsError,
  type OptionNames,
  type Tensor,
} from '../core';
import type { Tokenizer } from '../io';
import { checkModule } from '../nn';
import { type CommonSettings, type Optimizer, Plateau, type Schedule, warmup } from '../optim';
import type { Dataset } from '../data';
import { loadOptimizer, readTrainerState, saveCheckpoint } from './checkpoint';
import { fillTraining, type TrainingConfig } from './config';
import { evaluate, type EvaluateOptions, type Evaluation, type TrainableModel } from './evaluate';
import { checkParameters, explained } from './finite';
import { makeOptimizer, scheduleOver } from './optimizer';
import { Pace } from './pace';
import { type Metrics, type RunFolder } from './runFolder';
import { type Pending, Steps } from './steps';

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

function checkpointGradients(model: TrainableModel): void {
  if (typeof model.gradientCheckpointing !== 'boolean') {
    const expected = 'one with a property gradientCheckpointing';
    throw argumentError('UNSUPPORTED', 'Trainer', 'model', expected, 'one without');
  }
  model.gradientCheckpointing = true;
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
  private bestLoss: number | null = null;
  private validationLoss: number | null = null;
  private validated = -1;
  private saved = -1;
  private savedAt = 0;
  /** The call that is under way. */
  private task: string | null = null;
  private readonly pace: Pace;
  private readonly steps: Steps;
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
    if (this.config.gradientCheckpointing) checkpointGradients(options.model);
    const named = options.model.namedParameters();
    this.parameters = named.map(([, t]) => t);
    this.optimizer = makeOptimizer(this.config, named);
    const { evaluationSize } = options.data;
    const sequences = checkInteger('Trainer', 'data.evaluationSize', evaluationSize);
    this.pace = new Pace(this.config, Math.ceil(sequences / batchSize));
    this.steps = new Steps(options.model, options.data, this.config, this.optimizer, this.parameters);
    this.warmup = warmup(this.config.warmup);
    this.schedule = scheduleOver(this.config);
    this.plateau = schedule === 'reduceOnPlateau' ? new Plateau('training', { patience }) : null;
  }

  /** Seconds of work so far, over all resumed parts of the run. */
  get seconds(): number {
    return this.pace.seconds;
  }

  /** How far the run is, 0 to 1, by steps or by time, whichever is further. */
  get progress(): number {
    return this.pace.progress(this.step);
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
    return this.pace.totalSteps(this.step);
  }

  /** Goes on from a checkpoint whose weights the model already has. */
  restore(checkpoint: string): Promise<void> {
    return this.alone('restore', () => this.goBack(checkpoint));
  }

  private async goBack(checkpoint: string): Promise<void> {
    const state = await readTrainerState(checkpoint);
    await loadOptimizer(checkpoint, this.optimizer, this.parameters[0].device, state);
    await this.options.folder.truncateMetrics(state.step);
    this.steps.restore(state.generator);
    this.step = this.saved = state.step;
    this.pace.restore(state.seconds);
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
    this.pace.start();
    this.savedAt = this.seconds;
    this.steps.begin();
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
        this.pace.pass();
      }
      await settle();
      if (signal?.aborted) throw new FastWeightsError('ABORTED', `train: stopped after step ${this.step}`);
      const last = await this.validate({ maxSeconds: this.pace.secondsLeft, signal, onProgress: onValidation });
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
      this.pace.stop();
      await this.options.folder.flush();
      await this.options.folder.unlock();
    }
  }

  /** Frees the optimiser's memory; the model is the caller's. */
  dispose(): void {
    this.optimizer.zeroGrad();
    this.optimizer.dispose();
    this.steps.dispose();
  }

  private takeStep(): Pending {
    const taken = this.steps.take(this.step, this.learningRate, this.schedule.momentum?.(this.progress));
    this.step++;
    this.validationLoss = null;
    return taken;
  }

  private lastCheckpoint(): string {
    return this.saved >= 0 ? `the checkpoint of step ${this.saved} is kept` : 'there is no checkpoint yet';
  }

  /** Waits for the numbers of a step; a run whose numbers are no longer finite ends, its last checkpoint untouched. */
  private async collect(taken: Pending): Promise<Metrics> {
    const { step, learningRate } = taken;
    const { loss, gradNorm } = await this.steps.numbers(taken, () => this.lastCheckpoint());
    const secondsPerStep = this.pace.arrive(this.validated >= 0);
    const metrics = { step, seconds: this.seconds, loss, gradNorm, learningRate };
    if (secondsPerStep === undefined) return metrics;
    const { accumulate, batchSize } = this.config;
    const tokensPerSecond = (accumulate * batchSize * this.options.data.sequenceLength) / secondsPerStep;
    return { ...metrics, tokensPerSecond };
  }

  private async validate(limits: EvaluateOptions): Promise<Metrics> {
    const { model, data } = this.options;
    const { batchSize } = this.config;
    const from = performance.now();
    const validation = await this.steps.settings(() => evaluate(model, data, { ...limits, batchSize }));
    this.pace.keep((performance.now() - from) / 1000 / Math.ceil(validation.measured / batchSize));
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
        generator: this.steps.generatorState,
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
