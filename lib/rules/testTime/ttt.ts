// TTT: layers whose hidden state is a network that learns at test time, a mini-batch of tokens at a time (Sun et al. 2024; spec
// 2.13.16).
import { argumentError, checkInteger, checkNumber, type Tensor } from '../../core';
import { cat, gelu, layerNorm, tril, zerosBeside } from '../../ops';
import type { Ran, Run } from '../sequential/types';
import type { Shapes } from '../sequential/shapes';
import { type ChunkPlace, overChunks, type Position } from './chunks';
import { defineTestTime } from './define';
import { linearLearner } from './linearLearner';
import { type Activation, type Layer, learnChunks } from './innerNetwork';
import { normGradient } from './normGradient';

/** Options of the rules of TTT. */
export interface TttOptions {
  /** Tokens whose gradients are taken at the same weights: the length of tokenScale, which it must be, by default. */
  miniBatchSize?: number;
  /** Multiplies q first; 1 by default. */
  scale?: number | null;
  /** Under the root of the inner norm, 1e-6 by default. */
  eps?: number;
}

/** The options with their defaults. */
export interface TttSettings {
  size: number;
  scale: number;
  eps: number;
  position: Position;
}

type Named = Record<string, Tensor>;

/** What the rules of TTT differ in. */
interface Kind {
  /** Names of each layer's weight and bias among the states; those of their sums of gradients end in 'Gradient'. */
  layers: readonly (readonly [weight: string, bias: string])[];
  activation: Activation | null;
  /** Rates [.., C, 1] or [C, 1]: token t reads the gradient of s <= t with read_t write_s. */
  rates(given: { learningRate: Tensor; tokenScale: Tensor | null }): { read: Tensor; write: Tensor };
  /** Whether what a token reads is added to the norm of that, and not its query. */
  addsRead: boolean;
}

/** The rows of a learning layer: those of its weight, and its bias. */
const joined = (states: Named, [weight, bias]: readonly [string, string], ending = ''): Tensor =>
  cat([states[weight + ending], states[bias + ending]], 2);

/**
 * The dual form of mini-batch gradient descent: within a mini-batch weights stay what they are, and what a token reads of the
 * gradients before it waits in sums until the last token.
 */
export function runTtt(
  where: string,
  { layers: names, activation, rates, addsRead }: Kind,
  given: Run<Shapes, Shapes, TttSettings>,
): Ran<Shapes> {
  const { settings, cuSeqlens } = given;
  const inputs = given.inputs as Named;
  const states = given.states as Named;
  const { size, scale, eps, position } = settings;
  const { k, v, learningRate, normWeight, normBias, tokenScale = null } = inputs;
  const q = scale === 1 ? inputs.q : inputs.q.mul(scale);
  const before: Named = {};
  names.forEach((pair, l) => {
    before[`layer${l}`] = joined(states, pair);
    before[`sum${l}`] = size > 1 ? joined(states, pair, 'Gradient') : zerosBeside(before[`layer${l}`]);
  });
  const run = (tokens: Named, carried: Named, weights: Named, place: ChunkPlace): Ran<Shapes> => {
    const { length, complete } = place;
    const [norm, shift] = [weights.normWeight, weights.normBias].map((t) => t.unsqueeze(1));
    const square = norm.square();
    const own = weights.tokenScale?.slice(0, place.position, place.position + length).unsqueeze(1) ?? null;
    const { read, write } = rates({ learningRate: tokens.learningRate, tokenScale: own });
    const waits = place.position > 0;
    const result = learnChunks(
      {
        bias: true,
        activation,
        gradient: (z, target) => normGradient(z, square.expand(z.shape), target, eps),
      },
      { q: tokens.q, k: tokens.k, targets: tokens.v.sub(tokens.k).sub(shift).mul(norm) },
      {
        keep: null,
        carry: waits ? read.neg().expand([...tokens.learningRate.shape]) : null,
        mix: tril(
          read
            .neg()
            .mul(write.transpose(-2, -1))
            .expand([...tokens.learningRate.shape.slice(0, -1), length]),
        ),
        moves: complete,
        sum: complete ? null : { keep: null, write: write.expand([...tokens.learningRate.shape]) },
        anchors: complete,
      },
      names.map((_, l): Layer => {
        const weight = carried[`layer${l}`];
        return { weight, sum: waits ? carried[`sum${l}`] : null, anchor: weight };
      }),
    );
    const after: Named = {};
    result.layers.forEach(({ weight, sum }, l) => {
      after[`layer${l}`] = weight;
      after[`sum${l}`] = sum && !complete ? sum : zerosBeside(weight);
    });
    const normed = layerNorm(result.output, null, null, { eps }).mul(norm).add(shift);
    return { output: normed.add(addsRead ? result.output : tokens.q), states: after };
  };
  const loop = {
    tokens: { q, k, v, learningRate: learningRate.unsqueeze(3) },
    states: before,
    weights: { normWeight, normBias, ...(tokenScale && { tokenScale }) } as Named,
  };
  const kernel = (tokens: Named, carried: Named, weights: Named): Ran<Shapes> => {
    const [B, T, H] = tokens.learningRate.shape;
    const chunks = tokens.learningRate.reshape(B, T / size, size, H);
    const own = rates({ learningRate: chunks, tokenScale: weights.tokenScale?.unsqueeze(1) ?? null });
    const [scale, theta] = [own.read, own.write].map((rate) => rate.expand([...chunks.shape]).reshape(B, T, H));
    const { output, state } = linearLearner(
      {
        ...{ q: tokens.q, k: tokens.k, target: tokens.v, theta, scale, alpha: null, eta: null },
        ...{ normWeight: weights.normWeight, normBias: weights.normBias, state: carried.layer0, momentum: null },
      },
      { size, bias: true, eps, addsRead },
    );
    return { output, states: { layer0: state, sum0: zerosBeside(state) } };
  };
  const walk = { where, size, position, cuSeqlens };
  const { output, states: after } = overChunks(loop, walk, run, activation ? null : kernel);
  const parts = names.flatMap(([weight, bias], l) =>
    (['layer', 'sum'] as const).flatMap((kind): [string, Tensor][] => {
      const whole = after[`${kind}${l}`];
      const rows = whole.shape[2] - 1;
      const ending = kind === 'layer' ? '' : 'Gradient';
      return [
        [weight + ending, whole.slice(2, 0, rows)],
        [bias + ending, whole.slice(2, rows)],
      ];
    }),
  );
  return { output, states: Object.fromEntries(parts) };
}

/** Inputs of the authors' rules. */
const INPUTS = {
  q: 'B T H D',
  k: 'B T H D',
  v: 'B T H D',
  learningRate: 'B T H',
  tokenScale: 'M',
  normWeight: 'H D',
  normBias: 'H D',
} as const;
export const TTT_OPTIONS = { miniBatchSize: true, scale: true, eps: true } as const;

/** Checks the options. */
export function tttSettings(
  where: string,
  options: TttOptions,
  usual: { miniBatchSize: number; scale: number },
): Omit<TttSettings, 'position'> {
  return {
    size: checkInteger(where, 'miniBatchSize', options.miniBatchSize ?? usual.miniBatchSize, 1),
    scale: checkNumber(where, 'scale', options.scale ?? usual.scale),
    eps: checkNumber(where, 'eps', options.eps ?? 1e-6, 0),
  };
}

const settings = (where: string, options: TttOptions, { tokenScale }: { tokenScale: Tensor }) =>
  tttSettings(where, options, { miniBatchSize: tokenScale.shape[0], scale: 1 });

/** Requires a token scale for every place of a mini-batch. */
function checkTokenScale(where: string, tokens: number, size: number): void {
  if (tokens === size) return;
  throw argumentError('SHAPE', where, 'tokenScale', `[${size}] (miniBatchSize)`, `[${tokens}]`);
}

const byToken: Kind['rates'] = ({ learningRate, tokenScale }) => ({ read: tokenScale!, write: learningRate });

/**
 * A linear layer per head that learns to make v - k of k (Sun et al. 2024, "TTT-Linear"): f(x) = LN(x W1 + b1), loss
 * 1/2 |f(k_s) - (v_s - k_s)|^2, gradients of all tokens of a mini-batch at its first weights; token t sees those of s <= t with
 * the rate tokenScale_t learningRate_s, and output q_t + f(q_t) with the weights that are left. The authors' program, spec
 * 2.13.16. q, k, v [B, T, H, D] (behind their rotary positions), learningRate [B, T, H], tokenScale [miniBatchSize], normWeight and
 * normBias [H, D]; states W1 [B, H, D, D], b1 [B, H, 1, D], and, where a mini-batch may be left open, the sums of its gradients
 * W1Gradient and b1Gradient, which count with `position` above 0 only.
 */
export const tttLinear = defineTestTime({
  name: 'tttLinear',
  inputs: INPUTS,
  states: { W1: 'B H D D', b1: 'B H 1 D', W1Gradient: 'B H D D', b1Gradient: 'B H 1 D' },
  endings: { W1: 'W1', b1: 'b1', W1Gradient: 'W1Gradient', b1Gradient: 'b1Gradient' },
  without: ({ size }) => (size === 1 ? ['W1Gradient', 'b1Gradient'] : []),
  options: TTT_OPTIONS,
  settings,
  settle: (where, sizes, { size }) => checkTokenScale(where, sizes.M, size),
  run: (given) =>
    runTtt(
      'tttLinear',
      {
        layers: [['W1', 'b1']],
        activation: null,
        rates: byToken,
        addsRead: false,
      },
      given as unknown as Run<Shapes, Shapes, TttSettings>,
    ) as never,
});

/** tanh gelu, and its derivative as the authors' program has it, with constants of 8 and 10 digits. */
const GELU: Activation = {
  value: (x) => gelu(x, 'tanh'),
  slope: (x) => {
    const squared = x.square();
    const t = x.mul(0.79788456).mul(squared.mul(0.044715).add(1)).tanh();
    const inner = squared.mul(0.1070322243).add(0.79788456);
    return x.mul(0.5).mul(t.square().neg().add(1)).mul(inner).add(t.add(1).mul(0.5));
  },
};

/**
 * `tttLinear` with two layers per head, f(x) = LN(gelu(x W1 + b1) W2 + b2) (Sun et al. 2024, "TTT-MLP"; spec 2.13.16): further
 * states W2 [B, H, E, D], b2 [B, H, 1, D], their gradients, and W1 [B, H, D, E], b1 [B, H, 1, E]; E is 4 D where none is given.
 */
export const tttMlp = defineTestTime({
  name: 'tttMlp',
  inputs: INPUTS,
  states: {
    W1: 'B H D E',
    b1: 'B H 1 E',
    W2: 'B H E D',
    b2: 'B H 1 D',
    W1Gradient: 'B H D E',
    b1Gradient: 'B H 1 E',
    W2Gradient: 'B H E D',
    b2Gradient: 'B H 1 D',
  },
  endings: {
    W1: 'W1',
    b1: 'b1',
    W2: 'W2',
    b2: 'b2',
    W1Gradient: 'W1Gradient',
    b1Gradient: 'b1Gradient',
    W2Gradient: 'W2Gradient',
    b2Gradient: 'b2Gradient',
  },
  without: ({ size }) => (size === 1 ? ['W1Gradient', 'b1Gradient', 'W2Gradient', 'b2Gradient'] : []),
  options: TTT_OPTIONS,
  settings,
  settle: (where, sizes, { size }) => {
    checkTokenScale(where, sizes.M, size);
    sizes.E ??= 4 * sizes.D;
  },
  run: (given) =>
    runTtt(
      'tttMlp',
      {
        layers: [
          ['W1', 'b1'],
          ['W2', 'b2'],
        ],
        activation: GELU,
        rates: byToken,
        addsRead: false,
      },
      given as unknown as Run<Shapes, Shapes, TttSettings>,
    ) as never,
});
