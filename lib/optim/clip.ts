// Gradient clipping.
import {
  argumentError,
  checkNumber,
  checkOptions,
  describe,
  type DType,
  FastWeightsError,
  type OptionNames,
  scope,
  Tensor,
  scoped,
} from '../core';
import { noGrad } from '../autograd';
import { cat, ones, statisticsDtype, sumSquares, toFloat32, zeros } from '../ops';

/** How gradients are measured; PyTorch's names and defaults. */
export interface ClipOptions {
  /** p of the norm (sum |g|^p)^(1/p), above 0; Infinity for the largest absolute value; 2. */
  normType?: number;
  /** Whether a norm of NaN or infinity is an error, for which it is read back, waiting for the device; false. */
  errorIfNonfinite?: boolean;
}

const OPTIONS: OptionNames<ClipOptions> = { normType: true, errorIfNonfinite: 'flag' };

/** Requires a list of tensors; names and groups are what optimisers take. */
function checkParameters(where: string, parameters: unknown): void {
  if (Array.isArray(parameters) && parameters.every((p) => p instanceof Tensor)) return;
  throw argumentError('INVALID_ARGUMENT', where, 'parameters', 'a list of tensors', describe(parameters));
}

function checkClip(where: string, parameters: unknown, options: ClipOptions): Required<ClipOptions> {
  checkParameters(where, parameters);
  checkOptions(where, options, OPTIONS);
  const { normType = 2, errorIfNonfinite = false } = options;
  if (!(typeof normType === 'number' && normType > 0)) {
    throw argumentError('INVALID_ARGUMENT', where, 'normType', 'a number above 0', describe(normType));
  }
  return { normType, errorIfNonfinite };
}

/** The gradients that count; frozen parameters have none. */
function gradientsOf(parameters: readonly Tensor[]): Tensor[] {
  return parameters.flatMap(({ grad, requiresGrad }) => (grad && requiresGrad ? [grad] : []));
}

/** The norm [1] of some gradients of one dtype and device, taken together. */
function normOfAlike(gradients: readonly Tensor[], p: number): Tensor {
  if (p === 2) return sumSquares(gradients).sqrt();
  const [first] = gradients;
  const magnitudes = gradients.filter((g) => g.size > 0).map((g) => toFloat32(g).abs());
  if (magnitudes.length === 0) return zeros([1], { device: first.device, dtype: statisticsDtype(first) });
  const each = magnitudes.map((m) => (p === Infinity ? m.max() : m.pow(p).sum()).reshape(1));
  const all = cat(each);
  return p === Infinity
    ? all.max().reshape(1)
    : all
        .sum()
        .reshape(1)
        .pow(1 / p);
}

/** The joint norm [1]; of no gradients 0. A kernel's list has one dtype, so there is a norm for each. */
function normOf(where: string, parameters: readonly Tensor[], { normType, errorIfNonfinite }: Required<ClipOptions>) {
  const gradients = gradientsOf(parameters);
  const device = gradients[0]?.device ?? parameters[0]?.device;
  const byDtype = new Map<DType, Tensor[]>();
  for (const grad of gradients) {
    if (grad.device !== device) {
      throw argumentError('DEVICE', where, 'parameters', `on one device, '${device}'`, `'${grad.device}'`);
    }
    byDtype.set(grad.dtype, [...(byDtype.get(grad.dtype) ?? []), grad]);
  }
  const norms = [...byDtype.values()].map((alike) => normOfAlike(alike, normType));
  const norm = norms.length === 0 ? zeros([1], { device }) : norms.length === 1 ? norms[0] : joined(norms, normType);
  if (errorIfNonfinite) refuseNonfinite(where, norm);
  return norm;
}

/** The norm of parts that have these norms. */
function joined(norms: readonly Tensor[], p: number): Tensor {
  if (p === Infinity) return norms.reduce((a, b) => a.maximum(b));
  if (p === 2)
    return norms
      .map((n) => n.square())
      .reduce((a, b) => a.add(b))
      .sqrt();
  return norms
    .map((n) => n.pow(p))
    .reduce((a, b) => a.add(b))
    .pow(1 / p);
}

function refuseNonfinite(where: string, norms: Tensor): void {
  const bad = norms.dataSync().find((x) => !Number.isFinite(x));
  if (bad === undefined) return;
  const message = `${where}: the norm of the gradients must be finite (errorIfNonfinite), got ${bad}`;
  throw new FastWeightsError('INVALID_ARGUMENT', message, {
    argument: 'parameters',
    expected: 'finite gradients',
    found: String(bad),
  });
}

/** What brings a norm to at most `maxNorm`. */
function factorFor(norm: Tensor, maxNorm: number): Tensor {
  return norm.add(1e-6).reciprocal().mul(maxNorm).minimum(1);
}

/** Multiplies a gradient in place; beside bfloat16 the factor is float32. */
function scaleInPlace(grad: Tensor, factor: Tensor): void {
  if (grad.dtype === 'bfloat16') grad.copy_(toFloat32(grad).mul(factor).to('bfloat16'));
  else grad.mul_(factor);
}

/**
 * The factor, a tensor [1], that brings the joint norm of all gradients to at most `maxNorm`, 1 where that is null; hand
 * it to `step`. `norm` is that norm before. Nothing is read back unless `errorIfNonfinite`, so the device's queue goes on.
 */
export function clipFactor(
  parameters: readonly Tensor[],
  maxNorm: number | null,
  options: ClipOptions = {},
): { factor: Tensor; norm: Tensor } {
  const settings = checkClip('clipFactor', parameters, options);
  if (maxNorm !== null) checkNumber('clipFactor', 'maxNorm', maxNorm, 0);
  return noGrad(() =>
    scope(() => {
      const norm = normOf('clipFactor', parameters, settings);
      if (maxNorm === null) return { factor: ones([1], { dtype: norm.dtype, device: norm.device }), norm };
      return { factor: factorFor(norm, maxNorm), norm };
    }),
  );
}

/** Scales all gradients in place so that their joint norm is at most `maxNorm`; returns the norm before, a tensor [1]. */
export const clipGradNorm = scoped(
  (parameters: readonly Tensor[], maxNorm: number, options: ClipOptions = {}): Tensor => {
    const { factor, norm } = clipFactor(parameters, maxNorm, options);
    noGrad(() =>
      scope(() => {
        for (const grad of gradientsOf(parameters)) scaleInPlace(grad, factor);
      }),
    );
    return norm;
  },
);

/**
 * Scales each gradient in place so that its own norm is at most `maxNorm`, the others whatever they are; returns the norms
 * before, one for each parameter with a gradient. PyTorch has `clip_grad_norm_` of one parameter at a time for that.
 */
export const clipEachGradNorm = scoped(
  (parameters: readonly Tensor[], maxNorm: number, options: ClipOptions = {}): Tensor[] => {
    const where = 'clipEachGradNorm';
    const { normType, errorIfNonfinite } = checkClip(where, parameters, options);
    checkNumber(where, 'maxNorm', maxNorm, 0);
    return noGrad(() =>
      scope(() => {
        const gradients = gradientsOf(parameters);
        const norms = gradients.map((grad) => normOfAlike([grad], normType));
        if (errorIfNonfinite) norms.forEach((norm) => refuseNonfinite(where, norm));
        gradients.forEach((grad, i) => scope(() => scaleInPlace(grad, factorFor(norms[i], maxNorm))));
        return norms;
      }),
    );
  },
);

/** Brings every element of the gradients, in place, to between -clipValue and clipValue; NaN stays NaN. */
export function clipGradValue(parameters: readonly Tensor[], clipValue: number): void {
  checkParameters('clipGradValue', parameters);
  checkNumber('clipGradValue', 'clipValue', clipValue, 0);
  noGrad(() => {
    for (const grad of gradientsOf(parameters)) scope(() => grad.copy_(grad.clamp(-clipValue, clipValue)));
  });
}
