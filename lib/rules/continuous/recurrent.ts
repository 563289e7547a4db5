// Fast weights at observations, a differential equation between them (Irie, Faccio and Schmidhuber 2022; spec 2.6.4).
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkObject,
  checkOptions,
  describe,
  type OptionNames,
  scoped,
  type Tensor,
} from '../../core';
import { cat, tensor, toFloat32 } from '../../ops';
import { checkShapes, type Shapes, type Sizes } from '../sequential/shapes';
import { layersOf, solverOf } from './fastWeights';
import {
  checkPostTanh,
  type Layers,
  LEARNING_RULES,
  type LearningRule,
  queryOf,
  readState,
  slopeOf,
  splitWritten,
} from './field';
import { checkSolver, integrate, SOLVER, type SolverOptions } from './odeint';

/** Options of `odeRecurrentFastWeights`; those of the solver count between two different gaps of the batch. */
export interface OdeRecurrentOptions extends SolverOptions {
  /** 'delta' by default. */
  learningRule?: LearningRule;
  /** The number of heads, 1 by default. */
  heads?: number;
  /** Of the delta rule: tanh after the subtraction and not of the values, refused of others; true by default. */
  postTanh?: boolean;
  /** Whether the latent state goes through tanh before the fast weights are written; of Hebb's rule by default. */
  latentTanh?: boolean;
  /** Whether the observation comes before the time that passes, and not after it; false by default. */
  addDataFirst?: boolean;
  /** The width of the feed-forward block, which its weights must have. */
  ffDim?: number | null;
  /**
   * 'code', the default: all members of a batch step at the gaps of each, a batch whose gaps are all 0 stays as it is, and
   * Oja's rule is that of the program. 'paper': every member steps over its own gap.
   */
  as?: 'code' | 'paper';
  /** Also return the fast weights. */
  outputFinalState?: boolean;
}

/** @internal The names of `OdeRecurrentOptions`. */
export const OBSERVATION: OptionNames<OdeRecurrentOptions> = {
  ...SOLVER,
  learningRule: true,
  heads: true,
  postTanh: 'flag',
  latentTanh: 'flag',
  addDataFirst: 'flag',
  ffDim: true,
  as: true,
  outputFinalState: 'flag',
};

/** The observation, the states, and the weights under their published names. */
export interface OdeRecurrentInputs {
  /** [B, C] */
  x: Tensor;
  /** The latent state [B, D]. */
  latent: Tensor;
  /** The fast weights [B, H, K, V]. */
  state: Tensor;
  /** The time since the last observation, or with `addDataFirst` to the next one: [B], not negative. */
  dt: Tensor;
  /** The weights. */
  [weight: string]: Tensor;
}

const NET = 'diffeq_solver.ode_func.net';

const linearShapes = (name: string, shape: string): Record<string, string> => ({
  [`${name}.weight`]: shape,
  [`${name}.bias`]: shape.split(' ')[0],
});

const WEIGHTS: Shapes = {
  ...linearShapes('update_layer.input_proj', 'D C'),
  ...linearShapes('update_layer.input_layer_norm', 'D'),
  ...linearShapes('update_layer.merge_layer', 'D 2D'),
  ...linearShapes('update_layer.kvb_net', '2D+H D'),
  ...linearShapes('input_proj', 'D C'),
  ...linearShapes('input_layer_norm', 'D'),
  ...linearShapes('query_net', 'D D'),
  ...linearShapes('out_proj', 'D D'),
  ...linearShapes('ff_block.layer_norm', 'D'),
  ...linearShapes('ff_block.ff_layers.0', 'F D'),
  ...linearShapes('ff_block.ff_layers.3', 'D F'),
};

/** @internal What an observation does, checked. */
export interface ObservationSettings {
  /** The rule of the fast weights. */
  learningRule: LearningRule;
  /** Their number. */
  heads: number;
  /** See `OdeRecurrentOptions`. */
  postTanh: boolean;
  /** See there. */
  latentTanh: boolean;
  /** See there. */
  addDataFirst: boolean;
  /** See there. */
  as: 'code' | 'paper';
  /** How the latent state's equation is solved. */
  solver: SolverOptions;
}

/** @internal The layers of a model, and its latent field with what gradients are to reach. */
export interface ObservationParts {
  layers: Layers;
  /** The block behind the output projection. */
  feedForward(x: Tensor): Tensor;
  latentField(latent: Tensor, args: readonly Tensor[]): Tensor;
  args: readonly Tensor[];
}

/** @internal Checks the options of an observation. */
export function checkObservation(where: string, options: OdeRecurrentOptions): ObservationSettings {
  checkOptions<object>(where, options, OBSERVATION);
  const learningRule = checkChoice(where, 'learningRule', options.learningRule ?? 'delta', LEARNING_RULES);
  checkPostTanh(where, learningRule, options.postTanh);
  const { method, stepSize, rtol, atol, maxSteps, minStep, adjoint } = options;
  const solver = { method, stepSize, rtol, atol, maxSteps, minStep, adjoint };
  checkSolver(where, solver, 1, null);
  return {
    learningRule,
    heads: checkInteger(where, 'heads', options.heads ?? 1, 1),
    postTanh: options.postTanh ?? true,
    latentTanh: options.latentTanh ?? learningRule === 'hebb',
    addDataFirst: options.addDataFirst ?? false,
    as: checkChoice(where, 'as', options.as ?? 'code', ['code', 'paper']),
    solver,
  };
}

/** The latent states [B, D] after the gaps dt of their members. */
function passTime(
  where: string,
  { as, solver }: ObservationSettings,
  { latentField, args }: ObservationParts,
  latent: Tensor,
  dt: Tensor,
): Tensor {
  const gaps = [...dt.dataSync()];
  const wrong = gaps.findIndex((gap) => !Number.isFinite(gap) || gap < 0);
  if (wrong >= 0) {
    throw argumentError('INVALID_ARGUMENT', where, `dt[${wrong}]`, 'a time that is not negative', String(gaps[wrong]));
  }
  if (gaps.every((gap) => gap === 0)) return latent;
  const own = solverOf(solver, latent);
  if (as === 'paper') {
    const speed = dt.unsqueeze(1);
    const field = (_: number, h: Tensor, [s, ...rest]: readonly Tensor[]): Tensor => latentField(h, rest).mul(s);
    return integrate(where, field, latent, [0, 1], { ...own, args: [speed, ...args] }, 'latent').select(0, -1);
  }
  const times = [...new Set([0, ...gaps])].sort((a, b) => a - b);
  const [B, D] = latent.shape;
  const field = (_: number, h: Tensor, rest: readonly Tensor[]): Tensor => latentField(h, rest);
  const states = integrate(where, field, latent, times, { ...own, args }, 'latent');
  const rows = Int32Array.from(gaps, (gap, b) => times.indexOf(gap) * B + b);
  const index = tensor(rows, { device: latent.device, dtype: 'int32', shape: [B] });
  return states.reshape(times.length * B, D).indexSelect(0, index);
}

/** @internal One observation: the latent state and the fast weights after it. */
export function observe(
  where: string,
  settings: ObservationSettings,
  parts: ObservationParts,
  { x, latent, state, dt }: { x: Tensor; latent: Tensor; state: Tensor; dt: Tensor },
): { latent: Tensor; state: Tensor } {
  const { heads, latentTanh, addDataFirst, as } = settings;
  const { layers } = parts;
  const written = (h: Tensor): Tensor => {
    const input = layers('update_layer.input_layer_norm', layers('update_layer.input_proj', x));
    const merged = layers('update_layer.merge_layer', cat([input, latentTanh ? h.tanh() : h], 1));
    const { k, v, beta } = splitWritten(layers('update_layer.kvb_net', merged), heads);
    return state.add(slopeOf(settings, 'ode', { k, v, beta }, state));
  };
  const read = (after: Tensor): Tensor =>
    parts.feedForward(layers('out_proj', readState(after, queryOf(layers, x, heads))));
  if (as === 'code' && dt.dataSync().every((gap) => gap === 0)) {
    return { latent: latent.another(), state: state.another() };
  }
  if (addDataFirst) {
    const after = written(latent);
    return { latent: passTime(where, settings, parts, read(after), dt), state: after };
  }
  const after = written(passTime(where, settings, parts, latent, dt));
  return { latent: read(after), state: after };
}

/** The names of the layers of the latent field that are given, net.0, net.2, ..., with tanh between them. */
function netNames(inputs: object): string[] {
  const count = Object.keys(inputs).filter((name) => name.startsWith(`${NET}.`) && name.endsWith('.weight')).length;
  return Array.from({ length: Math.max(1, count) }, (_, i) => `${NET}.${2 * i}`);
}

/**
 * One observation x [B, C] of the recurrent fast weights of ODE-RFWP: the latent state h [B, D] goes through
 * dh/ds = net(h), linear layers with tanh between them, for the time dt of each member ('rk4' by default); keys, values and
 * strengths of x and h write the fast weights by the rule; what a query of x reads goes through a feed-forward block and is
 * the new latent state: output [B, D], `finalState` [B, H, K, V]. With `addDataFirst` time passes afterwards. dt has a
 * gradient in the form of the paper only.
 */
export const odeRecurrentFastWeights = scoped(
  (inputs: OdeRecurrentInputs, options: OdeRecurrentOptions = {}): { output: Tensor; finalState?: Tensor } => {
    const where = 'odeRecurrentFastWeights';
    checkObject(where, 'inputs', inputs);
    const settings = checkObservation(where, options);
    const net = netNames(inputs);
    const width = (i: number): string => (i === 0 || i === net.length ? 'D' : `N${i}`);
    const netShapes = net.reduce<Shapes>(
      (shapes, name, i) => ({ ...shapes, ...linearShapes(name, `${width(i + 1)} ${width(i)}`) }),
      {},
    );
    const weights: Shapes = { ...WEIGHTS, ...netShapes };
    const known = ['x', 'latent', 'state', 'dt', ...Object.keys(weights)];
    checkOptions<object>(where, inputs, Object.fromEntries(known.map((name) => [name, true])));
    const sizes: Sizes = { H: settings.heads };
    if (typeof options.ffDim === 'number') sizes.F = options.ffDim;
    checkShapes(where, inputs, { x: 'B C', latent: 'B D', dt: 'B', ...weights }, sizes);
    if (sizes.D % sizes.H !== 0) {
      throw argumentError('INVALID_ARGUMENT', where, 'heads', `a divisor of the width ${sizes.D}`, describe(sizes.H));
    }
    checkShapes(where, inputs, { state: 'B H K K' }, { ...sizes, K: sizes.D / sizes.H }, inputs.x);
    const { dtype } = inputs.x;
    const given = Object.fromEntries(known.map((name) => [name, toFloat32(inputs[name])]));
    const netWeights = Object.keys(netShapes);
    const layers = layersOf(given);
    const after = observe(
      where,
      settings,
      {
        layers,
        feedForward: (x) => {
          const hidden = layers('ff_block.ff_layers.0', layers('ff_block.layer_norm', x)).relu();
          return layers('ff_block.ff_layers.3', hidden).add(x);
        },
        latentField(h, args) {
          const own = layersOf(Object.fromEntries(netWeights.map((name, i) => [name, args[i]])));
          return net.reduce((y, name, i) => own(name, i === 0 ? y : y.tanh()), h);
        },
        args: netWeights.map((name) => given[name]),
      },
      { x: given.x, latent: given.latent, state: given.state, dt: given.dt },
    );
    const output = after.latent.to(dtype);
    return options.outputFinalState ? { output, finalState: after.state } : { output };
  },
);
