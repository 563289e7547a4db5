// One token of the general recurrence, its state changed in place.
import { argumentError, checkNumber, type Tensor } from '../core';
import { checkAlike, checkAlikeOrWider, checkShape, checkState, checkTensor, emptyLike, kernelsOf } from '../ops';
import { checkOperands } from './checks';
import { type RecurrenceInputs, widenInputs } from './operands';
import { gateWidth, type KernelKind, kindNumbers } from './run';

/** Options of every rule's `step`, beside its gates. */
export interface StepOptions {
  /** [B, HV, K, V] float32, updated in place. */
  state: Tensor;
  /** [B, HV, V]; a new tensor by default. */
  out?: Tensor;
  scale?: number | null;
  qkL2Norm?: boolean;
}

/** Operands as [B, heads, width]; width dense. */
function dense<T extends Tensor | null | undefined>(t: T): T {
  return (!t || t.ndim < 3 || t.shape[2] <= 1 || t.strides[2] === 1 ? t : t.contiguous()) as T;
}

/** Runs one token for B states at once; only outside recording. */
export function runStep(where: string, given: RecurrenceInputs, options: StepOptions, kind: KernelKind): Tensor {
  const inputs = widenInputs(given);
  const { HV, K, V } = checkOperands(where, inputs, kind, 1);
  const { q } = inputs;
  const { state } = options;
  const B = q.shape[0];
  checkState(where, state, [B, HV, K, V], 'batch, heads, key width, value width');
  if (state.dtype === 'bfloat16') throw argumentError('DTYPE', where, 'state', 'float32', 'bfloat16');
  checkAlikeOrWider(where, 'state', state, q, 'q');
  const scale = checkNumber(where, 'scale', options.scale ?? 1 / Math.sqrt(K));
  const { out } = options;
  if (out !== undefined) {
    checkTensor(where, 'out', out);
    checkShape(where, 'out', out, [B, HV, V], 'batch, heads, value width');
    checkAlike(where, 'out', out, given.q, 'q');
  }
  const output = out && q === given.q ? out : emptyLike(q, [B, HV, V]);
  const exchanged = kind.exchanged ?? false;
  const gate = (exchanged ? inputs.valueGate : inputs.gate) ?? null;
  const beta = inputs.beta ?? null;
  // The exchanged kernel keeps its state as [values, keys].
  const inner = exchanged ? state.transpose(2, 3).contiguous() : state;
  const bonus = inputs.bonus && inputs.bonus.shape[0] !== HV ? repeatHeads(inputs.bonus, HV) : inputs.bonus;
  const { eraseFrom, secondWrite, readBefore, exchanged: swapped } = kindNumbers(kind);
  kernelsOf(q).recurrenceStep({
    q: dense(q),
    k: dense(exchanged ? inputs.v : inputs.k),
    v: dense(exchanged ? inputs.k : inputs.v),
    gate: dense(gate),
    beta: dense(beta),
    eraseKey: dense(inputs.eraseKey ?? null),
    writeKey: dense(inputs.writeKey ?? null),
    bonus: bonus?.contiguous() ?? null,
    state: inner,
    output,
    sequences: B,
    heads: HV,
    keyDim: exchanged ? V : K,
    valueDim: exchanged ? K : V,
    scale,
    gateWidth: gateWidth(gate, 1),
    betaWidth: gateWidth(beta, 1),
    eraseFrom,
    secondWrite,
    readBefore,
    exchanged: swapped,
  });
  state.storage.version++;
  if (exchanged) state.copy_(inner.transpose(2, 3));
  if (q === given.q) return output;
  const result = output.to(given.q.dtype);
  return out ? out.copy_(result) : result;
}

function repeatHeads(bonus: Tensor, HV: number): Tensor {
  const [H, K] = bonus.shape;
  return bonus
    .reshape(H, 1, K)
    .expand(H, HV / H, K)
    .reshape(HV, K);
}
