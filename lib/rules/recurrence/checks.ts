// Checks of a rule's operands: their shapes against those of q and v, and the combinations that a recurrence has.
import { argumentError, FastWeightsError, formatShape, type Tensor } from '../../core';
import { checkAlike, checkAlikeOrWider, checkFloat, checksValues, checkValues } from '../../ops';
import type { RecurrenceInputs, RecurrenceKind } from './operands';

/** Sizes that the operands agree on. */
export interface Sizes {
  /** Key heads and state heads. */
  H: number;
  HV: number;
  K: number;
  V: number;
}

/** What an operand beside q and v may look like: [lead, heads, width], or [lead, heads] where `scalar` says so. */
interface Form {
  heads: 'H' | 'HV' | 'HV or H';
  width: 'K' | 'V';
  scalar: boolean;
  meaning: string;
}

const FORMS = {
  k: { heads: 'H', width: 'K', scalar: false, meaning: 'heads, key width like q' },
  gate: { heads: 'HV or H', width: 'K', scalar: true, meaning: 'heads, key width for one gate per channel' },
  valueGate: { heads: 'HV', width: 'V', scalar: false, meaning: 'heads, value width' },
  beta: { heads: 'HV', width: 'V', scalar: true, meaning: 'heads, value width for one strength per channel' },
  eraseKey: { heads: 'HV or H', width: 'K', scalar: false, meaning: 'heads, key width' },
  writeKey: { heads: 'HV or H', width: 'K', scalar: false, meaning: 'heads, key width' },
} satisfies Record<string, Form>;

/** Where keys and values change places, strengths belong to the keys. */
const EXCHANGED_BETA: Form = { ...FORMS.beta, width: 'K', meaning: 'heads, key width for one strength per channel' };

/** Leading dimensions: [B, T] in a sequence, [B] in a step. */
type Lead = 1 | 2;

/**
 * Checks every operand against q and v and returns the sizes. It runs for every token of a generation: nothing is
 * allocated and no message built unless a check fails.
 */
export function checkOperands(
  where: string,
  inputs: RecurrenceInputs,
  kind: RecurrenceKind & { exchanged?: boolean },
  lead: Lead,
): Sizes {
  const { q, k, v, gate, valueGate, beta, eraseKey, writeKey, bonus } = inputs;
  checkPresent(where, 'q', q, q, lead);
  checkPresent(where, 'k', k, q, lead);
  checkPresent(where, 'v', v, q, lead);
  const sizes = { H: q.shape[lead], HV: v.shape[lead], K: q.shape[lead + 1], V: v.shape[lead + 1] };
  checkForm(where, 'k', k, q, sizes, lead);
  if (sizes.H === 0 || sizes.HV % sizes.H !== 0 || !sameLead(v, q, lead)) {
    const shape = `[${q.shape.slice(0, lead).join(', ')}, a multiple of ${sizes.H}, V]`;
    const meaning = `${leadMeaning(lead)}, value heads, value width`;
    throw argumentError('SHAPE', where, 'v', `${shape} (${meaning})`, formatShape(v.shape));
  }
  if (given(gate)) checkOptional(where, 'gate', gate, q, sizes, lead);
  if (given(valueGate)) checkOptional(where, 'valueGate', valueGate, q, sizes, lead);
  if (given(beta))
    checkOptional(where, 'beta', beta, q, sizes, lead, kind.exchanged || valueGate ? EXCHANGED_BETA : FORMS.beta);
  if (given(eraseKey)) checkOptional(where, 'eraseKey', eraseKey, q, sizes, lead);
  if (given(writeKey)) checkOptional(where, 'writeKey', writeKey, q, sizes, lead);
  if (given(bonus)) checkBonus(where, bonus, q, sizes);
  checkKind(where, inputs, kind);
  if (checksValues(q)) checkOperandValues(where, inputs);
  return sizes;
}

/** Requires floats of one dtype and device: dtypes do not mix, though gates may be float32 beside bfloat16. */
export function checkOneDtype(where: string, { q, k, v }: { q: Tensor; k: Tensor; v: Tensor }): void {
  checkFloat(where, 'q', q);
  checkFloat(where, 'k', k);
  checkAlike(where, 'k', k, q, 'q');
  checkFloat(where, 'v', v);
  checkAlike(where, 'v', v, q, 'q');
}

/** Only undefined and null mean that an operand is not there. */
function given<T>(t: T | null | undefined): t is T {
  return t !== undefined && t !== null;
}

function checkPresent(where: string, name: string, t: Tensor, q: Tensor, lead: Lead): void {
  checkFloat(where, name, t);
  checkAlikeOrWider(where, name, t, q, 'q');
  if (t.shape.length !== lead + 2) {
    const names = lead === 2 ? 'B, T' : 'B';
    throw argumentError('SHAPE', where, name, `[${names}, heads, width]`, formatShape(t.shape));
  }
}

function checkOptional(
  where: string,
  name: keyof typeof FORMS,
  t: Tensor,
  q: Tensor,
  sizes: Sizes,
  lead: Lead,
  form: Form = FORMS[name],
): void {
  checkFloat(where, name, t);
  checkAlikeOrWider(where, name, t, q, 'q');
  checkForm(where, name, t, q, sizes, lead, form);
}

function checkForm(
  where: string,
  name: keyof typeof FORMS,
  { shape }: Tensor,
  q: Tensor,
  sizes: Sizes,
  lead: Lead,
  form: Form = FORMS[name],
): void {
  const heads = shape[lead];
  const headsFit =
    heads === (form.heads === 'H' ? sizes.H : sizes.HV) || (form.heads === 'HV or H' && heads === sizes.H);
  const widthFits =
    shape.length === lead + 1 ? form.scalar : shape.length === lead + 2 && shape[lead + 1] === sizes[form.width];
  if (headsFit && widthFits && sameLead({ shape }, q, lead)) return;
  const allowed = shapesOf(form, q.shape.slice(0, lead), sizes).map(formatShape).join(' or ');
  throw argumentError('SHAPE', where, name, `${allowed} (${leadMeaning(lead)}, ${form.meaning})`, formatShape(shape));
}

function shapesOf({ heads, width, scalar }: Form, front: readonly number[], sizes: Sizes): number[][] {
  const { H, HV } = sizes;
  const counts = heads === 'H' ? [H] : heads === 'HV' || H === HV ? [HV] : [HV, H];
  return counts.flatMap((count) => {
    const wide = [...front, count, sizes[width]];
    return scalar ? [[...front, count], wide] : [wide];
  });
}

function sameLead(a: { shape: readonly number[] }, b: { shape: readonly number[] }, lead: Lead): boolean {
  return a.shape[0] === b.shape[0] && (lead === 1 || a.shape[1] === b.shape[1]);
}

function leadMeaning(lead: Lead): string {
  return lead === 2 ? 'batch, time' : 'batch';
}

function checkBonus(where: string, bonus: Tensor, q: Tensor, { H, K }: Sizes): void {
  checkFloat(where, 'bonus', bonus);
  checkAlikeOrWider(where, 'bonus', bonus, q, 'q');
  if (bonus.ndim !== 2 || bonus.shape[0] !== H || bonus.shape[1] !== K) {
    throw argumentError('SHAPE', where, 'bonus', `[${H}, ${K}] (heads, key width)`, formatShape(bonus.shape));
  }
}

const nonPositive = (x: number): boolean => x <= 0;
const isNumber = (x: number): boolean => !Number.isNaN(x);

/** With the checks of values on, requires of a decay that is given that it is none that grows. */
export function checkLogarithm(where: string, argument: string, t: Tensor | null | undefined): void {
  if (t) checkValues(where, argument, t, '<= 0 (it is a logarithm)', nonPositive);
}

function checkOperandValues(where: string, inputs: RecurrenceInputs): void {
  for (const name of ['gate', 'valueGate'] as const) checkLogarithm(where, name, inputs[name]);
  for (const name of ['q', 'k', 'v', 'beta', 'eraseKey', 'writeKey', 'bonus'] as const) {
    const t = inputs[name];
    if (t) checkNumbers(where, name, t);
  }
}

/** With the checks of values on, requires a tensor without NaN. */
export function checkNumbers(where: string, argument: string, t: Tensor): void {
  checkValues(where, argument, t, 'free of NaN', isNumber);
}

/** With the checks of values on, requires a logarithm of decays where rules of other kinds take one. */
export function checkGate(where: string, gate: Tensor): void {
  checkValues(where, 'gate', gate, '<= 0 (it is a logarithm)', (x) => !(x > 0));
}

/** Combinations that no recurrence has. */
function checkKind(where: string, inputs: RecurrenceInputs, kind: RecurrenceKind): void {
  const erases = (kind.eraseFrom ?? 'none') !== 'none';
  if (inputs.bonus && kind.read !== 'before') clash(where, 'bonus', "needs read: 'before'");
  if (inputs.eraseKey && !erases) clash(where, 'eraseKey', "needs eraseFrom 'decayed' or 'undecayed'");
  if (kind.secondWrite && !erases) clash(where, 'secondWrite', "needs eraseFrom 'decayed' or 'undecayed'");
  if (!inputs.valueGate) return;
  for (const name of ['gate', 'eraseKey', 'writeKey', 'bonus'] as const) {
    if (inputs[name]) clash(where, 'valueGate', `does not go with ${name}`);
  }
  if (kind.secondWrite || kind.read === 'before') {
    clash(where, 'valueGate', 'does not go with secondWrite or read before');
  }
}

function clash(where: string, argument: string, reason: string): never {
  throw new FastWeightsError('INVALID_ARGUMENT', `${where}: ${argument} ${reason}`, { argument });
}
