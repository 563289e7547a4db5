// Adafactor: second moments of matrices kept as a row and a column.
import { argumentError, checkNumber, describe, type Shape, type Tensor } from '../core';
import { toFloat32 } from '../ops';
import { Optimizer, type Updated } from './optimizer';
import { blend, descend, guard } from './lists';
import type { CommonSettings, Parameters, SettingsKind } from './parameters';

/** Settings of Adafactor: `lr`, the largest relative step size, 1e-2 and `weightDecay` 0 by default. */
export interface AdafactorSettings extends CommonSettings {
  /** Step t gives new squares the weight t ** beta2Decay; 0 or below, -0.8. */
  beta2Decay: number;
  /**
   * Least root of a mean square, null for the machine epsilon of float32 (of float64 beside that), and the least root
   * mean square that a parameter counts with; 0 or more, [null, 1e-3].
   */
  eps: readonly [number | null, number];
  /** The largest root mean square of an update, 1 or more; 1. */
  d: number;
}

const KIND: SettingsKind<AdafactorSettings> = {
  where: 'Adafactor',
  defaults: { lr: 1e-2, beta2Decay: -0.8, eps: [null, 1e-3], d: 1, weightDecay: 0 },
  check(where, { beta2Decay, eps, d }) {
    checkNumber(where, 'beta2Decay', beta2Decay, -Infinity, 0);
    const valid = Array.isArray(eps) && eps.length === 2;
    if (!valid) throw argumentError('INVALID_ARGUMENT', where, 'eps', 'two numbers, or null and one', describe(eps));
    if (eps[0] !== null) checkNumber(where, 'eps[0]', eps[0], 0);
    checkNumber(where, 'eps[1]', eps[1], 0);
    checkNumber(where, 'd', d, 1);
  },
};

const rms = (x: Tensor): Tensor => x.square().mean().sqrt();

/**
 * Adafactor (Shazeer & Stern 2018) as `torch.optim.Adafactor` has it: the step is relative to the root mean square of the
 * parameter, min(lr, 1 / sqrt(t)) of it, without momentum. Of a parameter [..., m, n] the state is [..., m, 1] and
 * [..., 1, n], of a vector as large as that is. Of bfloat16 parameters everything is float32, also the epsilon.
 */
export class Adafactor extends Optimizer<AdafactorSettings> {
  /** Of parameters or groups of them; what `settings` leaves out is the default. */
  constructor(parameters: Parameters<AdafactorSettings>, settings: Partial<AdafactorSettings> = {}) {
    super(KIND, parameters, settings);
  }

  protected buffersOf({ shape }: Tensor): Readonly<Record<string, Shape>> {
    if (shape.length < 2) return { variance: shape };
    const lead = shape.slice(0, -2);
    return { rowVariance: [...lead, shape.at(-2)!, 1], colVariance: [...lead, 1, shape.at(-1)!] };
  }

  protected update(
    entries: readonly Updated[],
    settings: AdafactorSettings,
    steps: number,
    gradientScale: Tensor | null,
  ): void {
    const { lr, weightDecay, beta2Decay, eps, d } = settings;
    const safe = guard(gradientScale);
    // The mean of an empty one is none.
    const present = entries.filter(({ target }) => target.size > 0);
    const updates = present.map(({ target, gradient, state }) => {
      const least = eps[0] ?? (target.dtype === 'float64' ? 2 ** -52 : 2 ** -23);
      const g = gradientScale ? toFloat32(gradient).mul(gradientScale) : toFloat32(gradient);
      const variance = meanSquares(g, state, least, steps ** beta2Decay, safe);
      const update = g.div(variance.maximum(least * least).sqrt());
      const step = rms(target)
        .maximum(eps[1])
        .mul(Math.min(lr, 1 / Math.sqrt(steps)));
      return update.mul(
        step.div(
          rms(update)
            .mul(1 / d)
            .maximum(1),
        ),
      );
    });
    const targets = present.map((e) => e.target);
    descend(targets, updates, 1, lr * weightDecay, safe);
  }
}

/** Takes the squares of `g` into the state; the estimate of their means, of the shape of `g` or broadcasting to it. */
function meanSquares(
  g: Tensor,
  { rowVariance, colVariance, variance }: Updated['state'],
  least: number,
  weight: number,
  safe: Tensor | null,
): Tensor {
  const squares = g.square();
  if (variance !== undefined) {
    blend([variance], [squares], weight, safe);
    return variance;
  }
  blend([rowVariance], [squares.mean(-1, true)], weight, safe);
  blend([colVariance], [squares.mean(-2, true)], weight, safe);
  return rowVariance.div(rowVariance.mean(-2, true).maximum(least)).mul(colVariance);
}
