// Muon: momentum made orthogonal, for the matrices inside a network; AdamW for everything else.
import {
  argumentError,
  checkChoice,
  checkFunction,
  checkInstance,
  checkNumber,
  checkObject,
  checkString,
  describe,
  formatShape,
  type Shape,
  Tensor,
} from '../core';
import { stack } from '../ops';
import { adamUpdate, momentsOf } from './adam';
import { Optimizer, type Updated } from './optimizer';
import { blend, descend, guard } from './lists';
import { checkIteration, NEWTON_SCHULZ, orthogonalize } from './orthogonalize';
import {
  checkBetas,
  checkFlag,
  type CommonSettings,
  iterable,
  type ParameterGroup,
  type Parameters,
  type SettingsKind,
} from './parameters';

/** How Muon's step size depends on the shape [m, n] of a matrix. */
export const MUON_RATES = ['original', 'matchRmsAdamw'] as const;

/** Settings of Muon: `lr` 1e-3 and `weightDecay`, on the parameter itself, 0.1 by default. */
export interface MuonSettings extends CommonSettings {
  /** Whether the group is matrices for Muon, true, or anything for AdamW. */
  useMuon: boolean;
  /** How much of the running mean of gradients a step keeps, from 0 to 1; 0.95. */
  momentum: number;
  /** Whether the step looks ahead along the mean (Nesterov); true. */
  nesterov: boolean;
  /** `coefficients` of `orthogonalize`; [3.4445, -4.775, 2.0315]. */
  nsCoefficients: readonly [number, number, number];
  /** `steps` of `orthogonalize`; 5. */
  nsSteps: number;
  /** `eps` of `orthogonalize`; 1e-7. */
  eps: number;
  /**
   * 'original', the default: lr sqrt(max(1, m / n)), Jordan's; 'matchRmsAdamw': 0.2 lr sqrt(max(m, n)), so that `lr` and
   * `weightDecay` of AdamW serve for both (Liu et al. 2025, "Muon is Scalable for LLM Training").
   */
  adjustLr: (typeof MUON_RATES)[number];
  /** Of groups for AdamW; [0.9, 0.999]. */
  betas: readonly [number, number];
  /** `eps` of groups for AdamW; 1e-8. */
  adamEps: number;
}

const KIND: SettingsKind<MuonSettings> = {
  where: 'Muon',
  defaults: {
    lr: 1e-3,
    weightDecay: 0.1,
    useMuon: true,
    momentum: 0.95,
    nesterov: true,
    nsCoefficients: NEWTON_SCHULZ,
    nsSteps: 5,
    eps: 1e-7,
    adjustLr: 'original',
    betas: [0.9, 0.999],
    adamEps: 1e-8,
  },
  check(where, settings) {
    checkFlag(where, 'useMuon', settings.useMuon);
    checkFlag(where, 'nesterov', settings.nesterov);
    checkNumber(where, 'momentum', settings.momentum, 0, 1);
    checkIteration(where, settings.nsSteps, settings.nsCoefficients, settings.eps);
    checkChoice(where, 'adjustLr', settings.adjustLr, MUON_RATES);
    checkBetas(where, settings.betas);
    checkNumber(where, 'adamEps', settings.adamEps, 0);
  },
  checkParameter(where, name, { shape }, { useMuon }) {
    if (!useMuon || shape.length === 2) return;
    const expected = 'a matrix, or in a group with useMuon: false (see muonGroups)';
    throw argumentError('SHAPE', where, `parameter ${name}`, expected, formatShape(shape));
  },
};

/** Which parameters Muon is for: matrices that are no embedding, no output head and no row or column. */
export function isHiddenMatrix(name: string, parameter: Tensor): boolean {
  checkString('isHiddenMatrix', 'name', name);
  checkInstance('isHiddenMatrix', 'parameter', parameter, Tensor);
  const { shape } = parameter;
  return shape.length === 2 && Math.min(...shape) > 1 && !/embed|(^|\.)(w[tp]e|(\w+_)?head)(\.|$)/i.test(name);
}

/**
 * The usual split of `model.namedParameters()` into groups for `Muon`: matrices inside the network, told by shape and name
 * (`isHidden`), and everything else for AdamW, with settings in `rest`:
 *
 *     new optim.Muon(optim.muonGroups(model.namedParameters(), { lr: 3e-4 }), { lr: 0.02 })
 */
export function muonGroups(
  named: Iterable<readonly [name: string, parameter: Tensor]>,
  rest: Partial<MuonSettings> = {},
  isHidden: (name: string, parameter: Tensor) => boolean = isHiddenMatrix,
): ParameterGroup<MuonSettings>[] {
  const where = 'muonGroups';
  checkObject(where, 'rest', rest);
  checkFunction(where, 'isHidden', isHidden, 'a function of name and parameter');
  const all = [...iterable(where, 'named', named)];
  for (const [i, pair] of all.entries()) {
    if (Array.isArray(pair) && typeof pair[0] === 'string' && pair[1] instanceof Tensor) continue;
    throw argumentError('INVALID_ARGUMENT', where, `named[${i}]`, 'a pair of name and parameter', describe(pair));
  }
  const hidden = new Set(all.filter(([name, t]) => isHidden(name, t)));
  return [{ params: [...hidden] }, { useMuon: false, ...rest, params: all.filter((pair) => !hidden.has(pair)) }];
}

/**
 * Muon (Jordan et al. 2024) as `torch.optim.Muon` has it, and AdamW for groups with `useMuon: false`, so that one
 * optimiser, and one state, holds a whole model. Matrices of one shape are made orthogonal together, in float32 where
 * PyTorch does it in bfloat16. What is no matrix is refused (SHAPE) in a group for Muon.
 */
export class Muon extends Optimizer<MuonSettings> {
  /** Of parameters or groups of them; what `settings` leaves out is the default. */
  constructor(parameters: Parameters<MuonSettings>, settings: Partial<MuonSettings> = {}) {
    super(KIND, parameters, settings);
  }

  protected buffersOf(parameter: Tensor, { useMuon }: MuonSettings): Readonly<Record<string, Shape>> {
    return useMuon ? { momentumBuffer: parameter.shape } : momentsOf(parameter);
  }

  protected update(
    entries: readonly Updated[],
    settings: MuonSettings,
    steps: number,
    gradientScale: Tensor | null,
  ): void {
    if (settings.useMuon) muonUpdate(entries, settings, gradientScale);
    else adamUpdate(entries, { ...settings, eps: settings.adamEps }, steps, gradientScale, 0);
  }
}

function muonUpdate(
  entries: readonly Updated[],
  { lr, weightDecay, momentum, nesterov, nsCoefficients, nsSteps, eps, adjustLr }: MuonSettings,
  gradientScale: Tensor | null,
): void {
  const gradients = entries.map((e) => e.gradient);
  const means = entries.map((e) => e.state.momentumBuffer);
  blend(means, gradients, 1 - momentum, gradientScale);
  const ahead = nesterov ? means.map((m) => m.clone()) : means;
  if (nesterov) blend(ahead, gradients, 1 - momentum, gradientScale);
  const updates = new Map<Tensor, Tensor>();
  const byShape = new Map<string, Tensor[]>();
  for (const direction of ahead) {
    const shape = direction.shape.join();
    byShape.set(shape, [...(byShape.get(shape) ?? []), direction]);
  }
  for (const same of byShape.values()) {
    const [m, n] = same[0].shape;
    const ratio = adjustLr === 'original' ? Math.sqrt(Math.max(1, m / n)) : 0.2 * Math.sqrt(Math.max(m, n));
    const all = orthogonalize(stack(same), { steps: nsSteps, coefficients: nsCoefficients, eps }).mul(ratio);
    same.forEach((direction, i) => updates.set(direction, all.slice(0, i, i + 1).reshape(m, n)));
  }
  const targets = entries.map((e) => e.target);
  const ordered = ahead.map((direction) => updates.get(direction)!);
  descend(targets, ordered, lr, weightDecay, guard(gradientScale));
}
