// Adam and AdamW.
import type { Tensor } from '../core';
import { kernelsOf } from '../ops';
import { type Entry, Optimizer, type ParameterGroup } from './optimizer';

/** Settings of Adam; learningRate 1e-3 by default. */
export interface AdamSettings {
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
}

type Parameters = readonly ParameterGroup<AdamSettings>[] | readonly (readonly [string, Tensor])[];
type Options = Partial<AdamSettings> & { learningRate?: number };

class AdamBase extends Optimizer<AdamSettings> {
  protected readonly buffers = ['mean', 'square'];

  constructor(
    where: string,
    parameters: Parameters,
    { learningRate = 1e-3, ...settings }: Options,
    weightDecay: number,
    private readonly coupled: number,
  ) {
    super(where, parameters, learningRate, { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay, ...settings });
  }

  protected update({ parameter, settings, state }: Entry<AdamSettings>, gradient: Tensor, gradientScale: Tensor | null): void {
    const { beta1, beta2 } = settings;
    kernelsOf(parameter).adam({
      parameter, gradient, mean: state.mean, square: state.square, gradientScale, n: parameter.size, learningRate: this.learningRate,
      ...settings, coupled: this.coupled, correction1: 1 - beta1 ** this.steps, correction2: 1 - beta2 ** this.steps,
    });
  }
}

/** Adam (Kingma & Ba 2015); weight decay, 0 by default, is added to the gradient. */
export class Adam extends AdamBase {
  constructor(parameters: Parameters, options: Options = {}) {
    super('Adam', parameters, options, 0, 1);
  }
}

/** AdamW (Loshchilov & Hutter 2019); weight decay, 0.01 by default, acts on the parameter itself. */
export class AdamW extends AdamBase {
  constructor(parameters: Parameters, options: Options = {}) {
    super('AdamW', parameters, options, 0.01, 0);
  }
}
