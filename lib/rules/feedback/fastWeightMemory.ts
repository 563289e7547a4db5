// Fast Weight Memory: a third-order fast weight that is read in several hops (Schlag, Munkhdalai, Schmidhuber 2021;
// spec 2.8).
import { argumentError, checkChoice, checkInteger, checkNumber, type Tensor } from '../../core';
import { layerNorm, split, stack, withChecks } from '../../ops';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';
import type { Token } from '../sequential/segments';
import type { Sizes } from '../sequential/shapes';

/** Options of `fastWeightMemory`. */
export interface FastWeightMemoryOptions {
  /** Reads in a row, each with what the one before found: 3 by default. */
  hops?: number;
  /**
   * What of `read` goes through tanh: the relations alone ('relations', the default; the published catbAbI model), the
   * first query, too ('all', its PTB model), or neither ('none', its meta-reinforcement-learning model).
   */
  readTanh?: 'relations' | 'all' | 'none';
  /** Multiplies every write: 1 / N by default, as published for catbAbI and meta-RL; 1 in the PTB model. */
  writeScale?: number | null;
  /** A memory whose Frobenius norm is larger after a write is scaled down to it: 1 by default. */
  normCap?: number;
  /** 1e-5 by default. */
  layerNormEps?: number;
}

/** S, R and N where no state tells them: queries and what is found are of one width then, S = N. */
function settle(where: string, sizes: Sizes, { hops }: { hops: number }): void {
  const { W, Q } = sizes;
  if (!('N' in sizes)) {
    const R = (2 * Q - W + 1) / (2 * hops - 1);
    const N = Q - hops * R;
    Object.assign(sizes, { S: N, R, N });
  }
  const { S, R, N } = sizes;
  const whole = [S, R, N].every((size) => Number.isInteger(size) && size > 0);
  if (whole && W === S + R + N + 1 && Q === S + hops * R && (hops === 1 || S === N)) return;
  const expected = `[.., S + R + N + 1] beside read [.., S + ${hops} R]${hops === 1 ? '' : ', S = N'}`;
  throw argumentError('SHAPE', where, 'write', expected, `[.., ${W}] beside [.., ${Q}]`);
}

/**
 * Writes at s, r in F [S, R, N] what is missing there to t, then reads with a query and relations:
 * F' = F + c sigmoid(b + 1) s (x) r (x) (t - F(s, r)),  F <- F' min(1, normCap / |F'|),  q <- LN(F(q, r_i)) for every hop:
 * output [B, T, N], the last q, LN without weights. write [B, T, S + R + N + 1] holds s, r, t before their tanh and b;
 * read [B, T, S + hops R] the first q and the r_i before theirs; state [B, S, R, N]. Without `initialState` S = N; else S
 * may be another with one hop.
 */
export const fastWeightMemory = defineSequential({
  name: 'fastWeightMemory',
  inputs: { write: 'B T W', read: 'B T Q' },
  states: { state: 'B S R N' },
  options: { hops: true, readTanh: true, writeScale: true, normCap: true, layerNormEps: true },
  settings: (where, options: FastWeightMemoryOptions) => ({
    hops: checkInteger(where, 'hops', options.hops ?? 3, 1),
    readTanh: checkChoice(where, 'readTanh', options.readTanh ?? 'relations', ['relations', 'all', 'none']),
    writeScale: options.writeScale == null ? null : checkNumber(where, 'writeScale', options.writeScale),
    normCap: checkNumber(where, 'normCap', options.normCap ?? 1, Number.MIN_VALUE),
    layerNormEps: checkNumber(where, 'layerNormEps', options.layerNormEps ?? 1e-5, 0),
  }),
  settle,
  run({ inputs: { write, read }, states: { state }, settings }) {
    const { hops, readTanh, normCap, layerNormEps } = settings;
    const [B, S, R, N] = state.shape;
    const [s, r, t, b] = split(write, [S, R, N, 1], 2);
    const [query, ...relations] = split(read, [S, ...new Array<number>(hops).fill(R)], 2);
    const asRead = (x: Tensor): Tensor => (readTanh === 'none' ? x : x.tanh());
    const strength = b
      .add(1)
      .sigmoid()
      .mul(settings.writeScale ?? 1 / N);
    /** r (x) s: the place of a pair in the memory, which lies as [R, S, N] here. */
    const place = r.tanh().unsqueeze(3).mul(s.tanh().unsqueeze(2)).flatten(2);
    const tokens = {
      place: place.unsqueeze(2),
      written: place.mul(strength).unsqueeze(3),
      t: t.tanh().unsqueeze(2),
      query: (readTanh === 'all' ? query.tanh() : query).unsqueeze(2),
      relations: stack(relations.map(asRead), 2),
    };
    const flat = { memory: state.transpose(1, 2).reshape(B, R * S, N) };
    const step = (token: typeof tokens, { memory }: typeof flat): Token<typeof flat> => {
      const missing = token.t.sub(token.place.matmul(memory));
      const written = memory.add(token.written.mul(missing));
      // Of the squares: the root of their sum has no slope where nothing is written yet.
      const squares = written
        .square()
        .sum([1, 2], true)
        .maximum(normCap ** 2);
      const capped = written.mul(squares.rsqrt().mul(normCap));
      // What every hop can find, for each component of the query: [B, hops, S, N].
      const answers = token.relations.matmul(capped.reshape(B, R, S * N)).reshape(B, hops, S, N);
      let found = token.query;
      for (let i = 0; i < hops; i++) {
        found = layerNorm(found.matmul(answers.select(1, i)), null, null, layerNormEps);
      }
      return { output: found, states: { memory: capped } };
    };
    // The states are looked at in the end, and traced back to the token that made them so.
    const { output, states } = withChecks(false, () => overTime({ tokens, states: flat, weights: {} }, step));
    const memory = states.memory.reshape(B, R, S, N).transpose(1, 2);
    return { output: output.squeeze(2), states: { state: memory } };
  },
});
