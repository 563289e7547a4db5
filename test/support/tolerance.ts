// How close is close enough: relative root mean square against a float64 reference (DESIGN 4). The only place where
// tolerances stand.
import { expect } from 'chai';
import type { DType } from '../../lib';

export interface Tolerance {
  forward: number;
  gradient: number;
  /** Of the gradients of gates and strengths, which sum up over the width of a head. */
  gateGradient: number;
}

export const TOLERANCE: Record<'float32' | 'float64' | 'bfloat16', Tolerance> = {
  float64: { forward: 1e-10, gradient: 1e-9, gateGradient: 1e-9 },
  float32: { forward: 1e-5, gradient: 1e-4, gateGradient: 1e-4 },
  bfloat16: { forward: 0.005, gradient: 0.008, gateGradient: 0.02 },
};

/** Whole models in bfloat16 against float32 on the same weights: every activation is rounded. */
export const BFLOAT16_MODEL = { loss: 0.002, gradients: 0.12 };

export function toleranceOf(dtype: DType): Tolerance {
  if (dtype === 'int32' || dtype === 'bool') throw new Error(`${dtype} has no tolerance`);
  return TOLERANCE[dtype];
}

const GATE = /^(gate|valueGate|beta)$/;

/** Of the gradient of a rule's input. */
export function gradientTolerance(dtype: DType, input: string): number {
  const { gradient, gateGradient } = toleranceOf(dtype);
  return GATE.test(input) ? gateGradient : gradient;
}

export function rms(x: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * x[i];
  return x.length === 0 ? 0 : Math.sqrt(sum / x.length);
}

/** RMS of the difference over the RMS of the reference, which counts as at least `floor`. */
export function relativeRms(actual: ArrayLike<number>, reference: ArrayLike<number>, floor = 0): number {
  if (actual.length !== reference.length) throw new Error(`${actual.length} values against ${reference.length}`);
  let sum = 0;
  for (let i = 0; i < actual.length; i++) sum += (actual[i] - reference[i]) ** 2;
  const scale = Math.max(rms(reference), floor);
  const difference = Math.sqrt(sum / Math.max(1, actual.length));
  return difference === 0 ? 0 : difference / (scale || 1);
}

/** What is wrong with values, if they are not within a tolerance; NaN is not. */
export function differenceOf(
  name: string,
  actual: ArrayLike<number>,
  reference: ArrayLike<number>,
  tolerance: number,
  floor = 0,
): string | undefined {
  const error = relativeRms(actual, reference, floor);
  if (error <= tolerance) return undefined;
  return `${name}: relative RMS ${error.toExponential(2)}, limit ${tolerance.toExponential(0)}`;
}

export function expectClose(
  name: string,
  actual: ArrayLike<number>,
  reference: ArrayLike<number>,
  tolerance: number,
  floor = 0,
): void {
  expect(differenceOf(name, actual, reference, tolerance, floor)).to.equal(undefined);
}
