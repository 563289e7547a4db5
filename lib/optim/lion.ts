// Lion: steps of one size along the sign of an average.
import { type Tensor } from '../core';
import { Optimizer, type Updated } from './optimizer';
import { blend, descend, guard } from './lists';
import { checkBetas, type CommonSettings, type Parameters, type SettingsKind } from './parameters';

/** Settings of Lion: `lr` 1e-4 and `weightDecay` 0 by default. */
export interface LionSettings extends CommonSettings {
  /** How much of the running mean the direction of a step, and the mean itself, keep, from 0 to below 1; [0.9, 0.99]. */
  betas: readonly [number, number];
}

const KIND: SettingsKind<LionSettings> = {
  where: 'Lion',
  defaults: { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0 },
  check: (where, { betas }) => checkBetas(where, betas),
};

/**
 * Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", Algorithm 2; PyTorch has none):
 * c = beta1 m + (1 - beta1) g, parameter -= lr (sign(c) + weightDecay parameter), m = beta2 m + (1 - beta2) g. A third to
 * a tenth of AdamW's `lr`, and so much more weight decay, is what the paper advises.
 */
export class Lion extends Optimizer<LionSettings> {
  /** Of parameters or groups of them; what `settings` leaves out is the default. */
  constructor(parameters: Parameters<LionSettings>, settings: Partial<LionSettings> = {}) {
    super(KIND, parameters, settings);
  }

  protected buffersOf({ shape }: Tensor): Record<'mean', Tensor['shape']> {
    return { mean: shape };
  }

  protected update(
    entries: readonly Updated[],
    { lr, betas: [beta1, beta2], weightDecay }: LionSettings,
    _steps: number,
    gradientScale: Tensor | null,
  ): void {
    const gradients = entries.map((e) => e.gradient);
    const means = entries.map((e) => e.state.mean);
    const directions = means.map((m) => m.clone());
    blend(directions, gradients, 1 - beta1, gradientScale);
    blend(means, gradients, 1 - beta2, gradientScale);
    const targets = entries.map((e) => e.target);
    descend(
      targets,
      directions.map((c) => c.sign()),
      lr,
      weightDecay,
      guard(gradientScale),
    );
  }
}
