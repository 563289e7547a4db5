// Whether a measured number has stopped getting better.
import { argumentError, checkChoice, checkInteger, checkNumber, checkObject, checkOptions, describe } from '../core';
import type { OptionNames } from '../core';

/** What counts as better, and for how long none may be. */
export interface PlateauOptions {
  /** Whether better is less, 'min', or more, 'max'; 'min'. */
  mode?: 'min' | 'max';
  /** Measurements in a row that may be no better; the next one is too many; 10. */
  patience?: number;
  /** How much better than the best one counts, as a share of that or as it is; 1e-4. */
  threshold?: number;
  /** 'rel' or 'abs'; 'rel'. */
  thresholdMode?: 'rel' | 'abs';
  /** Measurements after a plateau during which none counts as bad; 0. */
  cooldown?: number;
}

/** The measurements so far; plain JSON. */
export interface PlateauState {
  /** The best one; null before the first. */
  best: number | null;
  /** How many in a row were no better. */
  badSteps: number;
  /** How many of the cooldown are left. */
  cooldown: number;
}

const OPTIONS: OptionNames<PlateauOptions> = {
  mode: true,
  patience: true,
  threshold: true,
  thresholdMode: true,
  cooldown: true,
};

const STATE: OptionNames<PlateauState> = { best: true, badSteps: true, cooldown: true };

/** Follows a number, as `ReduceLROnPlateau` of PyTorch does. */
export class Plateau {
  private readonly options: Required<PlateauOptions>;
  private best: number | null = null;
  private badSteps = 0;
  private cooldown = 0;

  /** `where` names the caller in errors. */
  constructor(where: string, options: PlateauOptions) {
    checkOptions(where, options, OPTIONS);
    const { mode = 'min', patience = 10, threshold = 1e-4, thresholdMode = 'rel', cooldown = 0 } = options;
    checkChoice(where, 'mode', mode, ['min', 'max']);
    checkInteger(where, 'patience', patience);
    checkNumber(where, 'threshold', threshold, 0);
    checkChoice(where, 'thresholdMode', thresholdMode, ['rel', 'abs']);
    checkInteger(where, 'cooldown', cooldown);
    this.options = { mode, patience, threshold, thresholdMode, cooldown };
  }

  /** Takes a measurement; whether there is a plateau, which then begins anew. */
  update(metric: number): boolean {
    if (typeof metric !== 'number') {
      throw argumentError('INVALID_ARGUMENT', 'step', 'metric', 'a number', describe(metric));
    }
    if (this.isBetter(metric)) {
      this.best = metric;
      this.badSteps = 0;
    } else this.badSteps++;
    if (this.cooldown > 0) {
      this.cooldown--;
      this.badSteps = 0;
    }
    if (this.badSteps <= this.options.patience) return false;
    this.cooldown = this.options.cooldown;
    this.badSteps = 0;
    return true;
  }

  private isBetter(metric: number): boolean {
    const { mode, threshold, thresholdMode } = this.options;
    const { best } = this;
    if (best === null) return Number.isFinite(metric);
    const margin = thresholdMode === 'rel' ? Math.abs(best) * threshold : threshold;
    return mode === 'min' ? metric < best - margin : metric > best + margin;
  }

  /** What `loadState` needs. */
  state(): PlateauState {
    return { best: this.best, badSteps: this.badSteps, cooldown: this.cooldown };
  }

  /** Goes on where another was. */
  loadState(state: PlateauState): void {
    const where = 'loadState';
    checkObject(where, 'state', state);
    checkOptions(where, state, STATE);
    const { best, badSteps, cooldown } = state;
    if (best !== null) checkNumber(where, 'best', best);
    checkInteger(where, 'badSteps', badSteps);
    checkInteger(where, 'cooldown', cooldown);
    Object.assign(this, { best, badSteps, cooldown });
  }
}
