// The feed-forward of In-Place TTT: in pieces, token by token, packed; a SwiGLU at first; and what it refuses.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const { InPlaceTttFeedForward } = fw.models;
const T = 11;

/** A layer that writes something, and its inputs. */
function drawn(where: Target, chunkSize: number): [layer: fw.models.InPlaceTttFeedForward, x: fw.Tensor, e: fw.Tensor] {
  fw.manualSeed(5);
  const layer = new InPlaceTttFeedForward(4, 6, { chunkSize, convSize: 3, ...where });
  fw.noGrad(() => fw.nn.init.normal_(layer.target_proj.weight));
  return [layer, fw.randn([2, T, 4], where), fw.randn([2, T, 4], where)];
}

describe('InPlaceTttFeedForward', () => {
  for (const where of targets().filter(({ device, dtype }) => device !== 'js' || dtype === 'float64')) {
    for (const chunkSize of [4, 1]) {
      it(`chunks of ${chunkSize}: in pieces, token by token and packed, on ${where.device}`, () =>
        fw.noGrad(() =>
          fw.scope(() => {
            const { forward } = toleranceOf(where.dtype);
            const [layer, x, e] = drawn(where, chunkSize);
            const whole = layer.forward(x, { beside: { embeddings: e }, outputState: true });
            const piece = (from: number, to: number, state: fw.models.TestTimeState | null) =>
              layer.forward(x.slice(1, from, to), {
                beside: { embeddings: e.slice(1, from, to) },
                state,
                outputState: true,
              });
            const begin = piece(0, 3, null);
            const middle = piece(3, 9, begin.state!);
            const state = middle.state!;
            const tokens = [9, 10].map((t) =>
              layer.step(x.select(1, t), state, { embeddings: e.select(1, t) }).unsqueeze(1),
            );
            const pieces = fw.cat([begin.output, middle.output, ...tokens], 1);
            expectClose('output', pieces.dataSync(), whole.output.dataSync(), forward);
            for (const [name, t] of Object.entries(whole.state!.memory))
              expectClose(name, state.memory[name].dataSync(), t.dataSync(), forward);
            const row = (t: fw.Tensor): fw.Tensor => t.reshape(1, 2 * T, 4);
            const packed = layer.forward(row(x), { cuSeqlens: [0, T, T, 2 * T], beside: { embeddings: row(e) } });
            expectClose('packed', packed.output.dataSync(), whole.output.dataSync(), forward);
          }),
        ));
    }
  }

  it('adds to the down projection, behind each chunk, the mean of what its tokens wrote', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const [layer, x, e] = drawn({ device: 'js', dtype: 'float64' }, 4);
        const { output } = layer.forward(x, { beside: { embeddings: e } });
        const z = layer.gate_proj.forward(x).silu().mul(layer.up_proj.forward(x));
        const written = layer.target_proj.forward(layer.conv1d.forward(e).output);
        for (let t = 0; t < T; t++) {
          const seen = t - (t % 4);
          const gained = fw.einsum('btd,btf->bdf', written.slice(1, 0, seen), z.slice(1, 0, seen)).div(4);
          const weight = gained.add(layer.down_proj.weight);
          const expected = fw.einsum('bdf,bf->bd', weight, z.select(1, t));
          expectClose(`token ${t}`, output.select(1, t).dataSync(), expected.dataSync(), 1e-12);
        }
      }),
    ));

  it('is a SwiGLU until it is trained, and all of its weights get gradients', () =>
    fw.scope(() => {
      const where = { device: 'js', dtype: 'float64' } as const;
      const layer = new InPlaceTttFeedForward(4, 6, { chunkSize: 2, ...where });
      const plain = new fw.nn.SwiGLU(4, 6, where);
      plain.loadStateDict(
        Object.fromEntries(Object.entries(layer.stateDict()).filter(([name]) => /^(gate|up|down)/.test(name))),
      );
      const [x, embeddings] = [fw.randn([1, 5, 4], where), fw.randn([1, 5, 4], where)];
      const { output } = layer.forward(x, { beside: { embeddings } });
      expectClose('output', output.dataSync(), plain.forward(x).dataSync(), 1e-12);
      output.square().sum().backward();
      const without = layer.namedParameters().filter(([, t]) => !t.grad?.square().sum().item());
      // What the convolution gives meets zeros still.
      expect(without.map(([name]) => name)).to.deep.equal(['conv1d.weight']);
    }));

  it('wants embeddings, and sizes that are some', () => {
    const layer = new InPlaceTttFeedForward(4, 6, { device: 'js' });
    const x = fw.zeros([1, 3, 4], { device: 'js' });
    const error = expectError('INVALID_ARGUMENT', /beside.embeddings must be a Tensor \[1,3,4\]/, () =>
      layer.forward(x),
    );
    expect(error.argument).to.equal('beside.embeddings');
    expectError('INVALID_ARGUMENT', /chunkSize must be/, () => new InPlaceTttFeedForward(4, 6, { chunkSize: 0 }));
    expectError('INVALID_ARGUMENT', /rate must be/, () => new InPlaceTttFeedForward(4, 6, { rate: NaN }));
    layer.dispose();
  });
});
