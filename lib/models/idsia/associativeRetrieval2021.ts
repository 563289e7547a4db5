// The model of the synthetic retrieval tasks, whole: pairs are written into one fast matrix, then a key is looked up (Schlag,
// Irie, Schmidhuber 2021, section 6.1; ischlag/fast-weight-transformers, synthetic; spec 2.3.1, 3.2).
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkOptions,
  formatShape,
  type OptionNames,
  scoped,
  type Tensor,
} from '../../core';
import { noGrad } from '../../autograd';
import { Embedding, init, Linear, Module } from '../../nn';
import {
  cat,
  checkShape,
  checkTensor,
  embedding,
  featureMap,
  layerNorm,
  linear,
  oneHot,
  randn,
  TENSOR_OPTIONS,
  type TensorOptions,
  zeros,
} from '../../ops';
import { deltaRule, linearAttention, overTime } from '../../rules';

/** What a key is before it is used. */
const FEATURES = ['elu1', 'tanh', 'dpfp', 'favor'] as const;
/** sum: linear attention; fwm: removal and capped norm of Fast Weight Memory; ours: the delta rule on features of sum 1. */
const UPDATES = ['sum', 'fwm', 'ours'] as const;

/** Options of `associativeRetrieval2021`. */
export interface AssociativeRetrieval2021Options {
  /** 'elu1' by default. */
  featureMap?: (typeof FEATURES)[number];
  /** dpfp: how many rolled products. favor: how many random directions a model draws; `omega` says so itself. */
  nu?: number;
  /** favor: added to the exponentials, 0 by default. */
  featureEps?: number;
  /** How a pair is written: 'ours', the delta rule on features that sum to 1, by default. */
  updateRule?: (typeof UPDATES)[number];
}

const OPTIONS: OptionNames<AssociativeRetrieval2021Options> = {
  featureMap: true,
  nu: true,
  featureEps: true,
  updateRule: true,
};

/** Inputs of `associativeRetrieval2021`: pairs, queries, and the weights under the names of the published program. */
export interface AssociativeRetrieval2021Inputs {
  /** int32 [B, L] below S. */
  keys: Tensor;
  /** int32 [B, L], S to 2 S - 1. */
  values: Tensor;
  /** int32 [B, 1], or [B, Q] for Q queries, below S. */
  query: Tensor;
  /** [2 S, E], of which the rows of the values are of no use. */
  'embeddingK.weight': Tensor;
  /** [D, S + E], of the value in one-hot form in front of the embedded key. */
  'W_k.weight': Tensor;
  /** [D] */
  'W_k.bias': Tensor;
  /** [D, E] */
  'W_q.weight': Tensor;
  /** [D] */
  'W_q.bias': Tensor;
  /** [1, S + E], of the strength; the sum rule has none. */
  'W_b.weight'?: Tensor | null;
  /** [1] */
  'W_b.bias'?: Tensor | null;
  /** favor: directions [D, M]. */
  omega?: Tensor | null;
}

const WEIGHTS = ['embeddingK.weight', 'W_k.weight', 'W_k.bias', 'W_q.weight', 'W_q.bias'] as const;
const STRENGTH = ['W_b.weight', 'W_b.bias'] as const;
const INPUTS: OptionNames<AssociativeRetrieval2021Inputs> = {
  keys: true,
  values: true,
  query: true,
  'embeddingK.weight': true,
  'W_k.weight': true,
  'W_k.bias': true,
  'W_q.weight': true,
  'W_q.bias': true,
  'W_b.weight': true,
  'W_b.bias': true,
  omega: true,
};

const NAME = 'associativeRetrieval2021';

type Written = { k: Tensor; v: Tensor; beta: Tensor };

/** Fast Weight Memory's rule: the delta rule, and from the second pair on a state [B, K, V] of a norm of at most 1. */
function cappedState({ k, v, beta }: Written): Tensor {
  const [B, L] = k.shape;
  const from = (t: Tensor, first: number, end: number): Tensor => t.slice(1, first, end);
  const first = from(k, 0, 1)
    .transpose(1, 2)
    .matmul(from(v, 0, 1).mul(from(beta, 0, 1)));
  if (L < 2) return first;
  const tokens = { k: from(k, 1, L), v: from(v, 1, L), beta: from(beta, 1, L) };
  const { states } = overTime({ tokens, states: { state: first }, weights: {} }, (token, { state }) => {
    const read = token.k.unsqueeze(1).matmul(state).squeeze(1);
    const change = token.v.sub(read).mul(token.beta);
    const written = state.add(token.k.unsqueeze(2).mul(change.unsqueeze(1)));
    const norm = written.square().sum([1, 2], true).clamp(1).sqrt().reshape([B, 1, 1]);
    return { output: token.beta, states: { state: written.div(norm) } };
  });
  return states.state;
}

const sumOf = (t: Tensor): Tensor => t.sum(-1, true);

/** A head alone. */
const head = (t: Tensor): Tensor => t.unsqueeze(2);
const FINAL = { scale: 1, outputFinalState: true } as const;

/** What the queries [B, Q, K] read of all pairs [B, L, *] with their strengths [B, L, 1]: [B, Q, S]. */
const RETRIEVE: Record<(typeof UPDATES)[number], (q: Tensor, k: Tensor, v: Tensor, beta: Tensor | null) => Tensor> = {
  sum: (q, k, v) => {
    const state = linearAttention(head(k), head(k), head(v), FINAL).finalState.squeeze(1);
    return q.matmul(state).div(q.matmul(k.sum(1).unsqueeze(2)).add(1e-6));
  },
  fwm: (q, k, v, beta) => layerNorm(q.matmul(cappedState({ k, v, beta: beta! }))),
  ours: (q, k, v, beta) => {
    const keys = head(k.div(sumOf(k)));
    const state = deltaRule(keys, keys, head(v), { beta, ...FINAL }).finalState.squeeze(1);
    return q.div(sumOf(q).add(1e-6)).matmul(state);
  },
};

/** Requires int32 [B, n] beside other inputs. */
function checkIds(argument: string, t: Tensor, B: number, n: number | null): void {
  checkTensor(NAME, argument, t);
  if (t.dtype === 'int32' && t.ndim === 2 && t.shape[0] === B && (n ?? t.shape[1]) === t.shape[1] && t.shape[1] > 0)
    return;
  const expected = `int32 [${B}, ${n ?? 'one or more'}]`;
  throw argumentError('SHAPE', NAME, argument, expected, `${t.dtype} ${formatShape(t.shape)}`);
}

function run(inputs: AssociativeRetrieval2021Inputs, options: AssociativeRetrieval2021Options): Tensor {
  const updateRule = checkChoice(NAME, 'updateRule', options.updateRule ?? 'ours', UPDATES);
  const map = checkChoice(NAME, 'featureMap', options.featureMap ?? 'elu1', FEATURES);
  const { keys, values, query, omega } = inputs;
  for (const name of updateRule === 'sum' ? WEIGHTS : [...WEIGHTS, ...STRENGTH]) checkTensor(NAME, name, inputs[name]);
  const table = inputs['embeddingK.weight'];
  if (table.ndim !== 2 || table.shape[0] % 2 !== 0) {
    throw argumentError('SHAPE', NAME, 'embeddingK.weight', '[2 S, E]', formatShape(table.shape));
  }
  const [S, E] = [table.shape[0] / 2, table.shape[1]];
  const D = inputs['W_k.bias'].size;
  const shapes = { 'W_k.weight': [D, S + E], 'W_q.weight': [D, E], 'W_q.bias': [D] };
  for (const [name, shape] of Object.entries(shapes))
    checkShape(NAME, name, inputs[name as keyof typeof shapes], shape);
  checkTensor(NAME, 'keys', keys);
  const [B, L] = keys.shape;
  checkIds('keys', keys, B, null);
  checkIds('values', values, B, L);
  checkIds('query', query, B, null);
  if (map === 'favor') checkTensor(NAME, 'omega', omega);
  const mapped = {
    featureMap: map === 'tanh' ? 'identity' : map,
    ...(map === 'dpfp' && { nu: options.nu }),
    ...(map === 'favor' && { omega: omega!, featureEps: options.featureEps }),
  } as const;
  const phi = (t: Tensor): Tensor => featureMap(map === 'tanh' ? t.tanh() : t, mapped);
  const v = oneHot(values.sub(S), S).to(table.dtype);
  const pairs = cat([v, embedding(table, keys)], 2);
  const k = phi(linear(pairs, inputs['W_k.weight'], inputs['W_k.bias']));
  const q = phi(linear(embedding(table, query), inputs['W_q.weight'], inputs['W_q.bias']));
  const beta = updateRule === 'sum' ? null : linear(pairs, inputs['W_b.weight']!, inputs['W_b.bias']).sigmoid();
  return RETRIEVE[updateRule](q, k, v, beta);
}

/**
 * Writes L pairs of a key and a value and looks keys up: output [B, S] for one query, [B, Q, S] for more. Keys are
 * W_k [onehot(value); e_key], strengths the sigmoid of W_b [onehot(value); e_key], values one-hot, queries W_q e_query; the
 * sum rule divides by the sum of keys, with 1e-6, and the fwm rule's output goes through a layer norm without weights.
 */
export const associativeRetrieval2021 = scoped(
  (inputs: AssociativeRetrieval2021Inputs, options: AssociativeRetrieval2021Options = {}): { output: Tensor } => {
    checkOptions(NAME, inputs, INPUTS);
    checkOptions(NAME, options, OPTIONS);
    const output = run(inputs, options);
    return { output: output.shape[1] === 1 ? output.squeeze(1) : output };
  },
);

/** Sizes of the model, beside its options, place and dtype. */
export interface AssociativeRetrieval2021Sizes extends AssociativeRetrieval2021Options, TensorOptions {
  /** S: how many keys, and how many values there are. */
  numKeys: number;
  /** E: 2.2 S, rounded down, by default. */
  embeddingSize?: number;
  /** D, before the feature map: 64 by default. */
  keySize?: number;
}

const SIZES: OptionNames<AssociativeRetrieval2021Sizes> = {
  ...OPTIONS,
  ...TENSOR_OPTIONS,
  numKeys: true,
  embeddingSize: true,
  keySize: true,
};

/**
 * The parameters of `associativeRetrieval2021` under their published names, without those that the program makes and never
 * uses: the table N(0, 1), W_k and W_q uniform in +-1/sqrt(D). With 'favor', the directions are drawn at every call.
 */
export class AssociativeRetrieval2021 extends Module {
  /** Of keys, weight [2 S, E]. */
  embeddingK: Embedding;
  /** From the value and the embedded key, weight [D, S + E]. */
  W_k: Linear;
  /** From the embedded query, weight [D, E]. */
  W_q: Linear;
  /** Of the strength; the sum rule has none. */
  W_b: Linear | null;
  private readonly options: AssociativeRetrieval2021Options;

  constructor(sizes: AssociativeRetrieval2021Sizes) {
    const where = 'AssociativeRetrieval2021';
    super();
    checkOptions(where, sizes, SIZES);
    const { numKeys, keySize = 64, device, dtype, embeddingSize, ...options } = sizes;
    checkInteger(where, 'numKeys', numKeys, 1);
    checkInteger(where, 'keySize', keySize, 1);
    if (options.featureMap === 'favor') checkInteger(where, 'nu', options.nu, 1);
    const E = checkInteger(where, 'embeddingSize', embeddingSize ?? Math.floor(2.2 * numKeys), 1);
    this.embeddingK = new Embedding(2 * numKeys, E, { device, dtype });
    this.W_k = new Linear(numKeys + E, keySize, { device, dtype });
    this.W_q = new Linear(E, keySize, { device, dtype });
    this.W_b = options.updateRule === 'sum' ? null : new Linear(numKeys + E, 1, { device, dtype });
    for (const { weight } of [this.W_k, this.W_q]) init.uniform_(weight, -(keySize ** -0.5), keySize ** -0.5);
    this.options = options;
  }

  /** keys and values int32 [B, L], query int32 [B, Q]: [B, S] for one query, [B, Q, S] for more. */
  forward(keys: Tensor, values: Tensor, query: Tensor): Tensor {
    const omega = this.options.featureMap === 'favor' ? this.directions() : null;
    const weights = Object.fromEntries(this.namedParameters()) as unknown as AssociativeRetrieval2021Inputs;
    return associativeRetrieval2021({ ...weights, keys, values, query, omega }, this.options).output;
  }

  /** Directions [D, nu], orthogonal in groups of D, each as long as a fresh vector of N(0, I). */
  private directions(): Tensor {
    const { weight } = this.W_q;
    const [D, M] = [weight.shape[0], this.options.nu!];
    return noGrad(() => {
      const groups = Array.from({ length: Math.ceil(M / D) }, () => {
        const where = { device: weight.device, dtype: weight.dtype };
        const lengths = randn([D, D], where).square().sum(0, true).sqrt();
        return init.orthogonal_(zeros([D, D], where)).mul(lengths);
      });
      return cat(groups, 1).slice(1, 0, M);
    });
  }
}
