// Hopfield networks: memories that a state falls into (Hopfield 1982; Ramsauer et al. 2020; spec 2.12).
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  formatShape,
  type OptionNames,
  scoped,
  type Tensor,
} from '../../core';
import { noGrad } from '../../autograd';
import { checkFloat, checkValues, stack, where } from '../../ops';
import { checkTogether } from '../sequential/checks';
import { checkShapes, type Sizes } from '../sequential/shapes';

/** Options of `hopfield`. */
export interface HopfieldOptions {
  /** 'modern' by default. */
  kind?: 'modern' | 'classical';
  /** Of the modern kind: how sharply it chooses among patterns; 1 / sqrt(D) by default. */
  beta?: number | null;
  /** Of the modern kind: how often the state is replaced, 1 by default. */
  steps?: number | null;
  /** Of the classical kind: whether all units change at once, or one after the other, the default. */
  order?: 'sequential' | 'parallel' | null;
  /** Of the classical kind: how often every unit changes, 1 by default. */
  sweeps?: number | null;
}

const OPTIONS: OptionNames<HopfieldOptions> = { kind: true, beta: true, steps: true, order: true, sweeps: true };

/** What `hopfield` takes. */
export interface HopfieldInputs {
  /** [B, N, D]; of the classical kind [P, N]. */
  patterns: Tensor;
  /** [B, Q, D]; of the classical kind [B, N]. */
  state: Tensor;
}

/** What `hopfield` returns. */
export interface HopfieldResult {
  /** The state that was reached. */
  output: Tensor;
  /** Of the classical kind: the energies [B, sweeps + 1] before and after each sweep. */
  energy?: Tensor;
}

/** softmax(beta state patterns^T) patterns, `steps` times. */
function modern({ patterns, state }: HopfieldInputs, options: HopfieldOptions): HopfieldResult {
  const name = 'hopfield';
  checkTogether(name, options, { order: false, sweeps: false }, "kind 'modern'");
  const sizes: Sizes = {};
  checkShapes(name, { patterns, state }, { patterns: 'B N D', state: 'B Q D' }, sizes);
  if (sizes.N === 0) {
    throw argumentError('SHAPE', name, 'patterns', 'at least one for each sequence', formatShape(patterns.shape));
  }
  const beta = checkNumber(name, 'beta', options.beta ?? Math.max(1, sizes.D) ** -0.5);
  const steps = checkInteger(name, 'steps', options.steps ?? 1, 1);
  const keys = patterns.transpose(1, 2);
  let output = state;
  for (let s = 0; s < steps; s++) output = output.mul(beta).matmul(keys).softmax(-1).matmul(patterns);
  return { output };
}

/** state = sign(weights state); of whole numbers the fields are exact, which is why 1 / N only enters the energy. */
function classical({ patterns, state }: HopfieldInputs, options: HopfieldOptions): HopfieldResult {
  const name = 'hopfield';
  checkTogether(name, options, { beta: false, steps: false }, "kind 'classical'");
  const sizes: Sizes = {};
  checkShapes(name, { patterns, state }, { patterns: 'P N', state: 'B N' }, sizes);
  const { N } = sizes;
  const order = checkChoice(name, 'order', options.order ?? 'sequential', ['sequential', 'parallel']);
  const sweeps = checkInteger(name, 'sweeps', options.sweeps ?? 1, 0);
  const products = patterns.transpose(0, 1).matmul(patterns);
  const weights = products.sub(products.diagonal().diag());
  const settle = (field: Tensor, old: Tensor): Tensor => where(field.eq(0), old, field.sign());
  const energyOf = (s: Tensor): Tensor =>
    s
      .matmul(weights)
      .mul(s)
      .sum(1)
      .mul(-0.5 / N);
  const output = state.clone();
  const energies = [energyOf(output)];
  const sweep = (): void => {
    if (order === 'parallel') {
      output.copy_(settle(output.matmul(weights), output));
      return;
    }
    for (let i = 0; i < N; i++) {
      const unit = output.slice(1, i, i + 1);
      unit.copy_(settle(output.matmul(weights.slice(1, i, i + 1)), unit));
    }
  };
  for (let s = 0; s < sweeps; s++) {
    sweep();
    energies.push(energyOf(output));
  }
  return { output, energy: stack(energies, 1) };
}

/**
 * Falls from a state into a memory. The modern kind (Ramsauer et al. 2020, ml-jku/hopfield-layers; as attention over
 * stored patterns): state = softmax(beta state patterns^T) patterns, `steps` times (their program counts one less), for
 * patterns [B, N, D] and states [B, Q, D], with gradients. The classical kind (Hopfield 1982): weights
 * (1/N) sum of x x^T over patterns [P, N] of -1 and 1, without a diagonal; states [B, N] become the sign of
 * their field, a unit without a field stays what it is, `sweeps` times in parallel or one unit after the other; with the
 * `energy` -s^T W s / 2 before and after each sweep, and without gradients. Spec 2.12.
 */
export function hopfield(inputs: HopfieldInputs, options: HopfieldOptions = {}): HopfieldResult {
  checkOptions<HopfieldInputs>('hopfield', inputs, { patterns: true, state: true });
  checkOptions('hopfield', options, OPTIONS);
  const kind = checkChoice('hopfield', 'kind', options.kind ?? 'modern', ['modern', 'classical']);
  for (const name of ['patterns', 'state'] as const) {
    checkFloat('hopfield', name, inputs[name]);
    checkValues('hopfield', name, inputs[name], 'free of NaN', (x) => !Number.isNaN(x));
  }
  return kind === 'modern' ? retrieve(inputs, options) : settleInto(inputs, options);
}

const retrieve = scoped(modern);
const settleInto = scoped((inputs: HopfieldInputs, options: HopfieldOptions) =>
  noGrad(() => classical(inputs, options)),
);
