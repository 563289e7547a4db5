// What the layer of ABC computes, written out from the weights that each token has in each slot.
import * as fw from '../../lib';
import { expectClose } from '../support/tolerance';

const EXACT = { device: 'js', dtype: 'float64' } as const;
const [T, D, HEADS, SLOTS] = [6, 8, 2, 3];

describe('ABC', () => {
  for (const useRope of [true, false]) {
    it(`reads averages of keys and values, ${useRope ? 'turned by their positions' : 'wherever they stand'}`, () =>
      fw.noGrad(() =>
        fw.scope(() => {
          const sizes = { vocabSize: 5, hiddenSize: D, numHiddenLayers: 1, numHeads: HEADS, numSlots: SLOTS };
          const own = { normEps: 0.01, clampMin: -0.2, clampMax: 0.3, expandK: 1, useRope };
          const { config } = new fw.models.ABCForCausalLM({ ...sizes, ...own }, EXACT);
          const layer = fw.withSeed(1, () => new fw.models.ABCAttention(config, EXACT));
          const x = fw.withSeed(2, () => fw.randn([1, T, D], EXACT));
          const heads = (t: fw.Tensor): fw.Tensor => t.reshape(1, T, HEADS, -1);
          const placed = (t: fw.Tensor): fw.Tensor => (useRope ? fw.rope(t) : t);
          const [q, k] = [layer.q_proj, layer.k_proj].map((proj) => placed(heads(proj.forward(x))));
          const logits = heads(layer.s_proj.forward(x).maximum(-0.2).minimum(0.3));
          const seen = fw
            .tril(fw.ones([T, T], EXACT))
            .log()
            .reshape(1, T, T, 1, 1);
          const shares = logits.unsqueeze(1).add(seen).softmax(2);
          const keys = fw.einsum('btshm,bshk->bthmk', shares, k);
          const values = fw.einsum('btshm,bshv->bthmv', shares, heads(layer.v_proj.forward(x)));
          const scores = fw.einsum('bthk,bthmk->bthm', q, keys).div(2).softmax(-1);
          const read = fw.einsum('bthm,bthmv->bthv', scores, values);
          const normed = read.div(read.square().mean(-1, true).add(0.01).sqrt());
          const gated = normed.mul(heads(layer.g_proj.forward(x)).silu()).reshape(1, T, D);
          const expected = layer.o_proj.forward(gated).dataSync();
          expectClose('output', layer.forward(x).output.dataSync(), expected, 1e-9);
        }),
      ));
  }
});
