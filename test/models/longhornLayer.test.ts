// The layer of Longhorn: its vectors, one token at a time, packed, and what it refuses.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeFolders } from '../golden/table';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

describeFolders('longhornLayer');

for (const where of targets()) {
  describe(`LonghornLayer on ${where.device}, ${where.dtype}`, () => {
    it('split, token by token and packed as at once', () =>
      fw.noGrad(() =>
        fw.scope(() => {
          const { forward } = toleranceOf(where.dtype);
          const layer = new fw.models.LonghornLayer(6, { stateSize: 4, innerSize: 9, rank: 2, ...where });
          const x = fw.randn([2, 11, 6], where);
          const whole = layer.forward(x, { outputState: true });
          const begin = layer.forward(x.slice(1, 0, 5), { outputState: true });
          const middle = layer.forward(x.slice(1, 5, 8), { state: begin.state, outputState: true });
          const state = middle.state!;
          const tokens = [8, 9, 10].map((t) => layer.step(x.slice(1, t, t + 1).squeeze(1), state).unsqueeze(1));
          const pieces = fw.cat([begin.output, middle.output, ...tokens], 1);
          expectClose('output', pieces.dataSync(), whole.output.dataSync(), forward);
          for (const name of ['convolution', 'state'] as const) {
            expectClose(name, state[name].dataSync(), whole.state![name].dataSync(), forward);
          }
          const packed = layer.forward(x.reshape(1, 22, 6), { cuSeqlens: [0, 11, 11, 22] });
          expectClose('packed', packed.output.dataSync(), whole.output.dataSync(), forward);
          const fresh = layer.initialState(2);
          const first = layer.step(x.slice(1, 0, 1).squeeze(1), fresh);
          expectClose('first token', first.dataSync(), whole.output.slice(1, 0, 1).dataSync(), forward);
        }),
      ));
  });
}

describe('LonghornLayer', () => {
  it('has the sizes of its authors, and weights under their names', () => {
    const layer = new fw.models.LonghornLayer(40, { device: 'js', dtype: 'bfloat16' });
    const shapes = layer.namedParameters().map(([name, t]) => `${name} ${t.dtype} [${t.shape}]`);
    expect(shapes).to.have.members([
      'in_proj.weight bfloat16 [160,40]',
      'conv1d.weight bfloat16 [80,1,4]',
      'conv1d.bias bfloat16 [80]',
      'x_proj.weight bfloat16 [35,80]',
      'dt_head.weight bfloat16 [80,3]',
      'dt_head.bias bfloat16 [80]',
      'D float32 [80]',
      'out_proj.weight bfloat16 [40,80]',
    ]);
    const output = layer.forward(fw.ones([1, 3, 40], { device: 'js', dtype: 'bfloat16' })).output;
    expect([output.dtype, ...output.shape]).to.deep.equal(['bfloat16', 1, 3, 40]);
  });

  it('refuses sizes that are none, and options it does not know', () => {
    const make = (size: unknown, options: object) => () => new fw.models.LonghornLayer(size as number, options);
    expectError('INVALID_ARGUMENT', /hiddenSize must be/, make(0, {}));
    expectError('INVALID_ARGUMENT', /stateSize must be/, make(4, { stateSize: 1.5 }));
    expectError('INVALID_ARGUMENT', /rank must be/, make(4, { rank: '2' }));
    expectError('INVALID_ARGUMENT', /unknown option stateSzie; did you mean stateSize/, make(4, { stateSzie: 2 }));
  });
});
