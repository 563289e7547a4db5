// Learning rules as differential equations: dS/dt of fast weights (Irie, Faccio and Schmidhuber 2022; spec 2.6.1, 2.6.2).
import { argumentError, type Tensor } from '../../core';
import { split } from '../../ops';
import type { Shapes } from '../sequential/shapes';

/**
 * Where keys and strengths, and where values come from: 'ode' both from x; 'cde1' keys from x, values from x'; 'cde2' keys
 * from x', values from x; 'dxOnly' both from x'.
 */
export type FieldFamily = 'ode' | 'cde1' | 'cde2' | 'dxOnly';

/** The rule by which the fast weights change. */
export type LearningRule = 'hebb' | 'oja' | 'delta';

/** Their names. */
export const LEARNING_RULES = ['hebb', 'oja', 'delta'] as const satisfies readonly LearningRule[];

/** Requires that `postTanh` is asked for where it does anything: by the delta rule. */
export function checkPostTanh(where: string, learningRule: LearningRule, postTanh: boolean | undefined): void {
  if (learningRule === 'delta' || !postTanh) return;
  const expected = `left out, or false, with the learning rule '${learningRule}'`;
  throw argumentError('INVALID_ARGUMENT', where, 'postTanh', expected, 'true');
}

/** What a rule does with the state. */
export interface RuleSettings {
  /** The rule. */
  learningRule: LearningRule;
  /** The number of heads. */
  heads: number;
  /** Of the delta rule: tanh after the subtraction. */
  postTanh: boolean;
  /** Whose form of the rule. */
  as: 'code' | 'paper';
}

/** A field of one family. */
export interface FieldSettings extends RuleSettings {
  /** Where keys and values come from. */
  family: FieldFamily;
  /** Whether a norm and another layer stand behind that of the values. */
  valueLayerNorm: boolean;
}

/** Keys and values [B, H, D] and strengths [B, H, 1] as the slow net gives them. */
export interface Written {
  k: Tensor;
  v: Tensor;
  beta: Tensor;
}

/** Applies a layer by its name: a linear one, or a layer norm. */
export type Layers = (name: string, x: Tensor) => Tensor;

/** [B, H D] to [B, H, D]. */
const inHeads = (x: Tensor, heads: number): Tensor => x.reshape(x.shape[0], heads, x.shape[1] / heads);

/** What a query [B, H, K] reads from a state [B, H, K, V]: [B, H V]. */
export function readState(state: Tensor, query: Tensor): Tensor {
  return query.unsqueeze(2).matmul(state).flatten(1);
}

/**
 * dS = k (x) u for a state S [B, H, K, V], null where there is none yet, with u from the values.
 *
 * The paper: k = softmax(k), beta = sigmoid(beta) and for Hebb u = beta v, for Oja k - S v in place of k and u = beta v, for
 * the delta rule u = beta (v - S^T k), or beta tanh(v - S^T k) with postTanh. Values are tanh(v), but v itself in Hebb's rule
 * of 'cde1' and 'cde2'. The code: Oja's softmax comes after the subtraction, and then the strength; Hebb's rule of 'cde1'
 * and 'cde2' multiplies by the strength before its sigmoid; that of 'dxOnly' subtracts like the delta rule.
 */
export function slopeOf(
  { learningRule, postTanh, as }: RuleSettings,
  family: FieldFamily,
  { k, v, beta }: Written,
  state: Tensor | null,
): Tensor {
  const strength = beta.sigmoid();
  const outer = (key: Tensor, value: Tensor): Tensor => key.unsqueeze(3).mul(value.unsqueeze(2));
  const asCode = as === 'code';
  if (learningRule === 'oja') {
    const value = v.tanh();
    const removed = state && state.matmul(value.unsqueeze(3)).squeeze(3);
    const minus = (key: Tensor): Tensor => (removed ? key.sub(removed) : key);
    return outer((asCode ? minus(k).softmax(-1) : minus(k.softmax(-1))).mul(strength), value);
  }
  const key = k.softmax(-1);
  const fromSlope = family === 'cde1' || family === 'cde2';
  if (learningRule === 'hebb' && fromSlope) return outer(key, v.mul(asCode ? beta : strength));
  const subtracts = learningRule === 'delta' || (asCode && family === 'dxOnly');
  const after = learningRule === 'delta' && postTanh;
  const value = after ? v : v.tanh();
  const error = subtracts && state ? value.sub(key.unsqueeze(2).matmul(state).squeeze(2)) : value;
  return outer(key, (after ? error.tanh() : error).mul(strength));
}

/** The layer that gives the values where it is not the one of the keys. */
export function valueLayer({ family, learningRule }: FieldSettings): 'dx_dt_proj' | 'vs_proj' {
  const fromSlope = family === 'cde1' || (family === 'dxOnly' && learningRule === 'oja');
  return fromSlope ? 'dx_dt_proj' : 'vs_proj';
}

/** The names and shapes of a field's weights in the published programs; C channels, D = H heads of equal width. */
export function fieldWeights(settings: FieldSettings): Shapes {
  const linear = (name: string, shape: string): Record<string, string> => ({
    [`${name}.weight`]: shape,
    [`${name}.bias`]: shape.split(' ')[0],
  });
  const norm = (name: string): Record<string, string> => ({ [`${name}.weight`]: 'D', [`${name}.bias`]: 'D' });
  const { family, valueLayerNorm } = settings;
  const common = { ...linear('input_proj', 'D C'), ...norm('input_layer_norm') };
  if (family === 'ode') return { ...common, ...linear('kvb_net', '2D+H D') };
  return {
    ...common,
    ...linear(valueLayer(settings), 'D C'),
    ...(valueLayerNorm && { ...norm('v_layer_norm'), ...linear('v_net', 'D D') }),
    ...linear('kb_net', 'D+H D'),
  };
}

/** The field at the control x and its slope dx [B, C], each where the family has it, and the state. */
export function learningField(
  settings: FieldSettings,
  layers: Layers,
  x: Tensor,
  dx: Tensor,
  state: Tensor | null,
): Tensor {
  const { family, heads, valueLayerNorm } = settings;
  const keyInput = family === 'ode' || family === 'cde1' ? x : dx;
  const hidden = layers('input_layer_norm', layers('input_proj', keyInput));
  if (family === 'ode') return slopeOf(settings, family, splitWritten(layers('kvb_net', hidden), heads), state);
  const parts = inHeads(layers('kb_net', hidden), heads);
  const [k, beta] = split(parts, [parts.shape[2] - 1, 1], 2);
  const first = layers(valueLayer(settings), family === 'cde2' ? x : dx);
  const v = inHeads(valueLayerNorm ? layers('v_net', layers('v_layer_norm', first)) : first, heads);
  return slopeOf(settings, family, { k, v, beta }, state);
}

/** [B, H (2 D + 1)] to its keys, values and strengths. */
export function splitWritten(projected: Tensor, heads: number): Written {
  const parts = inHeads(projected, heads);
  const D = (parts.shape[2] - 1) / 2;
  const [k, v, beta] = split(parts, [D, D, 1], 2);
  return { k, v, beta };
}

/** The query [B, H, K] of a layer over the norm of the field's own projection. */
export function queryOf(layers: Layers, input: Tensor, heads: number, net = 'query_net'): Tensor {
  const hidden = layers('input_layer_norm', layers('input_proj', input));
  return inHeads(layers(net, hidden), heads).softmax(-1);
}
