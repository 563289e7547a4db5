// Linear attention whose scores are a polynomial in scale q . k: its features are the monomials of queries and keys.
import { checkNumber, checkOptions, type OptionNames, scoped, type Tensor } from '../../core';
import { checkFloat, type FeatureMapName } from '../../ops';
import {
  NORMALIZE_OPTIONS,
  NORMALIZE_STEP_OPTIONS,
  type NormalizedResult,
  type NormalizeOptions,
  type NormalizeStepOptions,
} from '../recurrence/normalized';
import { type CommonOptions } from '../recurrence/operands';
import { type StepOptions } from '../recurrence/step';
import { sumForms } from './linearAttention';

type Shared = 'initialState' | 'outputFinalState' | 'cuSeqlens' | 'mode' | 'chunkSize';

/** Options of linear attention with polynomial scores. */
export interface PolynomialOptions<F extends boolean = boolean>
  extends Pick<CommonOptions<F>, Shared>, Omit<NormalizeOptions, 'normalize' | 'normalizeEps'> {
  /** Multiplies q . k within the polynomial; K ** -0.5 by default. */
  scale?: number | null;
  /** Divides by the sum of scores, true by default. */
  normalize?: boolean;
  /** Added to that sum, 1e-6 by default. */
  normalizeEps?: number;
}

/** Options of one token, which finds the sum of features before it in `normalizer` [B, HV, P]. */
export interface PolynomialStepOptions
  extends
    Pick<PolynomialOptions, 'scale' | 'normalize' | 'normalizeEps'>,
    Pick<StepOptions, 'state' | 'out'>,
    Pick<NormalizeStepOptions, 'outputScale' | 'normalizer'> {}

const OPTIONS: OptionNames<PolynomialOptions> = {
  ...NORMALIZE_OPTIONS,
  scale: true,
  initialState: true,
  outputFinalState: 'flag',
  cuSeqlens: true,
  mode: true,
  chunkSize: true,
};
const STEP: OptionNames<PolynomialStepOptions> = { ...NORMALIZE_STEP_OPTIONS, scale: true, state: true, out: true };

/** A rule of this kind. */
export interface PolynomialRule {
  <F extends boolean = false>(q: Tensor, k: Tensor, v: Tensor, options?: PolynomialOptions<F>): NormalizedResult<F>;
  /** One token: inputs [B, H, *]; `state` and `normalizer` change in place; only inside noGrad. */
  step(q: Tensor, k: Tensor, v: Tensor, options: PolynomialStepOptions): Tensor;
}

/** The rule whose scores are those of a feature map: a polynomial in x = q . k / sqrt(K). */
export function definePolynomial(
  name: string,
  featureMap: FeatureMapName,
  polynomial: (x: Tensor) => Tensor,
): PolynomialRule {
  const forms = sumForms(name, (product, width) => polynomial(product.mul(width ** -0.5)));
  const prepared = <O extends PolynomialOptions | PolynomialStepOptions>(where: string, q: Tensor, options: O) => {
    checkFloat(where, 'q', q);
    const width = Math.max(1, q.shape[q.ndim - 1] ?? 1);
    const { normalize = true, normalizeEps = 1e-6 } = options;
    const scale = checkNumber(where, 'scale', options.scale ?? width ** -0.5) * width ** 0.5;
    return [q.mul(scale), { ...options, scale: 1, featureMap, normalize, normalizeEps }] as const;
  };
  const sequence = scoped((q: Tensor, k: Tensor, v: Tensor, options: PolynomialOptions): NormalizedResult => {
    const [query, given] = prepared(name, q, options);
    return forms.sequence(query, k, v, given);
  });
  const step = scoped((q: Tensor, k: Tensor, v: Tensor, options: PolynomialStepOptions): Tensor => {
    const [query, given] = prepared(`${name}.step`, q, options);
    return forms.step(query, k, v, given);
  });
  const rule = (q: Tensor, k: Tensor, v: Tensor, options: PolynomialOptions = {}): NormalizedResult => {
    checkOptions(name, options, OPTIONS);
    return sequence(q, k, v, options);
  };
  const oneToken = (q: Tensor, k: Tensor, v: Tensor, options: PolynomialStepOptions): Tensor => {
    checkOptions(`${name}.step`, options, STEP);
    return step(q, k, v, options);
  };
  return Object.assign(rule as PolynomialRule, { step: oneToken });
}
