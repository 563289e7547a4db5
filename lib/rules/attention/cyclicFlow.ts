// Cyclic flow attention: slots through which a learned clock carries what was written (arXiv 2609.36259).
import { argumentError, checkNumber, type Tensor } from '../../core';
import { arange, cat, einsum, full, type TensorOptions } from '../../ops';
import { checkGate } from '../recurrence/checks';
import { defineSequential } from '../sequential/define';
import type { Sizes } from '../sequential/shapes';
import { withQkv } from '../sequential/qkv';
import { slotRecurrence } from './slots';

/** Options of `cyclicFlowAttention`. */
export interface CyclicFlowOptions {
  /** Multiplies the queries, in front of the softmax; K ** -0.5 by default. */
  scale?: number | null;
}

const name = 'cyclicFlowAttention';
const OPTIONS = { scale: true } as const;

const rule = defineSequential({
  name,
  inputs: {
    q: 'B T H K',
    k: 'B T H K',
    v: 'B T H V',
    gate: 'B T H',
    beta: 'B T H',
    delta: 'B T H',
    readout: 'H R R',
  },
  states: { keyState: 'B H K R', valueState: 'B H R V', clock: 'B H' },
  options: OPTIONS,
  settings(where, { scale }: CyclicFlowOptions, { q, gate }) {
    checkGate(where, gate);
    return checkNumber(where, 'scale', scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5);
  },
  settle(where, { H, R }: Sizes) {
    if (R % 2 === 1) return;
    throw argumentError('SHAPE', where, 'readout', `[${H}, R, R] for an odd number R of slots`, `[${H}, ${R}, ${R}]`);
  },
  run({ inputs: { q, k, v, gate, beta, delta, readout }, states, settings: scale, sizes: { R } }) {
    const { turned, last } = turns(delta.cumsum(1).add(states.clock.unsqueeze(1)), R);
    const written = atom(turned, R).mul(beta.unsqueeze(-1));
    const first = { q, k, v: written, gate };
    const scores = slotRecurrence(name, 'H', first, {}, { initialState: states.keyState, scale, cuSeqlens: null });
    const F = basis(R, readout);
    const slots = einsum('sm,bthm->bths', F, turn(scores.output, turned, 1));
    const shares = einsum('hrs,bths->bthr', readout, slots).softmax(-1);
    const spread = einsum('hrs,bthr->bths', readout, shares);
    const weights = turn(einsum('sm,bths->bthm', F, spread), turned, -1);
    const second = { q: weights, k: written, v, gate };
    const read = slotRecurrence(name, 'Hv', second, {}, { initialState: states.valueState, scale: 1, cuSeqlens: null });
    return {
      output: read.output,
      states: { keyState: scores.finalState, valueState: read.finalState, clock: last },
    };
  },
});

/** Cosines and sines of j 2 pi clock / R, j = 1 to (R - 1) / 2. */
type Turned = { cos: Tensor; sin: Tensor };

/**
 * Those of clocks [B, T, H], each [B, T, H, (R - 1) / 2], and the last clock modulo R. Whole slots are counted apart, in whole
 * numbers, so that no angle loses digits to the number of turns or of the frequency.
 */
function turns(clock: Tensor, R: number): { turned: Turned; last: Tensor } {
  const around = (x: Tensor): Tensor => x.sub(x.div(R).floor().mul(R));
  const whole = clock.floor();
  const [slot, part] = [around(whole), clock.sub(whole)];
  const j = arange(1, (R + 1) / 2, 1, placeOf(clock));
  const angle = around(slot.unsqueeze(-1).mul(j))
    .add(part.unsqueeze(-1).mul(j))
    .mul((2 * Math.PI) / R);
  return { turned: { cos: angle.cos(), sin: angle.sin() }, last: slot.add(part).select(1, -1) };
}

/** A token as it is written, [B, T, H, R]: a slot of the real Fourier basis [constant | cosines | sines], turned back. */
function atom({ cos, sin }: Turned, R: number): Tensor {
  const constant = full([...cos.shape.slice(0, -1), 1], R ** -0.5, placeOf(cos));
  const wave = Math.sqrt(2 / R);
  return cat([constant, cos.mul(wave), sin.mul(-wave)], -1);
}

/** x [B, T, H, R] in that basis, turned on (sign 1) or back. */
function turn(x: Tensor, { cos, sin }: Turned, sign: 1 | -1): Tensor {
  const waves = cos.shape[cos.ndim - 1];
  const [constant, c, s] = [x.slice(-1, 0, 1), x.slice(-1, 1, 1 + waves), x.slice(-1, 1 + waves, 1 + 2 * waves)];
  const across = sin.mul(sign);
  return cat([constant, c.mul(cos).sub(s.mul(across)), c.mul(across).add(s.mul(cos))], -1);
}

/** The slots in it, [R, R], orthonormal. */
function basis(R: number, beside: Tensor): Tensor {
  const where = placeOf(beside);
  const steps = arange(0, R, 1, where)
    .unsqueeze(1)
    .mul(arange(1, (R + 1) / 2, 1, where));
  const angle = steps.sub(steps.div(R).floor().mul(R)).mul((2 * Math.PI) / R);
  const wave = Math.sqrt(2 / R);
  const constant = full([R, 1], R ** -0.5, where);
  return cat([constant, angle.cos().mul(wave), angle.sin().mul(wave)], -1);
}

function placeOf({ dtype, device }: Tensor): TensorOptions {
  return { dtype, device };
}

/**
 * Attention to R slots of relative time ("CyFA", 2026; flash-linear-attention). A clock c_t = c_{t-1} + delta_t turns all that was
 * written by delta_t slots, of R in a circle, between them as a trigonometric polynomial goes. In the real Fourier basis of the
 * circle, where turning is a rotation D(c) of pairs and u is slot 0:
 * H_t = exp(gate_t) H_{t-1} + beta_t k_t (D(c_t)^-1 u)^T,  Hv_t = exp(gate_t) Hv_{t-1} + beta_t (D(c_t)^-1 u) v_t^T,
 * a_t = softmax(readout F D(c_t) scale H_t^T q_t),  output Hv_t^T D(c_t)^-1 F^T readout^T a_t [B, T, H, V], F the basis.
 *
 * q, k [B, T, H, K], v [B, T, H, V]; gate, a logarithm, beta and delta [B, T, H]; readout [H, R, R], the identity at first, R odd.
 * States `keyState` H [B, H, K, R], `valueState` Hv [B, H, R, V] and `clock` c modulo R [B, H].
 */
export const cyclicFlowAttention = withQkv(name, rule, Object.keys(OPTIONS));
