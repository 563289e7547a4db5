// Schedules at work: what sets the learning rates of an optimiser's groups from step to step.
import {
  argumentError,
  checkFunction,
  checkInteger,
  checkNumber,
  checkObject,
  checkOptions,
  describe,
  type OptionNames,
} from '../core';
import { Optimizer } from './optimizer';
import type { CommonSettings, LiveGroup } from './parameters';
import { type PlateauOptions, type PlateauState, Plateau } from './plateau';
import type { Schedule } from './schedules';

type AnyOptimizer = Optimizer<CommonSettings>;
type AnyGroup = LiveGroup<CommonSettings> & { betas?: readonly [number, number]; momentum?: number };

function checkOptimizer(where: string, optimizer: unknown): void {
  if (optimizer instanceof Optimizer) return;
  throw argumentError('INVALID_ARGUMENT', where, 'optimizer', 'an optimiser', describe(optimizer));
}

/** Sets the momentum of groups that have one; of those with `betas` the first of them. Whether any has. */
export function setMomentum(optimizer: AnyOptimizer, momentum: number): boolean {
  checkOptimizer('setMomentum', optimizer);
  checkNumber('setMomentum', 'momentum', momentum, 0, 1);
  let any = false;
  for (const group of optimizer.paramGroups as readonly AnyGroup[]) {
    if ('betas' in group) group.betas = [momentum, group.betas![1]];
    if ('momentum' in group) group.momentum = momentum;
    any ||= 'betas' in group || 'momentum' in group;
  }
  return any;
}

/** Where a schedule is; plain JSON. */
export interface LRSchedulerState {
  /** Calls of `step`. */
  steps: number;
}

const STATE: OptionNames<LRSchedulerState> = { steps: true };

/**
 * Attaches a schedule to an optimiser: each group's `lr` is its `initialLr` times the factor, from the moment that this is
 * made. PyTorch's `LambdaLR` and `OneCycleLR` in one; call `step` after the optimiser's:
 *
 *     const scheduler = new optim.LRScheduler(optimizer, optim.cosine(1000, { warmup: 100 }));
 *     for (...) { ...; optimizer.step(); scheduler.step(); }
 *
 * A schedule with momentum (`oneCycle`) is refused beside an optimiser without.
 */
export class LRScheduler {
  private steps = 0;

  /** Sets the learning rates of step 0. */
  constructor(
    private readonly optimizer: AnyOptimizer,
    private readonly schedule: Schedule,
  ) {
    checkOptimizer('LRScheduler', optimizer);
    checkFunction('LRScheduler', 'schedule', schedule, 'a function of the step');
    const momentum = schedule.momentum?.(0);
    if (momentum !== undefined && !setMomentum(optimizer, momentum)) {
      const expected = 'with momentum or betas for a schedule that sets them (cycleMomentum: false)';
      throw argumentError('INVALID_ARGUMENT', 'LRScheduler', 'optimizer', expected, 'one without');
    }
    this.apply();
  }

  /** Goes on by one step. */
  step(): void {
    this.steps++;
    this.apply();
  }

  /** The learning rates of the groups, as the last call set them, for the optimiser's next step. */
  getLastLr(): number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }

  /** What `loadState` needs; the learning rates follow from it. */
  state(): LRSchedulerState {
    return { steps: this.steps };
  }

  /** Goes on where another was, and sets the learning rates. */
  loadState(state: LRSchedulerState): void {
    checkObject('LRScheduler.loadState', 'state', state);
    checkOptions('LRScheduler.loadState', state, STATE);
    this.steps = checkInteger('LRScheduler.loadState', 'steps', state.steps);
    this.apply();
  }

  private apply(): void {
    const factor = checkNumber('LRScheduler', 'schedule', this.schedule(this.steps), 0);
    for (const group of this.optimizer.paramGroups) group.lr = group.initialLr * factor;
    const momentum = this.schedule.momentum?.(this.steps);
    if (momentum !== undefined) setMomentum(this.optimizer, momentum);
  }
}

/** Settings of `ReduceLROnPlateau`; names and defaults are PyTorch's. */
export interface ReduceLROnPlateauOptions extends PlateauOptions {
  /** What a learning rate is multiplied by, above 0 and below 1; 0.1. */
  factor?: number;
  /** Least learning rate; 0. */
  minLr?: number;
  /** A change of the learning rate below this is not made; 1e-8. */
  eps?: number;
}

const REDUCE: OptionNames<ReduceLROnPlateauOptions> = {
  mode: true,
  patience: true,
  threshold: true,
  thresholdMode: true,
  cooldown: true,
  factor: true,
  minLr: true,
  eps: true,
};

/**
 * Multiplies the learning rates of all groups by `factor` when a measured number has stopped getting better, as PyTorch's
 * class of that name. Its state is that of the measurements; the rates are in the optimiser's.
 */
export class ReduceLROnPlateau {
  private readonly plateau: Plateau;
  private readonly factor: number;
  private readonly minLr: number;
  private readonly eps: number;

  /** Changes nothing yet. */
  constructor(
    private readonly optimizer: AnyOptimizer,
    options: ReduceLROnPlateauOptions = {},
  ) {
    const where = 'ReduceLROnPlateau';
    checkOptimizer(where, optimizer);
    checkOptions(where, options, REDUCE);
    const { factor = 0.1, minLr = 0, eps = 1e-8, ...measured } = options;
    this.factor = checkNumber(where, 'factor', factor, Number.MIN_VALUE, 1 - Number.EPSILON);
    this.minLr = checkNumber(where, 'minLr', minLr, 0);
    this.eps = checkNumber(where, 'eps', eps, 0);
    this.plateau = new Plateau(where, measured);
  }

  /** Takes a measurement, for instance the loss of a validation; NaN is no better than any. */
  step(metric: number): void {
    if (!this.plateau.update(metric)) return;
    for (const group of this.optimizer.paramGroups) {
      const lr = Math.max(group.lr * this.factor, this.minLr);
      if (group.lr - lr > this.eps) group.lr = lr;
    }
  }

  /** The learning rates of the groups, for the optimiser's next step. */
  getLastLr(): number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }

  /** What `loadState` needs beside the optimiser's state. */
  state(): PlateauState {
    return this.plateau.state();
  }

  /** Goes on with the measurements where another was. */
  loadState(state: PlateauState): void {
    this.plateau.loadState(state);
  }
}
