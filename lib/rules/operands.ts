// The arguments of a rule: what they are called, which shapes they may have, and how kernels take them.
import { argumentError, FastWeightsError, formatShape, type Tensor } from '../core';
import { checkAlike, checkFloat, checkValues, type CuSeqlens, type FeatureMapOptions, isNarrow } from '../ops';

/** Tensors of the general recurrence (spec 4.1); [B, T, ...] in a sequence, [B, ...] in one step. */
export interface RecurrenceInputs {
  /** [B, T, H, K] */
  q: Tensor;
  /** [B, T, H, K] */
  k: Tensor;
  /** [B, T, HV, V] with HV a multiple of H. */
  v: Tensor;
  /** Log of the decay along keys: [B, T, HV] or [B, T, HV, K] (H heads are allowed, too). */
  gate?: Tensor | null;
  /** Log of the decay along values [B, T, HV, V]; keys and values then change places (Oja's rule, spec 2.13.13). */
  valueGate?: Tensor | null;
  /** Strength of the write: [B, T, HV] or [B, T, HV, V]; 1 by default. */
  beta?: Tensor | null;
  /** Key of what is erased [B, T, H, K]; k by default. */
  eraseKey?: Tensor | null;
  /** Key of what is written [B, T, H, K]; k by default. */
  writeKey?: Tensor | null;
  /** With read 'before': weight of the present token [H, K]. */
  bonus?: Tensor | null;
}

/** Options that every rule shares. */
export interface CommonOptions extends FeatureMapOptions {
  /** Multiplies the output; K ** -0.5 by default, K being the width of the mapped key. */
  scale?: number | null;
  /** [N, HV, K, V] float32; zeros by default. */
  initialState?: Tensor | null;
  /** Also return the state after the last token. */
  outputFinalState?: boolean;
  /** Packed sequences: B = 1 and N + 1 offsets. */
  cuSeqlens?: CuSeqlens | null;
  /** 'chunk' is the parallel form for training, 'recurrent' the plain token loop; 'auto' picks. */
  mode?: 'auto' | 'chunk' | 'recurrent';
  /** Tokens between the states kept for the backward pass; 64 by default. */
  chunkSize?: 16 | 32 | 64;
  /** Divide q and k by sqrt(sum x^2 + 1e-6) first. */
  qkL2Norm?: boolean;
}

/** What kind of recurrence it is. */
export interface RecurrenceKind {
  /** Where the erased part is read: 'none' by default. */
  eraseFrom?: 'none' | 'decayed' | 'undecayed';
  /** The bracketed write erases only, and k v^T is added beside it (DPLR, spec 2.14 g). */
  secondWrite?: boolean;
  /** Whether the output reads the state after the token was written (default) or before. */
  read?: 'after' | 'before';
}

/** What a rule returns: output [B, T, HV, V]; finalState [N, HV, K, V] float32 when asked for. */
export interface RuleResult {
  output: Tensor;
  finalState?: Tensor;
}

/** Sizes that the operands agree on. */
export interface Sizes {
  /** Leading dimensions: [B, T], or [B] in a step. */
  lead: readonly number[];
  /** Key heads and state heads. */
  H: number;
  HV: number;
  K: number;
  V: number;
}

const bare = (x: number): boolean => !Number.isNaN(x);
const nonPositive = (x: number): boolean => x <= 0;

/** Checks every operand against q and v and returns the sizes. `lead` is 2 in a sequence, 1 in a step. */
export function checkOperands(where: string, inputs: RecurrenceInputs, kind: RecurrenceKind, lead: 1 | 2): Sizes {
  const { q, k, v } = inputs;
  const time = lead === 2 ? 'batch, time' : 'batch';
  const names = lead === 2 ? 'B, T' : 'B';
  for (const [name, t] of [
    ['q', q],
    ['k', k],
    ['v', v],
  ] as const) {
    checkFloat(where, name, t);
    checkAlike(where, name, t, q, 'q');
    if (t.ndim !== lead + 2) {
      throw argumentError('SHAPE', where, name, `[${names}, heads, width]`, formatShape(t.shape));
    }
  }
  const [H, K] = q.shape.slice(lead);
  const [HV, V] = v.shape.slice(lead);
  const front = q.shape.slice(0, lead);
  const expect = (name: string, t: Tensor, shapes: number[][], meaning: string): void => {
    checkFloat(where, name, t);
    checkAlike(where, name, t, q, 'q');
    const options = shapes.map((s) => [...front, ...s]);
    if (!options.some((s) => s.length === t.ndim && s.every((d, i) => d === t.shape[i]))) {
      const list = options.map(formatShape).join(' or ');
      throw argumentError('SHAPE', where, name, `${list} (${time}, ${meaning})`, formatShape(t.shape));
    }
  };
  expect('k', k, [[H, K]], 'heads, key width like q');
  if (H === 0 || HV % H !== 0 || v.shape.some((d, i) => i < lead && d !== front[i])) {
    throw argumentError(
      'SHAPE',
      where,
      'v',
      `[${front.join(', ')}, a multiple of ${H}, V] (${time}, value heads, value width)`,
      formatShape(v.shape),
    );
  }
  const heads = H === HV ? [HV] : [HV, H];
  if (inputs.gate)
    expect(
      'gate',
      inputs.gate,
      heads.flatMap((h) => [[h], [h, K]]),
      'heads, key width for one gate per channel',
    );
  if (inputs.valueGate) expect('valueGate', inputs.valueGate, [[HV, V]], 'heads, value width');
  if (inputs.beta) expect('beta', inputs.beta, [[HV], [HV, V]], 'heads');
  if (inputs.eraseKey)
    expect(
      'eraseKey',
      inputs.eraseKey,
      heads.map((h) => [h, K]),
      'heads, key width',
    );
  if (inputs.writeKey)
    expect(
      'writeKey',
      inputs.writeKey,
      heads.map((h) => [h, K]),
      'heads, key width',
    );
  if (inputs.bonus) {
    checkFloat(where, 'bonus', inputs.bonus);
    checkAlike(where, 'bonus', inputs.bonus, q, 'q');
    if (inputs.bonus.ndim !== 2 || inputs.bonus.shape[0] !== H || inputs.bonus.shape[1] !== K) {
      throw argumentError('SHAPE', where, 'bonus', `[${H}, ${K}] (heads, key width)`, formatShape(inputs.bonus.shape));
    }
  }
  checkKind(where, inputs, kind);
  for (const name of ['gate', 'valueGate'] as const) {
    const t = inputs[name];
    if (t) checkValues(where, name, t, '<= 0 (it is a logarithm)', nonPositive);
  }
  for (const name of ['q', 'k', 'v', 'beta', 'eraseKey', 'writeKey'] as const) {
    const t = inputs[name];
    if (t) checkValues(where, name, t, 'free of NaN', bare);
  }
  return { lead: front, H, HV, K, V };
}

/** Combinations that no recurrence has. */
function checkKind(where: string, inputs: RecurrenceInputs, kind: RecurrenceKind): void {
  const clash = (argument: string, reason: string): never => {
    throw new FastWeightsError('INVALID_ARGUMENT', `${where}: ${argument} ${reason}`, { argument });
  };
  if (inputs.bonus && kind.read !== 'before') clash('bonus', "needs read: 'before'");
  if (inputs.eraseKey && (kind.eraseFrom ?? 'none') === 'none')
    clash('eraseKey', "needs eraseFrom 'decayed' or 'undecayed'");
  if (kind.secondWrite && (kind.eraseFrom ?? 'none') === 'none')
    clash('secondWrite', "needs eraseFrom 'decayed' or 'undecayed'");
  if (!inputs.valueGate) return;
  for (const name of ['gate', 'eraseKey', 'writeKey', 'bonus'] as const) {
    if (inputs[name]) clash('valueGate', `does not go with ${name}`);
  }
  if (kind.secondWrite || kind.read === 'before') clash('valueGate', 'does not go with secondWrite or read before');
}

/** Widens bfloat16 operands where the device computes in float32. */
export function widenInputs(inputs: RecurrenceInputs): RecurrenceInputs {
  if (!isNarrow(inputs.q)) return inputs;
  const wide = Object.entries(inputs).map(([name, t]: [string, Tensor | null | undefined]) => [
    name,
    t?.dtype === 'bfloat16' ? t.to('float32') : t,
  ]);
  return Object.fromEntries(wide) as RecurrenceInputs;
}
