// Numbers that are not finite: where they came from.
import { FastWeightsError, scope, type Tensor } from '../core';
import { noGrad } from '../autograd';
import { toFloat32 } from '../ops';
import type { TrainableModel } from './evaluate';

type Named = readonly [name: string, tensor: Tensor];

/** The first tensor with a value that is not finite, and that value. On the device but for one number of each. */
async function firstNonFinite(tensors: Iterable<Named>): Promise<{ name: string; value: number } | null> {
  for (const [name, t] of tensors) {
    if (t.dtype === 'int32') continue;
    // 0 x is 0 unless x is infinite or NaN.
    const sum = noGrad(() => scope(() => toFloat32(t).mul(0).sum()));
    const [found] = await sum.data();
    sum.dispose();
    if (found === 0) continue;
    return { name, value: (await t.data()).find((x) => !Number.isFinite(x))! };
  }
  return null;
}

/** Requires the values that a run begins with, or goes on from, to be finite. */
export async function checkParameters(where: string, tensors: Iterable<Named>): Promise<void> {
  const bad = await firstNonFinite(tensors);
  if (!bad) return;
  const message = `${where}: parameter ${bad.name} must be finite, got ${bad.value}`;
  throw new FastWeightsError('INVALID_ARGUMENT', message, {
    argument: bad.name,
    expected: 'finite values',
    found: String(bad.value),
  });
}

/**
 * What was the first not to be finite in a step that has changed no parameter; `addGradients` computes its gradients
 * again, which are freed.
 */
export async function causeOf(model: TrainableModel, loss: number, addGradients: () => void): Promise<string> {
  const named = model.namedParameters();
  const parameter = await firstNonFinite(named);
  if (parameter) return `, after parameter ${parameter.name} became ${parameter.value}`;
  if (!Number.isFinite(loss)) return ', from finite parameters';
  scope(addGradients);
  // The backward pass goes from the last layer to the first one.
  const gradients = named.flatMap(([name, { grad }]) => (grad ? [[name, grad] as const] : [])).reverse();
  const gradient = await firstNonFinite(gradients);
  for (const [, t] of named) {
    t.grad?.dispose();
    t.grad = null;
  }
  if (gradient) return `, first in the gradient of ${gradient.name}, which holds ${gradient.value}`;
  return ', and every gradient is finite';
}

/** An error that a step threw; where a parameter is not finite, that is what it comes from. */
export async function explained(error: unknown, model: TrainableModel, step: string, kept: string): Promise<unknown> {
  if (!(error instanceof FastWeightsError) || error.code !== 'INVALID_ARGUMENT') return error;
  const parameter = await firstNonFinite(model.namedParameters());
  if (!parameter) return error;
  const { name, value } = parameter;
  const message = `train: parameter ${name} became ${value} before ${step}; ${kept}; try a lower learning rate (${error.message})`;
  return new FastWeightsError('INVALID_ARGUMENT', message, {
    argument: 'learningRate',
    expected: 'small enough that the parameters stay finite',
    found: String(value),
    cause: error,
  });
}
