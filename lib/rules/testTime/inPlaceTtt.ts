// In-Place TTT: a sum of outer products that is read as it was at the start of the chunk (arXiv 2604.06169).
import { checkInteger, checkNumber, type Tensor } from '../../core';
import { stack, zerosBeside } from '../../ops';
import { apart, overChunks } from './chunks';
import { defineTestTime } from './define';

/** Options of `inPlaceTtt`. */
export interface InPlaceTttOptions {
  /** Tokens between two changes of the weights, 1024 by default. */
  chunkSize?: number;
  /** Multiplies what is written, 1 by default. */
  rate?: number;
}

type States = { state: Tensor; pending: Tensor };

/**
 * W_c = W_{c-1} + rate sum over the tokens of chunk c of k_t v_t^T,  o_t = W_{c-1}^T q_t for the tokens of chunk c: what a chunk
 * writes is read from the next one on. In a feed-forward ("In-Place Test-Time Training", arXiv 2604.06169) W^T is what the down
 * projection has gained, q = k the gated activation, and v a projection of the convolved embeddings. The equations are those of
 * third parties' transcriptions of the paper; its authors' program was not seen.
 *
 * q, k [B, T, H, K], v [B, T, H, V]; states `state` W [B, H, K, V] and, with chunks of several tokens, `pending` [B, H, K, V],
 * what a chunk that is left open has written, which counts with `position` above 0 only.
 */
export const inPlaceTtt = defineTestTime({
  name: 'inPlaceTtt',
  inputs: { q: 'B T H K', k: 'B T H K', v: 'B T H V' },
  states: { state: 'B H K V', pending: 'B H K V' },
  endings: { state: 'State', pending: 'Pending' },
  options: { chunkSize: true, rate: true },
  settings: (where, { chunkSize, rate }: InPlaceTttOptions) => ({
    size: checkInteger(where, 'chunkSize', chunkSize ?? 1024, 1),
    rate: checkNumber(where, 'rate', rate ?? 1),
  }),
  without: ({ size }) => (size === 1 ? ['pending'] : []),
  run({ inputs: { q, k, v }, states, settings: { size, rate, position }, cuSeqlens }) {
    const before: States = { state: states.state, pending: states.pending ?? states.state };
    const loop = { tokens: { q, k, v: rate === 1 ? v : v.mul(rate) }, states: before, weights: {} };
    const { output, states: after } = overChunks(
      loop,
      { where: 'inPlaceTtt', size, position, cuSeqlens },
      (tokens, { state, pending }: States, _, place) => {
        const [queries, keys, values] = [tokens.q, tokens.k, tokens.v].map(apart);
        const outputs: Tensor[] = [];
        let W = state;
        let open = zerosBeside(state);
        queries.forEach((query, i) => {
          outputs.push(query.matmul(W));
          const own = keys[i].transpose(2, 3).matmul(values[i]);
          const written = place.position > 0 ? own.add(pending) : own;
          if (place.complete) W = W.add(written);
          else open = written;
        });
        return { output: stack(outputs, 0), states: { state: W, pending: open } };
      },
    );
    return { output, states: size === 1 ? ({ state: after.state } as States) : after };
  },
});
