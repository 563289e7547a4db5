// Layers that fall from a state into a stored pattern.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  formatShape,
  type OptionNames,
  type Tensor,
} from '../core';
import { checkFloat, randn, TENSOR_OPTIONS, type TensorOptions } from '../ops';
import { hopfield, type HopfieldResult } from '../rules';
import { Module, parameter } from './module';

/** Options of `Hopfield`. */
export interface HopfieldLayerOptions extends TensorOptions {
  /** How sharply it chooses among patterns; 1 / sqrt(dim) by default. */
  beta?: number;
  /** How often the state is replaced; 1 by default. */
  steps?: number;
}

const OPTIONS: OptionNames<HopfieldLayerOptions> = { ...TENSOR_OPTIONS, beta: true, steps: true };

/**
 * A modern Hopfield network with trained patterns (`HopfieldLayer` of Ramsauer et al. 2020 without its projections, which
 * are `Linear` layers around it; spec 2.12): state = softmax(beta state patterns^T) patterns, `steps` times. The patterns
 * are N(0, 0.02^2) at first, as in the authors' program. Patterns that come with the state: the rule `hopfield`.
 */
export class Hopfield extends Module {
  /** [count, dim] */
  patterns: Tensor;
  /** How sharply it chooses. */
  readonly beta: number;
  /** How often the state is replaced. */
  readonly steps: number;

  constructor(count: number, dim: number, options: HopfieldLayerOptions = {}) {
    super();
    checkOptions('Hopfield', options, OPTIONS);
    checkInteger('Hopfield', 'count', count, 1);
    checkInteger('Hopfield', 'dim', dim, 1);
    const { beta = dim ** -0.5, steps = 1, ...where } = options;
    this.beta = checkNumber('Hopfield', 'beta', beta);
    this.steps = checkInteger('Hopfield', 'steps', steps, 1);
    this.patterns = parameter(randn([count, dim], { ...where, std: 0.02 }));
  }

  /** state [..., dim] to the state that was reached, of the same shape. */
  forward(state: Tensor): Tensor {
    const { patterns, beta, steps } = this;
    checkFloat('Hopfield', 'state', state);
    const dim = patterns.shape[1];
    if (state.ndim === 0 || state.shape[state.ndim - 1] !== dim) {
      throw argumentError('SHAPE', 'Hopfield', 'state', `[..., ${dim}]`, formatShape(state.shape));
    }
    const rows = state.reshape(1, state.size / dim, dim);
    const { output } = hopfield({ patterns: patterns.unsqueeze(0), state: rows }, { beta, steps });
    return output.reshape(state.shape);
  }
}

/** Options of `HopfieldNetwork`. */
export interface HopfieldNetworkOptions {
  /** Whether all units change at once, or one after the other, the default. */
  order?: 'sequential' | 'parallel';
  /** How often every unit changes; 1 by default. */
  sweeps?: number;
}

const NETWORK: OptionNames<HopfieldNetworkOptions> = { order: true, sweeps: true };

/**
 * The associative memory of Hopfield 1982 (spec 2.12): patterns [P, N] of -1 and 1 are stored by the sum of their outer
 * products, a buffer, and states [B, N] fall towards them. Nothing is trained. See the rule `hopfield`.
 */
export class HopfieldNetwork extends Module {
  /** [P, N] */
  patterns: Tensor;

  constructor(
    patterns: Tensor,
    /** Order and number of changes. */
    readonly options: HopfieldNetworkOptions = {},
  ) {
    super();
    checkOptions('HopfieldNetwork', options, NETWORK);
    checkFloat('HopfieldNetwork', 'patterns', patterns);
    this.patterns = undefined as never;
    this.registerBuffer('patterns', patterns.detach().clone());
  }

  /** state [B, N] to the state that was reached, and the energies [B, sweeps + 1]. */
  forward(state: Tensor): Required<HopfieldResult> {
    return hopfield(
      { patterns: this.patterns, state },
      { kind: 'classical', ...this.options },
    ) as Required<HopfieldResult>;
  }
}
