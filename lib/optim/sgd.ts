// Stochastic gradient descent.
import { argumentError, checkNumber, describe, type Tensor } from '../core';
import { kernelsOf } from '../ops';
import { Optimizer, type Updated } from './optimizer';
import type { CommonSettings, Parameters, SettingsKind } from './parameters';

/** Settings of SGD: lr 1e-2 by default, everything else off. */
export interface SgdSettings extends CommonSettings {
  momentum: number;
  nesterov: boolean;
}

const KIND: SettingsKind<SgdSettings> = {
  where: 'SGD',
  defaults: { lr: 1e-2, momentum: 0, nesterov: false, weightDecay: 0 },
  check(where, { momentum, nesterov }) {
    checkNumber(where, 'momentum', momentum, 0);
    if (typeof nesterov !== 'boolean') {
      throw argumentError('INVALID_ARGUMENT', where, 'nesterov', 'true or false', describe(nesterov));
    }
  },
};

/** Gradient descent with optional momentum (PyTorch's form: the first buffer is the first gradient). */
export class SGD extends Optimizer<SgdSettings> {
  protected readonly buffers: readonly string[];

  constructor(parameters: Parameters<SgdSettings>, settings: Partial<SgdSettings> = {}) {
    super(KIND, parameters, settings);
    this.buffers = this.entries.some((e) => e.settings.momentum > 0) ? ['momentumBuffer'] : [];
  }

  protected update(
    entries: readonly Updated[],
    { lr, momentum, nesterov, weightDecay }: SgdSettings,
    _steps: number,
    gradientScale: Tensor | null,
  ): void {
    kernelsOf(entries[0].target).sgd({
      parameters: entries.map((e) => e.target),
      gradients: entries.map((e) => e.gradient),
      momentumBuffers: entries.flatMap((e) => e.state.momentumBuffer ?? []),
      gradientScale,
      learningRate: lr,
      momentum,
      nesterov: Number(nesterov),
      weightDecay,
    });
  }
}
