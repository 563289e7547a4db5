// In-Place TTT against two loops over its equation, token by token and as attention to the chunks before.
import { expect } from 'chai';
import * as fw from '../../lib';
import { B, type Call, H, K, keyed, T, V, write } from '../support/ruleLoops';
import { byToken, describeLoops, heads, readRows, zeroRows } from '../support/twoLoops';

const CHUNK = 4;
const RATE = 0.3;

for (const chunkSize of [CHUNK, 1]) {
  describeLoops({
    title: `inPlaceTtt, chunks of ${chunkSize}`,
    draw: (d) => ({ ...keyed(d), initialState: d.uniform([B, H, K, V], -1, 1) }),
    numbers({ q, k, v, initialState }) {
      const [qs, ks, vs] = [q, k, v].map((x) => heads<number[]>(x));
      const starts = (initialState as number[][][][]).flat();
      const finalState: number[] = [];
      const outputs = qs.map((queries, n) => {
        const W = starts[n].map((row) => [...row]);
        let waiting = zeroRows(K, V);
        const found = queries.map((query, t) => {
          const read = readRows(W, query);
          write(
            waiting,
            ks[n][t],
            vs[n][t].map((x) => RATE * x),
          );
          if ((t + 1) % chunkSize === 0) {
            waiting.forEach((row, i) => row.forEach((x, j) => (W[i][j] += x)));
            waiting = zeroRows(K, V);
          }
          return read;
        });
        finalState.push(...W.flat());
        return found;
      });
      return { output: byToken(outputs, B, H), finalState };
    },
    tensors({ q, k, v, initialState }) {
      const here = { device: 'js', dtype: 'float64' } as const;
      const places = Array.from({ length: T }, (_, t) => Math.floor(t / chunkSize));
      const chunks = fw.tensor(places, here);
      const before = chunks.unsqueeze(1).gt(chunks.unsqueeze(0)).to('float64');
      const scores = fw.einsum('bthk,bshk->bhts', q, k).mul(before).mul(RATE);
      const lasting = chunks
        .lt(Math.floor(T / chunkSize))
        .to('float64')
        .reshape(1, T, 1, 1);
      return {
        output: fw.einsum('bhts,bshv->bthv', scores, v).add(fw.einsum('bthk,bhkv->bthv', q, initialState)),
        finalState: fw.einsum('bshk,bshv->bhkv', k.mul(lasting), v).mul(RATE).add(initialState),
      };
    },
    rule({ q, k, v, initialState }) {
      const options = { initialState, chunkSize, rate: RATE, outputFinalState: true };
      const { output, finalState } = (fw.inPlaceTtt as unknown as Call)(q, k, v, options);
      return { output, finalState };
    },
  });
}

describe('inPlaceTtt', () => {
  it('gives states of its own where no chunk ends', () =>
    fw.scope(() => {
      const z = (...shape: number[]): fw.Tensor => fw.ones(shape, { device: 'js' });
      const initialState = z(1, 2, 3, 4);
      const { finalState } = fw.inPlaceTtt(z(1, 2, 2, 3), z(1, 2, 2, 3), z(1, 2, 2, 4), {
        initialState,
        outputFinalState: true,
      });
      fw.noGrad(() => finalState.fill_(5));
      expect(initialState.dataSync()[0]).to.equal(1);
    }));
});
