// The general recurrence on tensors: from checked operands to the kernel, and its gradients back.
import { argumentError, checkChoice, checkNumber, formatShape, sameShape, tokenStride, type Tensor } from '../../core';
import { ERASE_FROM, getBackend } from '../../backends';
import { record, recording, runsAgain } from '../../autograd';
import {
  checkAlikeOrWider,
  checkFloat,
  emptyLike,
  needsFloat32,
  kernelsOf,
  sequencesOf,
  statisticsDtype,
  sumTo,
  toFloat32,
  zerosBeside,
} from '../../ops';
import { observed, tellMemory } from '../observe';
import { checkNumbers, checkOperands, type Sizes } from './checks';
import {
  computableInputs,
  type CommonOptions,
  type RecurrenceInputs,
  type RecurrenceKind,
  type RuleResult,
} from './operands';

/** Names of the kernel's operands, in the order in which they are recorded. */
const OPERANDS = ['q', 'k', 'v', 'gate', 'beta', 'eraseKey', 'writeKey', 'bonus', 'max', 'initialState'] as const;
type Operands = Record<(typeof OPERANDS)[number], Tensor | null>;

/** Kinds of recurrence whose keys and values changed places say so with `exchanged`. */
export interface KernelKind extends RecurrenceKind {
  exchanged?: boolean;
}

/** A further value of the state, 1 in every token, which what is read is divided by (mLSTM; see the kernel table). */
export interface Normalizer {
  /** m, the logarithm of what the state was divided by [B, T, HV]. Its gradient takes e^m S for a constant. */
  max: Tensor;
  /** Added to max(|s|, e^-m). */
  eps: number;
}

/** What a recurrence returns; with a normaliser what is read of it, too: sums [B, T, HV]. */
export type RecurrenceResult = RuleResult & { sums?: Tensor };

/** Width of a gate as kernels take it: 0 for none, 1 for one number per head. */
export function gateWidth(t: Tensor | null, lead: number): number {
  return !t ? 0 : t.ndim === lead + 1 ? 1 : t.shape[lead + 1];
}

/** A kind as kernels take it. */
export interface KindNumbers {
  eraseFrom: number;
  secondWrite: number;
  readBefore: number;
  exchanged: number;
}

export function kindNumbers(kind: KernelKind): KindNumbers {
  return {
    eraseFrom: ERASE_FROM.indexOf(kind.eraseFrom ?? 'none'),
    secondWrite: Number(kind.secondWrite ?? false),
    readBefore: Number(kind.read === 'before'),
    exchanged: Number(kind.exchanged ?? false),
  };
}

/** A strided view is taken as it is when its last dimension is dense and batch and time walk in one stride. */
export function operand<T extends Tensor | null>(t: T): T {
  if (!t) return t;
  const dense = t.ndim < 4 || t.shape[3] <= 1 || t.strides[3] === 1;
  return (dense && tokenStride(t.shape, t.strides) !== undefined ? t : t.contiguous()) as T;
}

/** State heads back to the operand's own: [.., HV, D] -> [.., heads, D], in its shape. */
function ungroup(g: Tensor, shape: readonly number[]): Tensor {
  const heads = shape[2];
  const [B, T, HV, D] = g.shape;
  if (heads === HV) return g.reshape(shape);
  return g
    .reshape(B, T, heads, HV / heads, D)
    .sum(3)
    .reshape(shape);
}

/** Checks the initial state and returns it as the kernel wants it. */
function checkInitialState(where: string, state: Tensor | null, q: Tensor, shape: number[]): void {
  if (state === null) return;
  checkFloat(where, 'initialState', state);
  checkAlikeOrWider(where, 'initialState', state, q, 'q');
  if (!sameShape(state.shape, shape)) {
    throw argumentError(
      'SHAPE',
      where,
      'initialState',
      `${formatShape(shape)} (sequences, heads, key width, value width)`,
      formatShape(state.shape),
    );
  }
  checkNumbers(where, 'initialState', state);
}

/**
 * Runs a checked recurrence. `kind.exchanged` swaps the roles of keys and values (see the kernel table). With a normaliser,
 * states have one value more than v, the last.
 */
export function runRecurrence(
  where: string,
  given: RecurrenceInputs,
  options: CommonOptions,
  kind: KernelKind,
  normalizer: Normalizer | null = null,
): RecurrenceResult {
  const inputs = computableInputs(given);
  const sizes = checkOperands(where, inputs, kind, 2);
  const { HV, K } = sizes;
  const V = sizes.V + (normalizer ? 1 : 0);
  const { count: N, tokens, offsets } = sequencesOf(where, inputs.q, options.cuSeqlens);
  const scale = checkNumber(where, 'scale', options.scale ?? 1 / Math.sqrt(Math.max(K, 1)));
  const mode = checkChoice(where, 'mode', options.mode ?? 'auto', ['auto', 'chunk', 'recurrent']);
  const chunk = options.chunkSize ?? 64;
  if (![16, 32, 64].includes(chunk))
    throw argumentError('INVALID_ARGUMENT', where, 'chunkSize', '16, 32 or 64', String(chunk));
  checkInitialState(where, options.initialState ?? null, given.q, [N, HV, K, V]);
  const initialState = needsFloat32(given.q) ? toFloat32(options.initialState) : options.initialState;
  const exchanged = kind.exchanged ?? false;
  const swap = (t: Tensor): Tensor => (exchanged ? t.transpose(2, 3) : t);
  const [k, v] = exchanged ? [inputs.v, inputs.k] : [inputs.k, inputs.v];
  const bonus = inputs.bonus && expandBonus(inputs.bonus, sizes);
  const operands: Operands = {
    q: operand(inputs.q),
    k: operand(k),
    v: operand(v),
    gate: operand((exchanged ? inputs.valueGate : inputs.gate) ?? null),
    beta: operand(inputs.beta ?? null),
    eraseKey: operand(inputs.eraseKey ?? null),
    writeKey: operand(inputs.writeKey ?? null),
    bonus: bonus ?? null,
    max: normalizer && normalizer.max.contiguous(),
    initialState: initialState ? swap(initialState).contiguous() : null,
  };
  const numbers = {
    sequences: N,
    tokens,
    heads: HV,
    keyDim: exchanged ? V : K,
    valueDim: exchanged ? K : V,
    scale,
    eps: normalizer?.eps ?? 0,
    gateWidth: gateWidth(operands.gate, 2),
    betaWidth: gateWidth(operands.beta, 2),
    ...kindNumbers(kind),
    recurrent: Number(mode === 'recurrent' || (mode === 'auto' && getBackend(inputs.q.device).prefersTokenLoop)),
    checkpointEvery: chunk,
  };
  const lengths = options.cuSeqlens
    ? Array.from({ length: N }, (_, n) => options.cuSeqlens![n + 1] - options.cuSeqlens![n])
    : [];
  const checkpoints = offsets ? lengths.reduce((n, l) => n + Math.ceil(l / chunk), 0) : N * Math.ceil(tokens / chunk);
  if (observed() && !options.cuSeqlens) {
    tellMemory({
      rule: where,
      matrix: 'S',
      inputs,
      kind,
      scale,
      denominator: null,
      initialState: initialState ?? null,
    });
  }
  const { result, sums, finalState } = apply(
    where,
    operands,
    offsets,
    numbers,
    checkpoints,
    options.outputFinalState ?? false,
  );
  const output = given.q.dtype === result.dtype ? result : result.to(given.q.dtype);
  return { output, ...(sums && { sums }), finalState: finalState && swap(finalState) };
}

function expandBonus(bonus: Tensor, { H, HV, K }: Sizes): Tensor {
  return bonus
    .reshape(H, 1, K)
    .expand(H, HV / H, K)
    .reshape(HV, K)
    .contiguous();
}

type Numbers = {
  sequences: number;
  tokens: number;
  heads: number;
  keyDim: number;
  valueDim: number;
  scale: number;
  eps: number;
  gateWidth: number;
  betaWidth: number;
  recurrent: number;
  checkpointEvery: number;
} & KindNumbers;

/** The kernel and its record. */
function apply(
  where: string,
  operands: Operands,
  offsets: Tensor | null,
  numbers: Numbers,
  checkpoints: number,
  outputFinalState: boolean,
): { result: Tensor; sums?: Tensor; finalState?: Tensor } {
  const q = operands.q!;
  const [B, T] = q.shape;
  const { sequences: N, heads: HV, keyDim, valueDim, exchanged } = numbers;
  const values = valueDim - (operands.max ? 1 : 0);
  const training = recording(Object.values(operands));
  // A state without elements holds nothing: all that is read from it is zero, and kernels do not meet it.
  const absent = keyDim * valueDim === 0;
  const make = absent ? zerosBeside : emptyLike;
  const output = make(q, [B, T, HV, exchanged ? keyDim : values]);
  const exact = (shape: readonly number[]): Tensor => emptyLike(q, shape, statisticsDtype(q));
  const finalState = outputFinalState ? exact([N, HV, keyDim, valueDim]) : undefined;
  // Kernels end a group of tokens where a state is kept, which rounds otherwise.
  const states = training || runsAgain() ? exact([checkpoints, HV, keyDim, valueDim]) : null;
  const sums = operands.max ? make(q, [B, T, HV]) : undefined;
  const written = training ? exact([B, T, HV, valueDim]) : null;
  const required = { q, k: operands.k!, v: operands.v! };
  if (!absent) {
    kernelsOf(q).recurrence({
      ...operands,
      ...required,
      offsets,
      output,
      sums: sums ?? null,
      finalState: finalState ?? null,
      states,
      written,
      ...numbers,
    });
  }
  if (training) {
    const inputs = OPERANDS.map((name) => operands[name]);
    // The output is saved where it was divided.
    const optional = [...inputs.slice(3), offsets, sums && output, sums].map((t) => t ?? null);
    const saved = [...inputs.slice(0, 3), states, written, ...optional].filter((t) => t !== null);
    record(
      where,
      inputs,
      finalState ? [output, finalState] : [output],
      saved,
      ([doutput, dfinal], [sq, sk, sv, ss, sw, ...rest], needs) => {
        const [gate, beta, eraseKey, writeKey, bonus, max, initialState, soffsets, soutput, ssums] = optional.map(
          (t) => (t ? rest.shift()! : null),
        );
        // What is still to be summed is not rounded before.
        const heads = <T extends Tensor | null>(of: T, width: number): T =>
          (of && make(of, [B, T, HV, width], of.shape[2] === HV ? of.dtype : statisticsDtype(of))) as T;
        const gradients = {
          dq: heads(sq, exchanged ? valueDim : keyDim),
          dk: heads(sk, keyDim),
          dv: heads(sv, values),
          dgate: heads(gate, numbers.gateWidth),
          dbeta: heads(beta, numbers.betaWidth),
          deraseKey: heads(eraseKey, keyDim),
          dwriteKey: heads(writeKey, keyDim),
          dbonus: bonus && make(bonus, [N, HV, keyDim], statisticsDtype(bonus)),
          dmax: max && make(max, max.shape),
          dinitialState: needs[9] ? emptyLike(initialState!, [N, HV, keyDim, valueDim]) : null,
        };
        if (!absent) {
          kernelsOf(sq).recurrenceBackward({
            q: sq,
            k: sk,
            v: sv,
            gate,
            beta,
            eraseKey,
            writeKey,
            bonus,
            max,
            initialState,
            offsets: soffsets,
            states: ss,
            written: sw,
            output: soutput,
            sums: ssums,
            doutput: doutput ? doutput.contiguous() : zerosBeside(sq, output.shape),
            dfinalState: dfinal ? dfinal.contiguous() : null,
            ...gradients,
            ...numbers,
          });
        }
        const { dq, dk, dv, dgate, dbeta, deraseKey, dwriteKey, dbonus, dmax, dinitialState } = gradients;
        const perHead = [dq, dk, dv, dgate, dbeta, deraseKey, dwriteKey].map(
          (g, i) => g && ungroup(g, inputs[i]!.shape).to(inputs[i]!.dtype),
        );
        const bonusGradient = dbonus && sumTo(dbonus, [1, HV, keyDim]).reshape(HV, keyDim).to(bonus!.dtype);
        return [...perHead, bonusGradient, dmax, dinitialState];
      },
    );
  }
  return { result: output, sums, finalState };
}
