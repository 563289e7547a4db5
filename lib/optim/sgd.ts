// Stochastic gradient descent.
import { checkNumber, type Shape, type Tensor } from '../core';
import { kernelsOf } from '../ops';
import { Optimizer, type Updated } from './optimizer';
import { checkFlag, type CommonSettings, type Parameters, type SettingsKind } from './parameters';

/** Settings of SGD: `lr` 1e-2 and `weightDecay` 0 by default. */
export interface SgdSettings extends CommonSettings {
  /** How much of the sum of gradients a step keeps, 0 or more; 0, for no such sum. */
  momentum: number;
  /** Whether the step looks ahead along the sum (Nesterov); false. */
  nesterov: boolean;
}

const KIND: SettingsKind<SgdSettings> = {
  where: 'SGD',
  defaults: { lr: 1e-2, momentum: 0, nesterov: false, weightDecay: 0 },
  check(where, { momentum, nesterov }) {
    checkNumber(where, 'momentum', momentum, 0);
    checkFlag(where, 'nesterov', nesterov);
  },
};

/**
 * Gradient descent with optional momentum (PyTorch's form: the first buffer is the first gradient, without `dampening`);
 * weight decay is added to the gradient.
 */
export class SGD extends Optimizer<SgdSettings> {
  /** Of parameters or groups of them; what `settings` leaves out is the default. */
  constructor(parameters: Parameters<SgdSettings>, settings: Partial<SgdSettings> = {}) {
    super(KIND, parameters, settings);
  }

  protected buffersOf({ shape }: Tensor, { momentum }: SgdSettings): Readonly<Record<string, Shape>> {
    return momentum > 0 ? { momentumBuffer: shape } : {};
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
      momentumBuffers: momentum > 0 ? entries.map((e) => e.state.momentumBuffer) : [],
      gradientScale,
      learningRate: lr,
      momentum,
      nesterov: Number(nesterov),
      weightDecay,
    });
  }
}
