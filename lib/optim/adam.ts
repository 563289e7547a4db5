// Adam and AdamW.
import { checkNumber, type Shape, type Tensor } from '../core';
import { kernelsOf } from '../ops';
import { Optimizer, type Updated } from './optimizer';
import { checkBetas, type CommonSettings, type Parameters, type SettingsKind } from './parameters';

/** Settings of Adam and AdamW; `lr` is 1e-3 by default. */
export interface AdamSettings extends CommonSettings {
  /** How much of the running means of gradients and of their squares a step keeps, from 0 to below 1; [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the root of the mean square, 0 or more; 1e-8. */
  eps: number;
}

function check(where: string, { betas, eps }: AdamSettings): void {
  checkBetas(where, betas);
  checkNumber(where, 'eps', eps, 0);
}

function kindOf(where: string, weightDecay: number): SettingsKind<AdamSettings> {
  return { where, defaults: { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay }, check };
}

/** The buffers of Adam. */
export const momentsOf = ({ shape }: Tensor): Record<'mean' | 'square', Shape> => ({ mean: shape, square: shape });

/** One step; `coupled` 1: weight decay is added to the gradient, 0: it acts on the parameter itself. */
export function adamUpdate(
  entries: readonly Updated[],
  { lr, betas, eps, weightDecay }: AdamSettings,
  steps: number,
  gradientScale: Tensor | null,
  coupled: 0 | 1,
): void {
  const [beta1, beta2] = betas;
  kernelsOf(entries[0].target).adam({
    parameters: entries.map((e) => e.target),
    gradients: entries.map((e) => e.gradient),
    means: entries.map((e) => e.state.mean),
    squares: entries.map((e) => e.state.square),
    gradientScale,
    learningRate: lr,
    beta1,
    beta2,
    eps,
    weightDecay,
    coupled,
    correction1: 1 - beta1 ** steps,
    correction2: 1 - beta2 ** steps,
  });
}

/** Adam (Kingma & Ba 2015), without PyTorch's `amsgrad`; weight decay, 0 by default, is added to the gradient. */
export class Adam extends Optimizer<AdamSettings> {
  protected readonly buffersOf = momentsOf;

  /** Of parameters or groups of them; what `settings` leaves out is the default. */
  constructor(parameters: Parameters<AdamSettings>, settings: Partial<AdamSettings> = {}) {
    super(kindOf('Adam', 0), parameters, settings);
  }

  protected update(
    entries: readonly Updated[],
    settings: AdamSettings,
    steps: number,
    gradientScale: Tensor | null,
  ): void {
    adamUpdate(entries, settings, steps, gradientScale, 1);
  }
}

/** AdamW (Loshchilov & Hutter 2019), without `amsgrad`; weight decay, 0.01 by default, acts on the parameter itself. */
export class AdamW extends Optimizer<AdamSettings> {
  protected readonly buffersOf = momentsOf;

  /** Of parameters or groups of them; what `settings` leaves out is the default. */
  constructor(parameters: Parameters<AdamSettings>, settings: Partial<AdamSettings> = {}) {
    super(kindOf('AdamW', 0.01), parameters, settings);
  }

  protected update(
    entries: readonly Updated[],
    settings: AdamSettings,
    steps: number,
    gradientScale: Tensor | null,
  ): void {
    adamUpdate(entries, settings, steps, gradientScale, 0);
  }
}
