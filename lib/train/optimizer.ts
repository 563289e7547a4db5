// Which optimisers and schedules a run can have.
import type { Tensor } from '../core';
import {
  Adafactor,
  Adam,
  AdamW,
  type CommonSettings,
  constant,
  cosine,
  isHiddenMatrix,
  linear,
  Lion,
  Muon,
  oneCycle,
  type Optimizer,
  type Schedule,
  SGD,
} from '../optim';
import type { TrainingConfig } from './config';

/** Optimisers by the name that `train --optimizer` knows, with what a run has by default with each. */
export const OPTIMIZERS = {
  adamw: { learningRate: 2e-3, beta1: 0.9, beta2: 0.95 },
  adam: { learningRate: 2e-3, beta1: 0.9, beta2: 0.95 },
  sgd: { learningRate: 0.1, beta1: 0.9, beta2: 0.95 },
  lion: { learningRate: 3e-4, beta1: 0.9, beta2: 0.99 },
  adafactor: { learningRate: 1e-2, beta1: 0.9, beta2: 0.95 },
  muon: { learningRate: 2e-3, beta1: 0.9, beta2: 0.95 },
} as const;

/** The name of an optimiser. */
export type OptimizerName = keyof typeof OPTIMIZERS;

/** How the learning rate goes, by the name that `train --schedule` knows. */
export const SCHEDULES = ['cosine', 'linear', 'constant', 'oneCycle', 'reduceOnPlateau'] as const;

/** The name of a schedule. */
export type ScheduleName = (typeof SCHEDULES)[number];

/** The optimiser of a run; matrices have weight decay, everything else has none. */
export function makeOptimizer(
  config: TrainingConfig,
  named: readonly (readonly [string, Tensor])[],
): Optimizer<CommonSettings> {
  const { optimizer, learningRate: lr, beta1, beta2, weightDecay } = config;
  const groups = [
    { params: named.filter(([, t]) => isMatrix(t)) },
    { params: named.filter(([, t]) => !isMatrix(t)), weightDecay: 0 },
  ];
  const betas = [beta1, beta2] as const;
  switch (optimizer) {
    case 'adamw':
      return new AdamW(groups, { lr, betas, weightDecay });
    case 'adam':
      return new Adam(groups, { lr, betas, weightDecay });
    case 'lion':
      return new Lion(groups, { lr, betas, weightDecay });
    case 'sgd':
      return new SGD(groups, { lr, momentum: beta1, weightDecay });
    case 'adafactor':
      return new Adafactor(groups, { lr, weightDecay });
    case 'muon': {
      const [matrices, rest] = groups;
      const hidden = matrices.params.filter(([name, t]) => isHiddenMatrix(name, t));
      const others = matrices.params.filter(([name, t]) => !isHiddenMatrix(name, t));
      return new Muon([{ params: hidden }, { params: others, useMuon: false }, { ...rest, useMuon: false }], {
        ...{ lr, betas, weightDecay },
        adjustLr: 'matchRmsAdamw',
      });
    }
  }
}

function isMatrix(t: Tensor): boolean {
  return t.shape.filter((d) => d > 1).length > 1;
}

/** As fine as one cycle goes over the progress of a run, whose steps are not known where time limits it. */
const FINE = 2 ** 20;

/** The factor of the learning rate, and momentum, by the progress of a run from 0 to 1; warm-up and plateaus apart. */
export function scheduleOver({ schedule, optimizer, floor }: TrainingConfig): Schedule {
  switch (schedule) {
    case 'cosine':
      return cosine(1, { floor });
    case 'linear':
      return linear(1, { floor });
    case 'oneCycle': {
      const finalDivFactor = floor > 0 ? 1 / (25 * floor) : undefined;
      const cycle = oneCycle(FINE, { finalDivFactor, cycleMomentum: optimizer !== 'adafactor' });
      const at = (progress: number): number => progress * (FINE - 1);
      const { momentum } = cycle;
      return Object.assign((progress: number) => cycle(at(progress)), {
        momentum: momentum && ((progress: number) => momentum(at(progress))),
      });
    }
    case 'constant':
    case 'reduceOnPlateau':
      return constant;
  }
}
