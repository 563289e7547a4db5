// The time of a run: how long it has been at work, how fast it is, and what of its minutes the validation at the end gets.
import type { TrainingConfig } from './config';

/** Steps after which the speed is known well enough to reckon the length of a run. */
const SETTLED = 10;
/** The most of a budget of time that the validation at the end takes. */
const VALIDATION_SHARE = 0.1;

/** Of one run; it counts seconds of work between `start` and `stop` alone. */
export class Pace {
  private secondsBefore = 0;
  private begun = 0;
  private secondsPerStep = NaN;
  private arrivedAt = 0;
  /** Steps that have arrived since the start. */
  private arrived = 0;
  /** Seconds of a budget kept back for the validation at the end. */
  private reserve = 0;
  /** The budget in seconds; null where steps alone end the run. */
  private readonly budget: number | null;

  constructor(
    private readonly config: TrainingConfig,
    /** Batches of the whole evaluation set. */
    private readonly evaluationBatches: number,
  ) {
    this.budget = config.minutes === null ? null : config.minutes * 60;
    this.keep(Infinity);
  }

  /** Of work so far, over all resumed parts of the run. */
  get seconds(): number {
    return this.secondsBefore + (this.begun > 0 ? (performance.now() - this.begun) / 1000 : 0);
  }

  /** Goes on from so many seconds of work. */
  restore(seconds: number): void {
    this.secondsBefore = seconds;
  }

  start(): void {
    this.begun = this.arrivedAt = performance.now();
    this.arrived = 0;
  }

  stop(): void {
    this.secondsBefore = this.seconds;
    this.begun = 0;
  }

  /** How far the run is behind so many steps, 0 to 1, by steps or by time, whichever is further. */
  progress(step: number): number {
    const { steps } = this.config;
    const bySteps = steps === null ? 0 : steps === 0 ? 1 : step / steps;
    const byTime = this.budget === null ? 0 : this.seconds / Math.max(1e-3, this.budget - this.reserve);
    return Math.min(1, Math.max(bySteps, byTime));
  }

  /** Steps of the whole run; reckoned from the speed where time limits it, undefined until that is known. */
  totalSteps(step: number): number | undefined {
    if (this.budget === null) return this.config.steps ?? undefined;
    const progress = this.progress(step);
    if (progress >= 1) return step;
    if (step < SETTLED || progress === 0) return undefined;
    return Math.max(step, Math.round(step / progress));
  }

  /**
   * Takes the time of a step whose numbers have arrived. Seconds per step; undefined for the first one, which also makes buffers and
   * looks at values, and says nothing of the others' speed. `timed` says whether a validation has told how long one takes.
   */
  arrive(timed: boolean): number | undefined {
    const now = performance.now();
    const spent = (now - this.arrivedAt) / 1000;
    this.arrivedAt = now;
    if (++this.arrived > 1) {
      this.secondsPerStep = this.arrived === 2 ? spent : 0.9 * this.secondsPerStep + 0.1 * spent;
    }
    // Until a validation has been timed: a forward pass takes about a third of a step.
    if (this.arrived === SETTLED && !timed) this.keep((0.4 * this.secondsPerStep) / this.config.accumulate);
    return this.arrived > 1 ? this.secondsPerStep : undefined;
  }

  /** Leaves what was done since the last step, a validation or a checkpoint, out of the time of the next. */
  pass(): void {
    this.arrivedAt = performance.now();
  }

  /** Keeps back what a validation of the whole set takes, but no more than its share of the budget. */
  keep(secondsPerBatch: number): void {
    if (this.budget === null) return;
    const whole = this.evaluationBatches === 0 ? 0 : secondsPerBatch * this.evaluationBatches;
    this.reserve = Math.min(VALIDATION_SHARE * this.budget, whole);
  }

  /** For the last validation: its share of the budget in any case, for the reserve is but an estimate. */
  get secondsLeft(): number {
    return this.budget === null ? Infinity : Math.max(VALIDATION_SHARE * this.budget, this.budget - this.seconds);
  }
}
