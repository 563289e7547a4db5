// Titans: memories that learn at test time with momentum and forgetting (Behrouz, Zhong, Mirrokni 2025; spec 2.13.17).
import { checkChoice, checkInteger, checkNumber, checkObject, overlaps, type Tensor } from '../../core';
import { cat, eye, gelu, linearScan, split, zerosBeside } from '../../ops';
import type { Shapes } from '../sequential/shapes';
import type { Ran, Run } from '../sequential/types';
import { linearLearner } from './linearLearner';
import { type ChunkPlace, overChunks, type Position } from './chunks';
import { defineTestTime, type TestTimeRule } from './define';
import { type Activation, type Course, type InnerNetwork, learnChunks } from './innerNetwork';

/** Options of the rules of Titans. */
export interface TitansOptions {
  /** Tokens whose gradients are taken at the same weights, those before the first of them: 64 by default; 1 is the recurrence. */
  chunkSize?: number;
  /** Multiplies q first; 1 by default. */
  scale?: number | null;
  /** The loss is this times |M(k) - v|^2, so that 1, the default, leaves a factor of 2 in its gradient. */
  lossScale?: number;
}

/** The options with their defaults. */
export interface TitansSettings {
  size: number;
  scale: number;
  lossScale: number;
  position: Position;
}

type Named = Record<string, Tensor>;

/** What the rules of Titans differ in. */
interface Kind {
  /** Names of each layer's weight, momentum and anchor among the states. */
  layers: readonly (readonly [weight: string, momentum: string, anchor: string])[];
  /** The inner network, for the weights that all tokens share, and what it learns from. */
  network(weights: Named): Pick<InnerNetwork, 'activation' | 'gradient'>;
  targets(tokens: Named, weights: Named): Tensor;
  /** Whether it is a single layer whose loss is a square. */
  square: boolean;
}

/**
 * What the weights W and the momentum S before a chunk, and the write of each of its tokens, are to the weights that each token
 * reads: the recurrence itself, on rows of coefficients, which divides by nothing.
 */
function courseOf({ theta, alpha, eta }: Named, anchors: boolean): Course {
  const C = theta.shape[3];
  // Columns: W, S, then tokens.
  const units = eye(C + 2, { dtype: theta.dtype, device: theta.device });
  const tokens = units.slice(0, 2);
  const start = (column: number): Tensor =>
    cat([units.slice(0, column, column + 1), zerosBeside(theta, [C - 1, C + 2])], 0);
  const [written, kept, carried] = [theta, alpha.neg().add(1), eta].map((x) => x.unsqueeze(4));
  const scan = (x: Tensor, factor: Tensor): Tensor => linearScan(x, factor.expand([...x.shape]), 3);
  const inMomentum = scan(start(1).mul(carried).sub(tokens.mul(written)), carried);
  const inWeights = scan(start(0).mul(kept).add(inMomentum), kept);
  const [keep, carry, mix] = split(inWeights, [1, 1, C], 4);
  const last = inMomentum.slice(3, C - 1);
  return {
    keep,
    carry,
    mix,
    moves: true,
    sum: { keep: last.slice(4, 1, 2), write: last.slice(4, 2).transpose(3, 4) },
    anchors,
  };
}

/** Walks the chunks: products of matrices within each, weights and momentum from one to the next. */
export function runTitans(
  where: string,
  { layers: names, network, targets, square }: Kind,
  { inputs, states, settings, cuSeqlens }: Run<Shapes, Shapes, TitansSettings>,
  shared: readonly string[] = [],
): Ran<Shapes> {
  const { size, scale, position } = settings;
  const { q, k, v, theta, alpha, eta, ...others } = inputs as Named;
  const given = states as Named;
  const run = (tokens: Named, before: Named, weights: Named, place: ChunkPlace): Ran<Shapes> => {
    const { output, layers } = learnChunks(
      { bias: false, ...network(weights) },
      { q: tokens.q, k: tokens.k, targets: targets(tokens, weights) },
      courseOf(tokens, place.complete),
      names.map(([weight, momentum, anchor]) => ({
        weight: before[weight],
        sum: before[momentum],
        anchor: place.position > 0 ? before[anchor] : before[weight],
      })),
    );
    const after = names.flatMap(([weight, momentum, anchor], l): [string, Tensor][] => [
      [weight, layers[l].weight],
      [momentum, layers[l].sum!],
      [anchor, layers[l].anchor],
    ]);
    return { output, states: Object.fromEntries(after) };
  };
  const kernel = (tokens: Named, before: Named, weights: Named): Ran<Shapes> => {
    const [[weight, momentum, anchor]] = names;
    const { theta, alpha, eta } = tokens;
    const { output, ...after } = linearLearner(
      {
        ...{ q: tokens.q, k: tokens.k, target: targets(tokens, weights), theta, scale: null, alpha, eta },
        ...{ normWeight: null, normBias: null, state: before[weight], momentum: before[momentum] },
      },
      { size, bias: false, eps: 0 },
    );
    return { output, states: { [weight]: after.state, [momentum]: after.momentum!, [anchor]: after.state } };
  };
  const anchored = names.map(([weight, , anchor]): [string, Tensor] => [anchor, given[anchor] ?? given[weight]]);
  const { output, states: after } = overChunks(
    {
      tokens: { q: scale === 1 ? q : q.mul(scale), k, v, theta, alpha, eta },
      states: { ...given, ...Object.fromEntries(anchored) },
      weights: Object.fromEntries(shared.map((name): [string, Tensor] => [name, others[name]])),
    },
    { where, size, position, cuSeqlens },
    run,
    square ? kernel : null,
  );
  // Where a chunk is done its anchor is the weights, and each state is to have memory of its own.
  for (const [weight, , anchor] of names)
    if (overlaps(after[anchor], after[weight])) after[anchor] = after[anchor].clone();
  return { output, states: after };
}

/** Inputs beside the states. */
export const TITANS_INPUTS = {
  q: 'B T H K',
  k: 'B T H K',
  v: 'B T H V',
  theta: 'B T H',
  alpha: 'B T H',
  eta: 'B T H',
} as const;
export const TITANS_OPTIONS = { chunkSize: true, scale: true, lossScale: true } as const;

/** Checks the options. */
export function titansSettings(where: string, options: TitansOptions): Omit<TitansSettings, 'position'> {
  return {
    size: checkInteger(where, 'chunkSize', options.chunkSize ?? 64, 1),
    scale: checkNumber(where, 'scale', options.scale ?? 1),
    lossScale: checkNumber(where, 'lossScale', options.lossScale ?? 1),
  };
}

type Given = Run<Shapes, Shapes, TitansSettings>;

/** `runTitans` with the loss lossScale |z - v|^2, the factor of whose gradient goes into the rate. */
function runSquareLoss(
  where: string,
  layers: Kind['layers'],
  activation: Activation | null,
  given: Given,
): Ran<Shapes> {
  const inputs = given.inputs as Named;
  const network: Kind['network'] = () => ({ activation, gradient: (z, v) => z.sub(v) });
  const scaled = { ...inputs, theta: inputs.theta.mul(2 * given.settings.lossScale) };
  return runTitans(
    where,
    { layers, network, targets: ({ v }) => v, square: layers.length === 1 },
    { ...given, inputs: scaled },
  );
}

/**
 * A matrix per head that learns v of k by gradient descent with momentum and weight decay,
 *   S_t = eta_t S_{t-1} - theta_t grad |M^T k_t - v_t|^2,  M_t = (1 - alpha_t) M_{t-1} + S_t,  o_t = M_t^T q_t
 * (Behrouz et al. 2025, eqs. 8-15; spec 2.13.17), the gradients of a chunk at the M before its first token. q, k [B, T, H, K], v
 * [B, T, H, V], theta, alpha, eta [B, T, H]; states `state` M and `momentum` S [B, H, K, V] and, with chunks of several tokens,
 * `anchor`, the M at which the gradients of a chunk that is left open are taken, which counts with `position` above 0 only.
 */
export const titans = defineTestTime({
  name: 'titans',
  inputs: TITANS_INPUTS,
  states: { state: 'B H K V', momentum: 'B H K V', anchor: 'B H K V' },
  endings: { state: 'State', momentum: 'Momentum', anchor: 'Anchor' },
  options: TITANS_OPTIONS,
  settings: (where, options: TitansOptions) => titansSettings(where, options),
  without: ({ size }) => (size === 1 ? ['anchor'] : []),
  run: (given) => runSquareLoss('titans', [['state', 'momentum', 'anchor']], null, given as unknown as Given) as never,
});

/** Options of `titansMlp`. */
export interface TitansMlpOptions extends TitansOptions {
  /** Layers, 2 by default. */
  depth?: number;
  /** Between them: 'gelu', the exact one, by default. */
  activation?: 'gelu' | 'silu';
}

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);

const ACTIVATIONS: Record<'gelu' | 'silu', Activation> = {
  gelu: {
    value: (x) => gelu(x),
    slope: (x) => {
      const below = x.mul(Math.SQRT1_2).erf().add(1).mul(0.5);
      const density = x
        .square()
        .mul(-0.5)
        .exp()
        .mul(0.5 * SQRT_2_OVER_PI);
      return below.add(x.mul(density));
    },
  },
  silu: {
    value: (x) => x.silu(),
    slope: (x) => x.sigmoid().mul(x.mul(x.neg().sigmoid()).add(1)),
  },
};

/** W_l is [K, E], [E, E], ... [E, V]. */
const shapeOfLayer = (l: number, depth: number): string => `B H ${l === 1 ? 'K' : 'E'} ${l === depth ? 'V' : 'E'}`;

type TitansMlp = TestTimeRule<typeof TITANS_INPUTS, Record<string, string>, TitansMlpOptions>;

/** The rule of a depth. */
function titansOfDepth(depth: number): TitansMlp {
  const layers = Array.from({ length: depth }, (_, i) => [`W${i + 1}`, `momentum${i + 1}`, `anchor${i + 1}`] as const);
  const names = [0, 1, 2].flatMap((part) => layers.map((own) => own[part]));
  const anchors = layers.map(([, , anchor]) => anchor);
  const capital = (name: string): string => name[0].toUpperCase() + name.slice(1);
  return defineTestTime({
    name: 'titansMlp',
    inputs: TITANS_INPUTS,
    states: Object.fromEntries(names.map((name, i) => [name, shapeOfLayer((i % depth) + 1, depth)])),
    endings: Object.fromEntries(names.map((name) => [name, capital(name)])),
    options: { ...TITANS_OPTIONS, depth: true, activation: true },
    settings: (where, options: TitansMlpOptions) => ({
      ...titansSettings(where, options),
      activation: checkChoice(where, 'activation', options.activation ?? 'gelu', ['gelu', 'silu']),
    }),
    without: ({ size }) => (size === 1 ? anchors : []),
    settle: (_, sizes) => {
      sizes.E ??= 4 * sizes.K;
    },
    run: (given) =>
      runSquareLoss('titansMlp', layers, depth === 1 ? null : ACTIVATIONS[given.settings.activation], given),
  });
}

const byDepth = new Map<number, TitansMlp>();

function ofDepth(where: string, options: TitansMlpOptions): TitansMlp {
  checkObject(where, 'options', options);
  const depth = checkInteger(where, 'depth', options.depth ?? 2, 1, 16);
  const rule = byDepth.get(depth) ?? titansOfDepth(depth);
  byDepth.set(depth, rule);
  return rule;
}

const whole = ((q, k, v, options) => ofDepth('titansMlp', options)(q, k, v, options)) as TitansMlp;
const step: TitansMlp['step'] = (q, k, v, options) => ofDepth('titansMlp.step', options).step(q, k, v, options);

/**
 * `titans` with a network of `depth` layers for the matrix, M(k) = act(act(k W1) W2) ... without biases: states W1 [B, H, K, E],
 * W2 [B, H, E, E], ..., the last [B, H, E, V], momentum1, ... and anchor1, ...; E is 4 K where none is given.
 */
export const titansMlp: TitansMlp = Object.assign(whole, { step });
