// Stochastic gradient descent.
import type { Tensor } from '../core';
import { kernelsOf } from '../ops';
import { type Entry, Optimizer, type ParameterGroup } from './optimizer';

/** Settings of SGD; learningRate 1e-2 by default. */
export interface SgdSettings {
  momentum: number;
  nesterov: boolean;
  weightDecay: number;
}

/** Gradient descent with optional momentum (PyTorch's form: the first buffer is the first gradient). */
export class SGD extends Optimizer<SgdSettings> {
  protected readonly buffers: readonly string[];

  constructor(
    parameters: readonly ParameterGroup<SgdSettings>[] | readonly (readonly [string, Tensor])[],
    { learningRate = 1e-2, ...settings }: Partial<SgdSettings> & { learningRate?: number } = {},
  ) {
    super('SGD', parameters, learningRate, { momentum: 0, nesterov: false, weightDecay: 0, ...settings });
    this.buffers = (settings.momentum ?? 0) > 0 ? ['momentumBuffer'] : [];
  }

  protected update({ parameter, settings, state }: Entry<SgdSettings>, gradient: Tensor, gradientScale: Tensor | null): void {
    kernelsOf(parameter).sgd({
      parameter, gradient, momentumBuffer: state.momentumBuffer ?? null, gradientScale, n: parameter.size,
      learningRate: this.learningRate, momentum: settings.momentum, nesterov: Number(settings.nesterov), weightDecay: settings.weightDecay,
    });
  }
}
