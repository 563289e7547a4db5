// Stochastic gradient descent.
import type { Tensor } from '../core';
import { kernelsOf } from '../ops';
import { type CommonSettings, Optimizer, type Parameters, type Updated } from './optimizer';

/** Settings of SGD: lr 1e-2 by default, everything else off. */
export interface SgdSettings extends CommonSettings {
  momentum: number;
  nesterov: boolean;
}

/** Gradient descent with optional momentum (PyTorch's form: the first buffer is the first gradient). */
export class SGD extends Optimizer<SgdSettings> {
  protected readonly buffers: readonly string[];

  constructor(parameters: Parameters<SgdSettings>, settings: Partial<SgdSettings> = {}) {
    super('SGD', parameters, { lr: 1e-2, momentum: 0, nesterov: false, weightDecay: 0, ...settings });
    this.buffers = this.entries.some((e) => e.settings.momentum > 0) ? ['momentumBuffer'] : [];
  }

  protected update(
    entries: readonly Updated[],
    { lr, momentum, nesterov, weightDecay }: SgdSettings,
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
