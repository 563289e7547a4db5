// Adam and AdamW.
import { argumentError, checkNumber, describe, type Tensor } from '../core';
import { kernelsOf } from '../ops';
import { Optimizer, type Updated } from './optimizer';
import type { CommonSettings, Parameters, SettingsKind } from './parameters';

/** Settings of Adam: lr 1e-3, betas [0.9, 0.999] and eps 1e-8 by default. */
export interface AdamSettings extends CommonSettings {
  betas: readonly [number, number];
  eps: number;
}

function check(where: string, { betas, eps }: AdamSettings): void {
  const valid =
    Array.isArray(betas) && betas.length === 2 && betas.every((b) => typeof b === 'number' && b >= 0 && b < 1);
  if (!valid) throw argumentError('INVALID_ARGUMENT', where, 'betas', 'two numbers from 0 to below 1', describe(betas));
  checkNumber(where, 'eps', eps, 0);
}

function kindOf(where: string, weightDecay: number): SettingsKind<AdamSettings> {
  return { where, defaults: { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay }, check };
}

class AdamBase extends Optimizer<AdamSettings> {
  protected readonly buffers = ['mean', 'square'];

  constructor(
    kind: SettingsKind<AdamSettings>,
    parameters: Parameters<AdamSettings>,
    settings: Partial<AdamSettings>,
    private readonly coupled: number,
  ) {
    super(kind, parameters, settings);
  }

  protected update(
    entries: readonly Updated[],
    { lr, betas, eps, weightDecay }: AdamSettings,
    steps: number,
    gradientScale: Tensor | null,
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
      coupled: this.coupled,
      correction1: 1 - beta1 ** steps,
      correction2: 1 - beta2 ** steps,
    });
  }
}

/** Adam (Kingma & Ba 2015); weight decay, 0 by default, is added to the gradient. */
export class Adam extends AdamBase {
  constructor(parameters: Parameters<AdamSettings>, settings: Partial<AdamSettings> = {}) {
    super(kindOf('Adam', 0), parameters, settings, 1);
  }
}

/** AdamW (Loshchilov & Hutter 2019); weight decay, 0.01 by default, acts on the parameter itself. */
export class AdamW extends AdamBase {
  constructor(parameters: Parameters<AdamSettings>, settings: Partial<AdamSettings> = {}) {
    super(kindOf('AdamW', 0.01), parameters, settings, 0);
  }
}
