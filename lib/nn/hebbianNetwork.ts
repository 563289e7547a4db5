// Networks that begin each episode with random weights and change them by evolved Hebbian rules.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  type OptionNames,
  type Tensor,
} from '../core';
import { checkFloat, rand, randn, TENSOR_OPTIONS, type TensorOptions } from '../ops';
import { abcd, ABCD_RULES, type AbcdOptions, type AbcdResult, type AbcdRule, abcdTerms } from '../rules';
import { Module, parameter } from './module';

/** Options of `HebbianNetwork`. */
export interface HebbianNetworkOptions extends AbcdOptions, TensorOptions {
  /** Weights begin each episode uniform in +- this; 0.1 by default. */
  initialBound?: number;
}

const OPTIONS: OptionNames<HebbianNetworkOptions> = {
  ...TENSOR_OPTIONS,
  rule: true,
  normalise: 'flag',
  outputActivation: true,
  initialBound: true,
};

/** The weights of the layers, by name: weight1, weight2, ... */
export type HebbianWeights = Record<string, Tensor>;

/** Options of `HebbianNetwork.forward`. */
export interface HebbianForwardOptions {
  /** The weights before the first token; random ones by default. */
  weights?: HebbianWeights | null;
  /** Coefficients in the place of the module's: of a population [B, in, out, terms] each. */
  coefficients?: readonly Tensor[] | null;
  /** Also return the weights after the last token. */
  outputFinalState?: boolean;
}

const FORWARD: OptionNames<HebbianForwardOptions> = { weights: true, coefficients: true, outputFinalState: 'flag' };

/**
 * A network of tanh layers whose synapses learn within an episode (Najarro, Risi 2020, enajx/HebbianMetaLearning; spec
 * 2.10): the rule `abcd`, whose options it takes, with its coefficients as parameters, N(0, 1) at first; weights are no
 * parameters. It is trained by `optim.EvolutionStrategy`, or by gradients. forward: x [T, I] of one episode or
 * [B, T, I] of B to output [T, O] or [B, T, O].
 */
export class HebbianNetwork extends Module {
  /** [in, out, terms] of every layer; with the rule 'A' [in, out]. */
  coefficients: Tensor[];
  /** Weights begin uniform in +- this. */
  readonly initialBound: number;
  private readonly settings: AbcdOptions;

  constructor(
    /** Widths from the input to the output. */
    readonly sizes: readonly number[],
    options: HebbianNetworkOptions = {},
  ) {
    super();
    const name = 'HebbianNetwork';
    checkOptions(name, options, OPTIONS);
    if (!Array.isArray(sizes) || sizes.length < 2) {
      throw argumentError('INVALID_ARGUMENT', name, 'sizes', 'two widths or more', describe(sizes));
    }
    sizes.forEach((size, i) => checkInteger(name, `sizes[${i}]`, size, 1));
    const { rule = 'ABCD_lr', normalise, outputActivation, initialBound = 0.1, ...where } = options;
    this.initialBound = checkNumber(name, 'initialBound', initialBound, 0);
    this.settings = { rule, normalise, outputActivation };
    const terms = termsOf(name, rule);
    this.coefficients = sizes
      .slice(1)
      .map((size, i) => parameter(randn([sizes[i], size, ...(terms === 1 ? [] : [terms])], where)));
  }

  /** New random weights for one episode, or for a batch of them. */
  initialState(batch: number | null = null): HebbianWeights {
    const { initialBound: bound, sizes } = this;
    const { device, dtype } = this.coefficients[0];
    if (batch !== null) checkInteger('HebbianNetwork.initialState', 'batch', batch);
    const lead = batch === null ? [] : [batch];
    const where = { device, dtype: dtype === 'float64' ? dtype : ('float32' as const), low: -bound, high: bound };
    const weights = sizes
      .slice(1)
      .map((size, i) => [`weight${i + 1}`, rand([...lead, sizes[i], size], where)] as const);
    return Object.fromEntries(weights);
  }

  /** One episode x [T, I] or B of them [B, T, I]. */
  forward(x: Tensor, options: HebbianForwardOptions = {}): AbcdResult {
    checkOptions('HebbianNetwork', options, FORWARD);
    checkFloat('HebbianNetwork', 'x', x);
    const { weights, coefficients, outputFinalState } = options;
    const before = weights ?? this.initialState(x.ndim === 3 ? x.shape[0] : null);
    return abcd({ x, ...before, ...this.named(coefficients) }, { ...this.settings, outputFinalState });
  }

  /** One token x [I] or [B, I]; the weights change in place; only inside noGrad. */
  step(x: Tensor, weights: HebbianWeights, coefficients: readonly Tensor[] | null = null): Tensor {
    return abcd.step({ x, ...this.named(coefficients) }, { ...this.settings, state: weights });
  }

  private named(coefficients: readonly Tensor[] | null | undefined): Record<string, Tensor> {
    const given = coefficients ?? this.coefficients;
    return Object.fromEntries(given.map((t, i) => [`coefficients${i + 1}`, t]));
  }
}

function termsOf(where: string, rule: AbcdRule): number {
  checkChoice(where, 'rule', rule, ABCD_RULES);
  return abcdTerms(rule);
}
