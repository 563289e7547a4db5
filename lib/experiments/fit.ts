// The training loop of experiments: AdamW or Adam over a loss that the experiment computes, with turns for everything else.
import { breathe } from '../platform';
import { scope, type Tensor } from '../core';
import { AdamW, clipGradNorm, cosine, type Schedule } from '../optim';
import type { TrialContext } from './experiment';

/** How to train. */
export interface FitOptions {
  steps: number;
  learningRate: number;
  /** The loss of a step, a tensor of one element; made and freed within the step. */
  loss(step: number): Tensor;
  /** Of matrices; 0 by default. */
  weightDecay?: number;
  betas?: readonly [number, number];
  eps?: number;
  /** Of the learning rate; half a cosine down to a tenth by default. */
  schedule?: Schedule;
  /** Largest norm of the gradients; 1 by default, null for none. */
  clip?: number | null;
  /** Called every `checkEvery` steps; true ends the training. */
  done?(step: number): boolean | Promise<boolean>;
  checkEvery?: number;
}

/** Runs the steps; returns how many there were and the losses of all. */
export async function fit(
  parameters: readonly Tensor[],
  options: FitOptions,
  context: Pick<TrialContext, 'report'>,
): Promise<{ steps: number; losses: number[] }> {
  const { steps, learningRate, weightDecay = 0, betas = [0.9, 0.999], eps = 1e-8, clip = 1 } = options;
  const { schedule = cosine(steps, { floor: 0.1 }), checkEvery = 50 } = options;
  const matrices = parameters.filter((t) => t.ndim > 1);
  const vectors = parameters.filter((t) => t.ndim <= 1);
  const groups = [
    { params: matrices, weightDecay },
    { params: vectors, weightDecay: 0 },
  ].filter(({ params }) => params.length > 0);
  const optimizer = new AdamW(groups, { lr: learningRate, betas: [...betas], eps });
  const losses: number[] = [];
  let step = 0;
  try {
    while (step < steps) {
      optimizer.lr = learningRate * schedule(step);
      const loss = scope(() => {
        const value = options.loss(step);
        value.backward();
        if (clip !== null) clipGradNorm(parameters, clip);
        return value.detach();
      });
      optimizer.step();
      optimizer.zeroGrad();
      losses.push(Number((await loss.data())[0]));
      loss.dispose();
      step++;
      context.report(step, steps, losses[step - 1]);
      await breathe();
      if (options.done && step % checkEvery === 0 && (await options.done(step))) break;
    }
  } finally {
    optimizer.dispose();
  }
  return { steps: step, losses };
}
