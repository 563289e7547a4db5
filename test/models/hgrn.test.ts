// What the layers of HGRN compute, written out token by token; the bounds of their decays rise from layer to layer.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectClose } from '../support/tolerance';

const EXACT = { device: 'js', dtype: 'float64' } as const;
const [T, D, LAYERS] = [6, 8, 3];

/** The decoder of HGRN, as far as it is looked at. */
type Decoder = fw.nn.Module & { lower_bounds: fw.Tensor; layers: { attn: fw.models.Hgrn }[] };

/** Bounds of the layer's decays, as the published program adds them up. */
const boundOf = (table: fw.Tensor, layer: number): fw.Tensor => {
  const sums = table.softmax(0).cumsum(0);
  return sums.select(0, layer).sub(table.softmax(0).select(0, 0));
};

describe('HGRN', () => {
  it('forgets no more than its bounds allow, writes what it forgets, and gates its norm', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const sizes = { vocabSize: 5, hiddenSize: D, numHiddenLayers: LAYERS, intermediateSize: 4, normEps: 0.01 };
        const model = fw.withSeed(1, () => new fw.models.HGRNForCausalLM({ ...sizes, initializerRange: 0.5 }, EXACT));
        const { lower_bounds, layers } = model.model as unknown as Decoder;
        fw.withSeed(2, () => fw.nn.init.normal_(lower_bounds));
        const x = fw.withSeed(3, () => fw.randn([1, T, D], EXACT));
        layers.forEach(({ attn }, layer) => {
          const bound = boundOf(lower_bounds, layer);
          expect(bound.max().item() > 0, `layer ${layer}`).to.equal(layer > 0);
          const decays = attn.f_proj.forward(x).sigmoid().mul(bound.neg().add(1)).add(bound);
          const written = attn.i_proj.forward(x).silu().mul(decays.neg().add(1));
          let h = fw.zeros([1, D], EXACT);
          const read = Array.from({ length: T }, (_, t) => {
            h = h.mul(decays.select(1, t)).add(written.select(1, t));
            return h.unsqueeze(1);
          });
          const all = fw.cat(read, 1);
          const normed = all.div(all.square().mean(-1, true).add(0.01).sqrt());
          const expected = attn.o_proj.forward(normed.mul(attn.g_proj.forward(x).silu()));
          expectClose(`layer ${layer}`, attn.forward(x).output.dataSync(), expected.dataSync(), 1e-9);
        });
      }),
    ));
});
