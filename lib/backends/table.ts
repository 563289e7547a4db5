// The kernel table: the name and the arguments of every kernel, once, for all devices. A backend is a total map
// from these names to functions, so a kernel that a device lacks does not compile. `native/kernels.h` states the
// same fields in the same order; the loader compares the two.
import type { Tensor } from '../core';

/**
 * Kinds of arguments.
 * `in`, `out`, `inout`: a contiguous buffer that is read, written, or both. `heads`: a strided operand
 * [tokens, heads, width] whose last dimension is contiguous, taken from a tensor [B, T, H, D], [B, T, H], or for one
 * step [B, H, D], [B, H]. A question mark allows null. `list`, `inoutList`: any number of contiguous buffers (MAX_LIST
 * at most) that are read, or read and written. `dims`: up to 8 numbers. `int`, `float`: numbers. Every buffer crosses to
 * a native device with the number of elements it reaches over.
 */
export type FieldKind =
  | 'in'
  | 'in?'
  | 'out'
  | 'out?'
  | 'inout'
  | 'inout?'
  | 'heads'
  | 'heads?'
  | 'list'
  | 'inoutList'
  | 'dims'
  | 'int'
  | 'float';

export const MAX_DIMS = 8;
export const MAX_LIST = 512;

/**
 * How matrix products of float32 multiply: as they are, or rounded to bfloat16 on devices that are faster so. Sums are
 * float32 either way. A card rounds all products, so that a row never depends on how many there are; a processor rounds
 * none of 96 rows or fewer and none in batches.
 */
export const MATMUL_PRECISIONS = ['highest', 'medium'] as const;
export type MatmulPrecision = (typeof MATMUL_PRECISIONS)[number];

export const UNARY_OPS = [
  'affine', // a x + b
  'exp',
  'log',
  'sqrt',
  'rsqrt',
  'reciprocal',
  'abs',
  'square',
  'sin',
  'cos',
  'tanh',
  'sigmoid',
  'logSigmoid',
  'silu',
  'gelu',
  'geluTanh',
  'softplus',
  'relu',
  'elu1', // x + 1 for x > 0, else exp(x)
  'pow', // x^a
  'clamp', // to [a, b]
  'log1p',
  'expm1',
  'erf',
  'floor',
  'ceil',
  'round', // halves to even
  'trunc', // towards zero
  'sign',
] as const;
export type UnaryOp = (typeof UNARY_OPS)[number];

/** Of int32 add, sub, mul and pow wrap, floorDivide and remainder by 0 are 0, and there is no div and no atan2. */
export const BINARY_OPS = [
  'add',
  'sub',
  'mul',
  'div',
  'pow',
  'maximum',
  'minimum',
  'floorDivide', // floor(a / b)
  'remainder', // a - b floor(a / b), of the sign of b
  'atan2', // the angle of (b, a)
] as const;
export type BinaryOp = (typeof BINARY_OPS)[number];

/** Nothing is equal to NaN, less or greater. */
export const COMPARE_OPS = ['eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const;
export type CompareOp = (typeof COMPARE_OPS)[number];

export const REDUCE_OPS = ['sum', 'mean', 'max', 'min', 'prod'] as const;
export type ReduceOp = (typeof REDUCE_OPS)[number];

export const SCAN_OPS = [
  'linear', // y_i = factor_i y_{i-1} + x_i; reversed its transpose, y_i = factor_{i+1} y_{i+1} + x_i
  'logsumexp', // of x up to i
] as const;
export type ScanOp = (typeof SCAN_OPS)[number];

export const NORM_KINDS = ['layer', 'rms', 'l2', 'sum'] as const;
export type NormKind = (typeof NORM_KINDS)[number];

export const ACTIVATIONS = ['none', 'silu'] as const;

/** How the weights of a quantised projection are stored. */
export const WEIGHT_FORMATS = ['bfloat16', 'int8'] as const;
export type WeightFormat = (typeof WEIGHT_FORMATS)[number];

/** Where the erased part is read: nowhere, from the decayed state, or from the state before its decay. */
export const ERASE_FROM = ['none', 'decayed', 'undecayed'] as const;

/** What the cells of Delta RNN and Delta LSTM make of their memories, by version (spec 2.4.1, 2.4.2). */
export const DELTA_CELLS = ['rnn1', 'rnn2', 'lstm1', 'lstm2', 'lstm3', 'lstm4'] as const;

/** Inputs shared by the recurrence and its backward pass; see the comment at `recurrence` in the table. */
const recurrenceInputs = {
  q: 'heads',
  k: 'heads',
  v: 'heads',
  gate: 'heads?',
  beta: 'heads?',
  eraseKey: 'heads?',
  writeKey: 'heads?',
  bonus: 'in?',
  max: 'in?',
  initialState: 'in?',
  offsets: 'in?',
} as const;

/** What kind of recurrence it is. */
const recurrenceShape = {
  sequences: 'int',
  tokens: 'int',
  heads: 'int',
  keyDim: 'int',
  valueDim: 'int',
  scale: 'float',
  eps: 'float',
  gateWidth: 'int',
  betaWidth: 'int',
  eraseFrom: 'int',
  secondWrite: 'int',
  readBefore: 'int',
  exchanged: 'int',
  recurrent: 'int',
  checkpointEvery: 'int',
} as const;

const gatesShape = { sequences: 'int', tokens: 'int', heads: 'int', logSigmoid: 'int' } as const;

const cellShape = { sequences: 'int', tokens: 'int', heads: 'int', width: 'int' } as const;

export const KERNELS = {
  /** y[n] = value */
  fill: { y: 'out', n: 'int', value: 'float', dtype: 'int' },
  /** y[n] = x[n] in another dtype, of bool whether it is not 0; `from` and `to` are dtype codes. */
  cast: { x: 'in', y: 'out', n: 'int', from: 'int', to: 'int' },
  /** y[i . yStrides] = x[i . xStrides] for every index i of shape; elements of `bytes` bytes. */
  copy: { x: 'in', y: 'out', shape: 'dims', xStrides: 'dims', yStrides: 'dims', bytes: 'int' },
  /** y[n] = op(x[n]; a, b) */
  unary: { x: 'in', y: 'out', n: 'int', op: 'int', a: 'float', b: 'float' },
  /** dx[n] = dy[n] op'(x[n]; a, b), where y = op(x) is given too */
  unaryBackward: { x: 'in', y: 'in', dy: 'in', dx: 'out', n: 'int', op: 'int', a: 'float', b: 'float' },
  /** y = a op b over shape; y contiguous, a and b strided (0 repeats). */
  binary: { a: 'in', b: 'in', y: 'out', shape: 'dims', aStrides: 'dims', bStrides: 'dims', op: 'int', dtype: 'int' },
  /** y (bool) = a op b over shape; y contiguous, a and b, of the dtype with that code, strided (0 repeats). */
  compare: { a: 'in', b: 'in', y: 'out', shape: 'dims', aStrides: 'dims', bStrides: 'dims', op: 'int', dtype: 'int' },
  /** y = condition (bool) ? a : b over shape; y contiguous, the others strided; elements of `bytes` bytes. */
  where: {
    condition: 'in',
    a: 'in',
    b: 'in',
    y: 'out',
    shape: 'dims',
    conditionStrides: 'dims',
    aStrides: 'dims',
    bStrides: 'dims',
    bytes: 'int',
  },
  /**
   * y[i] = x[i . xStrides + step * index[i . indexStrides]] for every i of shape, y contiguous; an index (int32) is from 0
   * to limit - 1, and all elements of the tensor `index` are in use. Elements of `bytes` bytes.
   */
  gather: {
    x: 'in',
    index: 'in',
    y: 'out',
    shape: 'dims',
    xStrides: 'dims',
    indexStrides: 'dims',
    step: 'int',
    limit: 'int',
    bytes: 'int',
  },
  /**
   * y[i . yStrides + step * index[i . indexStrides]] += x[i . xStrides], one after the other along the last dimension of
   * shape; what differs in another dimension reaches other elements of y. Of int32 sums wrap.
   */
  scatterAdd: {
    x: 'in',
    index: 'in',
    y: 'inout',
    shape: 'dims',
    xStrides: 'dims',
    indexStrides: 'dims',
    yStrides: 'dims',
    step: 'int',
    limit: 'int',
  },
  /** y[outer, n, inner] (int32) = the positions along n that sort x: equal ones keep their order, NaN is the largest. */
  argsort: { x: 'in', y: 'out', outer: 'int', n: 'int', inner: 'int', descending: 'int' },
  /** y[outer, inner] = op over n of x[outer, n, inner]; of int32 sums and products wrap, and there is no mean. */
  reduce: { x: 'in', y: 'out', outer: 'int', n: 'int', inner: 'int', op: 'int' },
  /** y[outer, inner] (int32) = first position of the largest of x[outer, n, inner] */
  argmax: { x: 'in', y: 'out', outer: 'int', n: 'int', inner: 'int' },
  /** Running sum along n of x[outer, n, inner], from the end when reverse; of int32 it wraps. */
  cumsum: { x: 'in', y: 'out', outer: 'int', n: 'int', inner: 'int', reverse: 'int' },
  /** Running folds along n of x[outer, n, inner], from the end when reverse; see SCAN_OPS. No `factor` of logsumexp. */
  scan: { x: 'in', factor: 'in?', y: 'out', outer: 'int', n: 'int', inner: 'int', reverse: 'int', op: 'int' },
  /** Softmax, or its logarithm, of each row of x[rows, n]. */
  softmax: { x: 'in', y: 'out', rows: 'int', n: 'int', log: 'int' },
  softmaxBackward: { y: 'in', dy: 'in', dx: 'out', rows: 'int', n: 'int', log: 'int' },
  /**
   * Normalises rows of x[rows, n]; row r uses weight and bias [groups, n] at r mod groups. stats[rows, 2] = mean and
   * reciprocal deviation. `rms`: 1/sqrt(mean x^2 + eps); `l2`: 1/sqrt(sum x^2 + eps); `layer`: mean removed; `sum`:
   * 1/(sum x + eps), no mean.
   */
  norm: {
    x: 'in',
    weight: 'in?',
    bias: 'in?',
    y: 'out',
    stats: 'out',
    rows: 'int',
    n: 'int',
    groups: 'int',
    kind: 'int',
    eps: 'float',
  },
  /** Gradients from dy and what the norm kept; added to dx when accumulate. */
  normBackward: {
    x: 'in',
    weight: 'in?',
    stats: 'in',
    dy: 'in',
    dx: 'inout',
    dweight: 'out?',
    dbias: 'out?',
    rows: 'int',
    n: 'int',
    groups: 'int',
    kind: 'int',
    accumulate: 'int',
  },
  /** y[rows, d] = weight[indices[rows], d] */
  embedding: { weight: 'in', indices: 'in', y: 'out', rows: 'int', d: 'int', vocabulary: 'int' },
  /** dweight[vocabulary, d] = sum of dy[rows, d] by index, in row order */
  embeddingBackward: { indices: 'in', dy: 'in', dweight: 'out', rows: 'int', d: 'int', vocabulary: 'int' },
  /**
   * Causal depthwise convolution over time, x and y [sequences * tokens, d], weight [d, width] whose last column is
   * the present token, states [sequences, d, width - 1] oldest first. offsets [sequences + 1] (int32) when packed;
   * then `tokens` counts all of them.
   */
  shortConv: {
    x: 'heads',
    weight: 'in',
    bias: 'in?',
    initialState: 'in?',
    offsets: 'in?',
    y: 'out',
    finalState: 'out?',
    sequences: 'int',
    tokens: 'int',
    d: 'int',
    width: 'int',
    activation: 'int',
  },
  shortConvBackward: {
    x: 'heads',
    weight: 'in',
    bias: 'in?',
    initialState: 'in?',
    offsets: 'in?',
    dy: 'in',
    dfinalState: 'in?',
    dx: 'out',
    dweight: 'out',
    dbias: 'out?',
    dinitialState: 'out?',
    sequences: 'int',
    tokens: 'int',
    d: 'int',
    width: 'int',
    activation: 'int',
  },
  /** One token: x and y [batch, d]; the state [batch, d, width - 1] moves on by one. */
  shortConvStep: {
    x: 'in',
    weight: 'in',
    bias: 'in?',
    state: 'inout',
    y: 'out',
    batch: 'int',
    d: 'int',
    width: 'int',
    activation: 'int',
  },
  /**
   * c[i, j, m, n] = alpha sum_k a[i, j, m, k] b[i, j, k, n] (added to c when accumulate), over two batch dimensions.
   * The dims of each operand are its strides [batch1, batch2, row, column]. `precision`: see MATMUL_PRECISIONS.
   */
  matmul: {
    a: 'in',
    b: 'in',
    c: 'inout',
    batch1: 'int',
    batch2: 'int',
    m: 'int',
    n: 'int',
    k: 'int',
    aStrides: 'dims',
    bStrides: 'dims',
    cStrides: 'dims',
    alpha: 'float',
    accumulate: 'int',
    precision: 'int',
  },
  /**
   * y = activation(x W^T + bias) + residual for x [rows, k], W [n, k], bias [n]; preactivation receives x W^T + bias.
   * `activation`: 0 none, 1 silu.
   */
  linear: {
    x: 'in',
    weight: 'in',
    bias: 'in?',
    residual: 'in?',
    y: 'out',
    preactivation: 'out?',
    rows: 'int',
    n: 'int',
    k: 'int',
    activation: 'int',
    precision: 'int',
  },
  /**
   * y = activation(scale (x W^T) + bias) + residual for x [rows, k], W [n, k] stored as `format` says and scale [n], 1 where
   * it is null; no gradients. weight int32 [ceil(n / 64), k, words]: panels of 64 outputs, zeros beyond n. Column c of a
   * panel stands, of 16 words in `int8`, in byte floor(c / 16) of word c mod 16, and of 32 words in `bfloat16` in half
   * floor(c / 16) mod 2 of word 16 floor(c / 32) + c mod 16, the lowest first. Products and sums are float32, or float64
   * where x is, on every precision.
   */
  quantizedLinear: {
    x: 'in',
    weight: 'in',
    scale: 'in?',
    bias: 'in?',
    residual: 'in?',
    y: 'out',
    rows: 'int',
    n: 'int',
    k: 'int',
    activation: 'int',
    format: 'int',
  },
  /**
   * y = (silu(x Wg^T) * x Wu^T) Wd^T + residual for x [rows, d], Wg, Wu [hidden, d], Wd [d, hidden]. gate and up, both or
   * neither, receive x Wg^T and x Wu^T [rows, hidden].
   */
  feedForward: {
    x: 'in',
    gateWeight: 'in',
    upWeight: 'in',
    downWeight: 'in',
    residual: 'in?',
    y: 'out',
    gate: 'out?',
    up: 'out?',
    rows: 'int',
    d: 'int',
    hidden: 'int',
    precision: 'int',
  },
  /**
   * From dy: dgate, dup, dx = dgate Wg + dup Wu (added to dx when accumulate), and activated = silu(gate) up, which with
   * dy, dgate, dup and x gives the gradients of the weights as matrix products.
   */
  feedForwardBackward: {
    gateWeight: 'in',
    upWeight: 'in',
    downWeight: 'in',
    gate: 'in',
    up: 'in',
    dy: 'in',
    activated: 'out',
    dgate: 'out',
    dup: 'out',
    dx: 'inout?',
    rows: 'int',
    d: 'int',
    hidden: 'int',
    accumulate: 'int',
    precision: 'int',
  },
  /** Philox4x32-10 with key = seed and counter = (block, stream): kind 0 uniform in [a, b), 1 normal(mean a, deviation b), 2 int32 from a to b - 1. */
  random: { y: 'out', n: 'int', kind: 'int', seedLow: 'int', seedHigh: 'int', stream: 'int', a: 'float', b: 'float' },
  /** y = x / (1 - p) where the stream's uniform is >= p, else 0; its own backward pass. */
  dropout: { x: 'in', y: 'out', n: 'int', p: 'float', seedLow: 'int', seedHigh: 'int', stream: 'int' },
  /**
   * Cross entropy of each row of logits[rows, n] with target[rows] (int32): loss[rows] = lse - (1 - s) z_target - s mean(z)
   * + zLoss lse^2, z = cap tanh(logits / cap) when softcap > 0; 0 where target is ignoreIndex. lse[rows] is kept.
   */
  crossEntropy: {
    logits: 'in',
    target: 'in',
    loss: 'out',
    lse: 'out',
    rows: 'int',
    n: 'int',
    ignoreIndex: 'int',
    smoothing: 'float',
    zLoss: 'float',
    softcap: 'float',
  },
  crossEntropyBackward: {
    logits: 'in',
    target: 'in',
    lse: 'in',
    dloss: 'in',
    dlogits: 'out',
    rows: 'int',
    n: 'int',
    ignoreIndex: 'int',
    smoothing: 'float',
    zLoss: 'float',
    softcap: 'float',
  },
  /**
   * Rotary positions: x and y [tokens, heads, width], the first 2 * pairs coordinates turned by
   * positions[tokens] (int32) * frequencies[pairs]; pairs are (i, i + pairs), or (2i, 2i + 1) when interleaved.
   */
  rope: {
    x: 'in',
    y: 'out',
    positions: 'in',
    frequencies: 'in',
    tokens: 'int',
    heads: 'int',
    width: 'int',
    pairs: 'int',
    interleaved: 'int',
    inverse: 'int',
  },
  /**
   * Causal softmax attention. q, y [sequences * tokens, heads, *], k, v [sequences * keys, keyHeads, *]; query t of a
   * sequence sees keys up to t + keys - tokens, and only the last `window` of those when window > 0. Packed by
   * offsets (then keys = tokens counts all). lse [sequences * tokens, heads].
   */
  attention: {
    q: 'in',
    k: 'in',
    v: 'in',
    offsets: 'in?',
    y: 'out',
    lse: 'out',
    sequences: 'int',
    tokens: 'int',
    keys: 'int',
    heads: 'int',
    keyHeads: 'int',
    keyDim: 'int',
    valueDim: 'int',
    scale: 'float',
    window: 'int',
  },
  attentionBackward: {
    q: 'in',
    k: 'in',
    v: 'in',
    offsets: 'in?',
    y: 'in',
    lse: 'in',
    dy: 'in',
    dq: 'out',
    dk: 'out',
    dv: 'out',
    sequences: 'int',
    tokens: 'int',
    keys: 'int',
    heads: 'int',
    keyHeads: 'int',
    keyDim: 'int',
    valueDim: 'int',
    scale: 'float',
    window: 'int',
  },
  /** One LSTM step: gates [rows, 4 d] before activation in the order i, f, g, o; cells and hidden [rows, d]. */
  lstmCell: { gates: 'in', cell: 'in', newCell: 'out', hidden: 'out', rows: 'int', d: 'int' },
  lstmCellBackward: {
    gates: 'in',
    cell: 'in',
    newCell: 'in',
    dhidden: 'in',
    dnewCell: 'in?',
    dgates: 'out',
    dcell: 'out',
    rows: 'int',
    d: 'int',
  },
  /**
   * Exponential gates kept in range by a running maximum m (spec 2.13.3), per sequence and head; l = forgetGate, or its log
   * sigmoid with `logSigmoid`:
   *   m_t = max(inputGate_t, l_t + m_{t-1})   gate_t = m_{t-1} - m_t + l_t   beta_t = e^(inputGate_t - m_t)
   * m_0 is initialMax [sequences, heads], 0 without it, finalMax [sequences, heads] the last m; an l of -Infinity lets nothing
   * through. Gates, beta and max (m) [all tokens, heads]; offsets as of the recurrence.
   */
  exponentialGates: {
    inputGate: 'in',
    forgetGate: 'in',
    initialMax: 'in?',
    offsets: 'in?',
    gate: 'out',
    beta: 'out',
    max: 'out',
    finalMax: 'out',
    ...gatesShape,
  },
  /**
   * Gradients of it where what m divides is multiplied by it again: gate and beta are functions of l, inputGate and initialMax
   * alone, and only dmax and dfinalMax go through the maximum, to the larger one.
   */
  exponentialGatesBackward: {
    inputGate: 'in',
    forgetGate: 'in',
    offsets: 'in?',
    beta: 'in',
    max: 'in',
    dgate: 'in',
    dbeta: 'in',
    dmax: 'in',
    dfinalMax: 'in',
    dinputGate: 'out',
    dforgetGate: 'out',
    dinitialMax: 'out?',
    ...gatesShape,
  },
  /**
   * The general recurrence (spec 4.1), per sequence and head, with state S [keyDim, valueDim]:
   *   S_t = D_t S_{t-1} + w_t (beta_t (u_t - (X_t S_{t-1})^T e_t))^T [+ k_t v_t^T]      o_t = scale S^T q_t
   * gate: log of D_t, width 1 or keyDim. beta: width 1 or valueDim. e, w default to k. secondWrite: u = 0 and + k v^T.
   * readBefore: o_t = scale (S_{t-1}^T q_t + (q_t . (bonus k_t)) v_t), bonus [heads, keyDim].
   * exchanged (Oja): `k` and `eraseKey` hold values, `v` holds keys, `gate` runs over values; the state is [values, keys]
   * and is read along its last dimension, o_t = scale S q_t. Operands with fewer heads serve heads / theirs
   * neighbouring heads each. offsets [sequences + 1] when packed; then `tokens` counts all.
   * output [all tokens, heads, valueDim (exchanged: keyDim)]; states: S at every checkpointEvery-th token of each
   * sequence, [sum over sequences of ceil(length / checkpointEvery), heads, keyDim, valueDim], for the backward pass;
   * written: w's partner beta (u - ...) [all tokens, heads, valueDim], likewise.
   * max m [all tokens, heads] (mLSTM, spec 2.13.3): the state stands for e^m_t S_t, and its last value is a normaliser, 1 in
   * every token, so that v and output have valueDim - 1. sums [all tokens, heads] are what is read of it, s_t, and
   * o_t = scale S_t^T q_t / (max(|s_t|, e^-m_t) + eps). Only of rules that erase nothing, write by one
   * strength per token at most and read afterwards, without a bonus.
   */
  recurrence: {
    ...recurrenceInputs,
    output: 'out',
    sums: 'out?',
    finalState: 'out?',
    states: 'out?',
    written: 'out?',
    ...recurrenceShape,
  },
  /**
   * Gradients per head of the state: dq, dk, ... [all tokens, heads, width]; dbonus [sequences, heads, keyDim]. Given
   * exactly where the operand is, except dinitialState. Without eraseKey and writeKey their gradients go into dk. With max,
   * output and sums are given, too; dmax [all tokens, heads] is what comes to m where e^m S and e^m beta do not change with it:
   * that of eps beside them.
   */
  recurrenceBackward: {
    ...recurrenceInputs,
    states: 'in',
    written: 'in',
    output: 'in?',
    sums: 'in?',
    doutput: 'in',
    dfinalState: 'in?',
    dq: 'out',
    dk: 'out',
    dv: 'out',
    dgate: 'out?',
    dbeta: 'out?',
    deraseKey: 'out?',
    dwriteKey: 'out?',
    dbonus: 'out?',
    dmax: 'out?',
    dinitialState: 'out?',
    ...recurrenceShape,
  },
  /** One token of the same recurrence for `sequences` states at once; the state changes in place. */
  recurrenceStep: {
    q: 'heads',
    k: 'heads',
    v: 'heads',
    gate: 'heads?',
    beta: 'heads?',
    eraseKey: 'heads?',
    writeKey: 'heads?',
    bonus: 'in?',
    state: 'inout',
    output: 'out',
    sequences: 'int',
    heads: 'int',
    keyDim: 'int',
    valueDim: 'int',
    scale: 'float',
    gateWidth: 'int',
    betaWidth: 'int',
    eraseFrom: 'int',
    secondWrite: 'int',
    readBefore: 'int',
    exchanged: 'int',
  },
  /**
   * The self-referential weight matrix (spec 2.5.1), per sequence and head, with state W [width, outputWidth + 2 width + 4]
   * whose columns are those of y, q, k and beta: all read from W_{t-1} with x_t (y with inputY_t where it is given), then
   *   W_t = W_{t-1} + softmax(k) (beta (W_{t-1}^T softmax(q) - W_{t-1}^T softmax(k)))^T, a sigmoid each for the four parts.
   * x, inputY [all tokens, heads, width], output [all tokens, heads, outputWidth], states [sequences, heads, width,
   * outputWidth + 2 width + 4]; offsets [sequences + 1] when packed, then `tokens` counts all. trace [all tokens, heads,
   * outputWidth + 4 width + 8], for the backward pass: softmax(k), softmax(q), beta, the difference in brackets.
   */
  selfReferential: {
    x: 'in',
    inputY: 'in?',
    initialState: 'in',
    offsets: 'in?',
    output: 'out',
    finalState: 'out',
    trace: 'out?',
    sequences: 'int',
    tokens: 'int',
    heads: 'int',
    width: 'int',
    outputWidth: 'int',
  },
  /** Its gradients; the states are found again by undoing the writes from the final one. */
  selfReferentialBackward: {
    x: 'in',
    inputY: 'in?',
    finalState: 'in',
    offsets: 'in?',
    trace: 'in',
    doutput: 'in',
    dfinalState: 'in?',
    dx: 'out',
    dinputY: 'out?',
    dinitialState: 'out',
    sequences: 'int',
    tokens: 'int',
    heads: 'int',
    width: 'int',
    outputWidth: 'int',
  },
  /**
   * The Recurrent Delta Net (spec 2.4.3), per sequence and head, with state W [width, width] and R [heads, width, 3 width + 1]:
   *   h = tanh(y_{t-1})   [v, k, q, b] = inputs_t + R^T h   W += softmax(k) (sigmoid(b) (v - W^T softmax(k)))^T   y = W^T softmax(q)
   * inputs [all tokens, heads, 3 width + 1], outputs [.., heads, width]; the state and y before the first token are given.
   * For the backward pass: hidden, the h of every token, and trace [all tokens, heads, 3 width + 1].
   */
  recurrentDelta: {
    inputs: 'in',
    recurrent: 'in',
    initialState: 'in',
    initialOutput: 'in',
    offsets: 'in?',
    output: 'out',
    finalState: 'out',
    finalOutput: 'out',
    hidden: 'out?',
    trace: 'out?',
    ...cellShape,
  },
  /** Its gradients, but for that of R: the product of hidden with dinputs. */
  recurrentDeltaBackward: {
    recurrent: 'in',
    finalState: 'in',
    offsets: 'in?',
    hidden: 'in',
    trace: 'in',
    doutput: 'in',
    dfinalState: 'in?',
    dfinalOutput: 'in',
    dinputs: 'out',
    dinitialState: 'out',
    dinitialOutput: 'out',
    ...cellShape,
  },
  /**
   * The recurrent part of Delta RNN and Delta LSTM (spec 2.4.1, 2.4.2), per sequence and head, with G = 1 or 3 states
   * R [width, width]: k = softmax(key), R += k (beta (v - R^T k))^T, p = z + R^T s, and a cell (DELTA_CELLS) makes the output
   * y of p and s of y. z, key, v [all tokens, heads, width] and beta [all tokens, heads] of each state: an LSTM's are those
   * of the input gate, the update and the output gate. States [sequences, heads, G, width, width], y and the cell of an LSTM
   * [.., heads, width]. trace [all tokens, heads, 3 width, of an LSTM 8 width].
   */
  deltaCell: {
    z: 'in',
    zUpdate: 'in?',
    zOut: 'in?',
    key: 'in',
    keyUpdate: 'in?',
    keyOut: 'in?',
    v: 'in',
    vUpdate: 'in?',
    vOut: 'in?',
    beta: 'in',
    betaUpdate: 'in?',
    betaOut: 'in?',
    initialState: 'in',
    initialOutput: 'in',
    initialCell: 'in?',
    offsets: 'in?',
    output: 'out',
    finalState: 'out',
    finalOutput: 'out',
    finalCell: 'out?',
    trace: 'out?',
    ...cellShape,
    cell: 'int',
  },
  deltaCellBackward: {
    key: 'in',
    keyUpdate: 'in?',
    keyOut: 'in?',
    beta: 'in',
    betaUpdate: 'in?',
    betaOut: 'in?',
    finalState: 'in',
    offsets: 'in?',
    output: 'in',
    trace: 'in',
    doutput: 'in',
    dfinalState: 'in?',
    dfinalOutput: 'in',
    dfinalCell: 'in?',
    dz: 'out',
    dzUpdate: 'out?',
    dzOut: 'out?',
    dkey: 'out',
    dkeyUpdate: 'out?',
    dkeyOut: 'out?',
    dv: 'out',
    dvUpdate: 'out?',
    dvOut: 'out?',
    dbeta: 'out',
    dbetaUpdate: 'out?',
    dbetaOut: 'out?',
    dinitialState: 'out',
    dinitialOutput: 'out',
    dinitialCell: 'out?',
    ...cellShape,
    cell: 'int',
  },
  /**
   * A matrix that learns at test time (spec 2.13.16, 2.13.17), per sequence and head, in chunks of `chunk` tokens, which divides
   * `tokens`, from gradients G at the weights before each chunk of the loss 1/2 |z - target|^2 at z = W^T k. With `momentum`
   *   S_t = eta_t S_{t-1} - theta_t k_t G_t^T      W_t = (1 - alpha_t) W_{t-1} + S_t      o_t = W_t^T q_t,
   * without it o_t = (W - scale_t sum over s <= t of theta_s k_s G_s^T)^T q_t, W that before the chunk, and after it what the last
   * token reads. q, k, target, output [sequences, tokens, heads, *], theta, scale, alpha, eta [sequences, tokens, heads], states
   * [sequences, heads, R, V], R = keyDim, with `bias` one more, whose input is 1. For the backward pass: states [sequences, chunks,
   * heads, 1 + momentum, R, V]. With a layer norm LN of normWeight and normBias [heads, V], without momentum and where K = V, the
   * loss is that of k + LN z, outputs are q_t + LN o_t, or with `addsRead` o_t + LN o_t, and `reads` are the o_t for the backward
   * pass.
   */
  linearLearner: {
    q: 'in',
    k: 'in',
    target: 'in',
    theta: 'in',
    scale: 'in?',
    alpha: 'in?',
    eta: 'in?',
    normWeight: 'in?',
    normBias: 'in?',
    initialState: 'in',
    initialMomentum: 'in?',
    output: 'out',
    finalState: 'out',
    finalMomentum: 'out?',
    states: 'out?',
    reads: 'out?',
    sequences: 'int',
    tokens: 'int',
    heads: 'int',
    keyDim: 'int',
    valueDim: 'int',
    chunk: 'int',
    bias: 'int',
    momentum: 'int',
    addsRead: 'int',
    eps: 'float',
  },
  /** Its gradients; those of the norm [sequences, heads, V] are each sequence's own. */
  linearLearnerBackward: {
    q: 'in',
    k: 'in',
    target: 'in',
    theta: 'in',
    scale: 'in?',
    alpha: 'in?',
    eta: 'in?',
    normWeight: 'in?',
    normBias: 'in?',
    states: 'in',
    reads: 'in?',
    doutput: 'in',
    dfinalState: 'in',
    dfinalMomentum: 'in?',
    dq: 'out',
    dk: 'out',
    dtarget: 'out',
    dtheta: 'out',
    dscale: 'out?',
    dalpha: 'out?',
    deta: 'out?',
    dnormWeight: 'out?',
    dnormBias: 'out?',
    dinitialState: 'out',
    dinitialMomentum: 'out?',
    sequences: 'int',
    tokens: 'int',
    heads: 'int',
    keyDim: 'int',
    valueDim: 'int',
    chunk: 'int',
    bias: 'int',
    momentum: 'int',
    addsRead: 'int',
    eps: 'float',
  },
  /**
   * Adam with decoupled (or, with coupled = 1, ordinary) weight decay; the corrections are those of the moments' bias. A
   * gradientScale of NaN changes nothing, so that a step whose gradients are not finite can be skipped on the device.
   */
  adam: {
    parameters: 'inoutList',
    gradients: 'list',
    means: 'inoutList',
    squares: 'inoutList',
    gradientScale: 'in?',
    learningRate: 'float',
    beta1: 'float',
    beta2: 'float',
    eps: 'float',
    weightDecay: 'float',
    coupled: 'int',
    correction1: 'float',
    correction2: 'float',
  },
  /** parameter -= learningRate (gradient + weightDecay parameter), through momentum buffers unless that list is empty;
   * a gradientScale of NaN changes nothing. */
  sgd: {
    parameters: 'inoutList',
    gradients: 'list',
    momentumBuffers: 'inoutList',
    gradientScale: 'in?',
    learningRate: 'float',
    momentum: 'float',
    nesterov: 'int',
    weightDecay: 'float',
  },
  /** y[0] = sum of squares of all x, in blocks of fixed size, so that the order never depends on threads. */
  sumSquares: { x: 'list', y: 'out' },
  /** y = silu(gate) * up */
  swiglu: { gate: 'in', up: 'in', y: 'out', n: 'int' },
  swigluBackward: { gate: 'in', up: 'in', dy: 'in', dgate: 'out', dup: 'out', n: 'int' },
} as const satisfies Record<string, Record<string, FieldKind>>;

export type KernelName = keyof typeof KERNELS;

type FieldValue<K> = K extends 'int' | 'float'
  ? number
  : K extends 'dims'
    ? readonly number[]
    : K extends 'list' | 'inoutList'
      ? readonly Tensor[]
      : K extends `${string}?`
        ? Tensor | null
        : Tensor;

export type KernelArguments<N extends KernelName> = {
  [F in keyof (typeof KERNELS)[N]]: FieldValue<(typeof KERNELS)[N][F]>;
};

/** What every device implements. */
export type KernelTable = { [N in KernelName]: (args: KernelArguments<N>) => void };
