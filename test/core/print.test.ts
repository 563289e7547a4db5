// What tensors look like: in console.log, as text, and in JSON.
import { inspect } from 'node:util';
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`printing on ${device}`, () => {
    const on = { device } as const;

    it('values in columns, with shape, dtype, device and requiresGrad', () => {
      const x = fw.tensor([[1, -20.5], [3.25, 0]], { requiresGrad: true, ...on }); // prettier-ignore
      expect(String(x)).to.equal(
        `tensor([[  1.0000, -20.5000],\n        [  3.2500,   0.0000]], shape [2, 2], float32, ${device}, requiresGrad)`,
      );
      expect(inspect(x)).to.equal(String(x));
      const small = (data: fw.NestedData, dtype?: fw.DType): string => String(fw.tensor(data, { dtype, ...on }));
      expect(small(3)).to.equal(`tensor(3., shape [], float32, ${device})`);
      expect(small([1, -2, 1000])).to.contain('[   1.,   -2., 1000.]');
      expect(small([7, -12], 'int32')).to.contain('[  7, -12]');
      expect(small([true, false])).to.equal(`tensor([ true, false], shape [2], bool, ${device})`);
      expect(small([1.5, NaN, -Infinity], 'bfloat16')).to.contain('[1.5000,    nan,   -inf]');
      expect(small([1e-7, 0.5])).to.contain('[1.0000e-7, 5.0000e-1]');
      expect(String(fw.zeros([2, 0], on))).to.contain('tensor([[],\n        []], shape [2, 0]');
      expect(String(fw.zeros([2, 1, 1], on))).to.contain('tensor([[[0.]],\n\n        [[0.]]], shape [2, 1, 1]');
    });

    it('shortens more than a thousand elements, of which it reads the ends only, and breaks long lines', () => {
      const x = fw
        .arange(1100, undefined, 1, { dtype: 'int32', ...on })
        .reshape(11, 100)
        .t();
      expect(String(x)).to.equal(
        [
          'tensor([[   0,  100,  200, ...,  800,  900, 1000],',
          '        [   1,  101,  201, ...,  801,  901, 1001],',
          '        [   2,  102,  202, ...,  802,  902, 1002],',
          '        ...,',
          '        [  97,  197,  297, ...,  897,  997, 1097],',
          '        [  98,  198,  298, ...,  898,  998, 1098],',
          `        [  99,  199,  299, ...,  899,  999, 1099]], shape [100, 11], int32, ${device})`,
        ].join('\n'),
      );
      const lines = String(fw.arange(1000, undefined, 1, { dtype: 'int32', ...on })).split('\n');
      expect(lines.length).to.be.above(40);
      expect(Math.max(...lines.map((line) => line.length))).to.be.at.most(100);
      const wide = fw.tensor(1, on).expand(1e6, 1e6);
      expect(String(wide)).to.contain('[1., 1., 1., ..., 1., 1., 1.]');
    });

    it('one line where it stands deep inside something', () => {
      const x = fw.zeros([2], on);
      expect(inspect({ x })).to.contain('tensor([0., 0.], shape [2]');
      expect(inspect({ a: { x } })).to.contain(`Tensor([2], float32, ${device})`);
    });

    it('says that it was disposed of, and why it cannot be read, and leaves nothing behind', () => {
      const live = (): number => fw.memory().devices.reduce((n, d) => n + d.storages, 0);
      const x = fw.ones([50, 50], on);
      const before = live();
      expect(String(x)).to.contain('...');
      expect(live()).to.equal(before);
      x.dispose();
      expect(inspect(x)).to.equal(`Tensor([50, 50], float32, ${device}, disposed)`);
      if (device === 'js') return;
      // Large enough to wait in the queue.
      const failed = fw.ones([3, 400000], on).indexSelect(0, fw.tensor([7], { dtype: 'int32', ...on }));
      expect(inspect(failed)).to.match(/^Tensor\(\[1, 400000\], float32, \S+, failed: .*index/);
    });

    it('JSON.stringify is told what to do', () => {
      const text = /turned into numbers: tolist\(\) or await data\(\), got Tensor\(\[1\], float32/;
      expectError('UNSUPPORTED', text, () => JSON.stringify({ x: fw.zeros([1], on) }));
    });
  });
}
