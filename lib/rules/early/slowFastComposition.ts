// A linear slow net, an update rule and a linear fast net, chosen by name: a composition for programs that read their
// settings from a file (spec 2.1.3).
import {
  argumentError,
  checkChoice,
  checkNumber,
  checkObject,
  checkOptions,
  formatShape,
  type OptionNames,
  scope,
  type Tensor,
} from '../../core';
import { noGrad } from '../../autograd';
import { checkFloat, FEATURE_MAP_OPTIONS, type FeatureMapOptions, mapFeatures, zerosBeside } from '../../ops';
import type { SequentialOptions, SequentialRule } from '../sequential/types';
import type { Given } from '../sequential/shapes';
import { composeFastWeights } from './compose';
import {
  checkSplit,
  deltaUpdate,
  type Instruction,
  linearFastNet,
  linearSlowNet,
  type SquashName,
  SQUASHES,
  sumUpdate,
} from './parts';

/** Options of `slowFastComposition`; the feature map is that of q and k, and beta goes through a sigmoid where there is one. */
export interface SlowFastCompositionOptions extends FeatureMapOptions {
  /** The slow net: 'linear'. */
  slow?: 'linear';
  /** Order of the slow net's rows: q, k, v, beta by default. */
  split?: readonly Instruction[];
  /** 'delta' by default; 'sum' takes no notice of beta, and needs none in `split`. */
  updateRule?: 'delta' | 'sum';
  /** Squashes the output of the fast net: 'identity' by default. */
  fastActivation?: SquashName;
  /** Multiplies S^T q in front of it: 1 by default. */
  scale?: number;
}

const OWN: OptionNames<SlowFastCompositionOptions> = {
  ...FEATURE_MAP_OPTIONS,
  slow: true,
  split: true,
  updateRule: true,
  fastActivation: true,
  scale: true,
};

const NAME = 'slowFastComposition';
type Shapes = { x: 'B T I'; Ws: 'O I'; bs: 'O?' };
type Inputs = Given<Shapes>;
type Composition = SequentialRule<Shapes, { state: 'B 1 K V' }, SlowFastCompositionOptions>;

/** The composition for the sizes of the inputs; the fast net gives out vectors of the width of x where no state says it. */
function composition(
  where: string,
  inputs: Inputs,
  state: Tensor | null,
  options: SlowFastCompositionOptions,
): Composition {
  const { x, Ws } = inputs;
  checkFloat(where, 'x', x);
  checkFloat(where, 'Ws', Ws);
  const form = where === NAME ? '[B, T, I]' : '[B, I]';
  if (x.ndim !== form.split(',').length) throw argumentError('SHAPE', where, 'x', form, formatShape(x.shape));
  if (Ws.ndim !== 2) throw argumentError('SHAPE', where, 'Ws', '[O, I]', formatShape(Ws.shape));
  const { slow = 'linear', updateRule = 'delta', fastActivation = 'identity', split, scale, ...map } = options;
  checkChoice(where, 'slow', slow, ['linear']);
  checkChoice(where, 'updateRule', updateRule, ['delta', 'sum']);
  checkChoice(where, 'fastActivation', fastActivation, SQUASHES);
  checkNumber(where, 'scale', scale ?? 1);
  const order = split ?? ['q', 'k', 'v', 'beta'];
  checkSplit(where, order);
  if (updateRule === 'delta' && !order.includes('beta')) {
    throw argumentError(
      'INVALID_ARGUMENT',
      where,
      'split',
      "beta, too, with the update rule 'delta'",
      order.join(', '),
    );
  }
  const rows = Ws.shape[0];
  if (state !== null) {
    const name = where === NAME ? 'initialState' : 'state';
    checkFloat(where, name, state);
    if (state.ndim !== 4) throw argumentError('SHAPE', where, name, '[B, 1, K, V]', formatShape(state.shape));
  }
  const valueDim = state?.shape[3] ?? x.shape[x.ndim - 1];
  const keyDim = (rows - valueDim - (order.includes('beta') ? 1 : 0)) / 2;
  if (!Number.isInteger(keyDim) || keyDim < 1) {
    const expected = `rows of two keys${order.includes('beta') ? ', a strength' : ''} and a value of width ${valueDim}`;
    throw argumentError('SHAPE', where, 'Ws', expected, formatShape(Ws.shape));
  }
  const features = scope(() => noGrad(() => mapFeatures(zerosBeside(x, [1, keyDim]), map).shape[1]));
  const parts = {
    slow: linearSlowNet({ keyDim, valueDim, split: order, ...map }),
    fastNet: linearFastNet({ keyDim: features, valueDim, activation: fastActivation, scale: scale ?? 1 }),
  };
  const composed =
    updateRule === 'delta'
      ? composeFastWeights({ name: NAME, ...parts, updateRule: deltaUpdate() })
      : composeFastWeights({ name: NAME, ...parts, updateRule: sumUpdate() });
  return composed;
}

const sequence = (
  inputs: Inputs & { initialState?: Tensor | null },
  given: SlowFastCompositionOptions & SequentialOptions = {},
): { output: Tensor } => {
  checkObject(NAME, 'inputs', inputs);
  checkObject(NAME, 'options', given);
  const { outputFinalState, cuSeqlens, ...options } = given;
  checkOptions<object>(NAME, options, OWN);
  return composition(NAME, inputs, inputs.initialState ?? null, options)(inputs, { outputFinalState, cuSeqlens });
};

const step = (inputs: Inputs, given: SlowFastCompositionOptions & { state: { state: Tensor } }): Tensor => {
  checkObject(`${NAME}.step`, 'inputs', inputs);
  checkObject(`${NAME}.step`, 'options', given);
  const { state, ...options } = given;
  checkOptions<object>(`${NAME}.step`, options, OWN);
  return composition(`${NAME}.step`, inputs, state?.state ?? null, options).step(inputs, { state });
};

/**
 * [q, k, v, beta]_t = Ws x_t + bs, S_t from S_{t-1} by the update rule, y_t = fastActivation(scale S_t^T q_t): output
 * [B, T, 1, V]. x [B, T, I], Ws [2 K + V + 1, I] with its rows in the order of `split`, bs; the state is [B, 1, P, V] with P
 * the width of the mapped keys. Without an initial state V is I. It is `composeFastWeights` of `linearSlowNet`,
 * `deltaUpdate` or `sumUpdate`, and `linearFastNet`.
 */
export const slowFastComposition = Object.assign(sequence as Composition, { step });
