// Tensors: making them, reading them, views, dtypes, memory.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const usage = (): number => fw.memory().devices.reduce((n, d) => n + d.storages, 0);

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`tensors on ${device}`, () => {
    const t = (data: fw.NestedNumbers, options: object = {}): fw.Tensor => fw.tensor(data, { device, ...options });

    it('takes numbers, nested lists and typed arrays; float32 unless told', async () => {
      expect(t(3).item()).to.equal(3);
      expect(
        t([
          [1, 2],
          [3, 4],
        ]).tolist(),
      ).to.deep.equal([
        [1, 2],
        [3, 4],
      ]);
      const ints = fw.tensor(new Int32Array([1, 2]), { device });
      expect(ints.dtype).to.equal('float32');
      expect(await fw.tensor([1.5, -2], { device, dtype: 'int32' }).data()).to.deep.equal(new Int32Array([1, -2]));
      expect(t([[1, 2, 3, 4]], { shape: [2, 2] }).shape).to.deep.equal([2, 2]);
      expect(fw.zeros([2, 0], { device }).tolist()).to.deep.equal([[], []]);
    });

    it('rejects ragged lists, wrong shapes and wrong dtypes', () => {
      expectError('SHAPE', /full grid/, () => t([[1, 2], [3]]));
      expectError('SHAPE', /shape must be of 3 elements/, () => t([1, 2, 3], { shape: [2, 2] }));
      expectError('INVALID_ARGUMENT', /dtype must be/, () => t([1], { dtype: 'float16' }));
      expectError('INVALID_ARGUMENT', /shape\[1\] must be a whole number/, () => fw.zeros([2, -1], { device }));
      expectError('INVALID_ARGUMENT', /device must be/, () => fw.zeros([1], { device: 'tpu' as fw.Device }));
    });

    it('views share memory; slices, permutations and reshapes read right', () => {
      const x = fw.arange(24, undefined, 1, { device }).reshape(2, 3, 4);
      expect(x.slice(1, 1, 3).slice(2, -2).tolist()).to.deep.equal([
        [
          [6, 7],
          [10, 11],
        ],
        [
          [18, 19],
          [22, 23],
        ],
      ]);
      expect(x.permute(2, 0, 1).shape).to.deep.equal([4, 2, 3]);
      expect(x.transpose(0, 2).reshape(-1).slice(0, 0, 4).tolist()).to.deep.equal([0, 12, 4, 16]);
      expect(x.slice(0, 1, 2).reshape(12).storage).to.equal(x.storage);
      expect(x.expand(2, 2, 3, 4).strides[0]).to.equal(0);
      expectError('SHAPE', /shape must be of 24 elements/, () => x.reshape(5, 5));
      expectError('SHAPE', /expand/, () => x.expand(2, 3, 5));
      expectError('INVALID_ARGUMENT', /dim must be/, () => x.slice(3, 0, 1));
    });

    it('arithmetic broadcasts; dtypes and devices never mix silently', () => {
      expect(
        t([[1], [2]])
          .add(t([10, 20]))
          .tolist(),
      ).to.deep.equal([
        [11, 21],
        [12, 22],
      ]);
      expectError('SHAPE', /do not broadcast/, () => t([1, 2]).add(t([1, 2, 3])));
      expectError('DTYPE', /b must be float32/, () => t([1]).add(fw.tensor([1], { device, dtype: 'int32' })));
      const other = fw.devices().find((d) => d.available && d.device !== device);
      if (other) expectError('DEVICE', /must be on/, () => t([1]).add(fw.tensor([1], { device: other.device })));
      expect(fw.tensor([5, 7], { device, dtype: 'int32' }).mul(3).tolist()).to.deep.equal([15, 21]);
    });

    it('bfloat16 stores in 16 bits, rounds to nearest even, and takes part in operators', () => {
      const x = t([1, 1.00390625, 3.14159, -0]).to('bfloat16');
      expect(x.dtype).to.equal('bfloat16');
      expect(x.dataSync()).to.be.instanceOf(Float32Array);
      expect([...x.dataSync()].slice(0, 3)).to.deep.equal([1, 1, 3.140625]);
      const y = x.mul(x).sum();
      expect(y.dtype).to.equal('bfloat16');
      const w = t([1, 2]).to('bfloat16');
      w.requiresGrad = true;
      w.mul(3).sum().backward();
      expect(w.grad!.dtype).to.equal('bfloat16');
      expect(w.grad!.tolist()).to.deep.equal([3, 3]);
    });

    it('is gone after dispose, with a typed error; disposing twice is harmless', () => {
      const before = usage();
      const x = t([1, 2]);
      const view = x.slice(0, 1);
      x.dispose();
      x.dispose();
      expectError('DISPOSED', /after it was disposed/, () => x.dataSync());
      expectError('DISPOSED', /disposed/, () => x.add(1));
      expect(view.tolist()).to.deep.equal([2]);
      view.dispose();
      expect(usage()).to.equal(before);
    });

    it('scope frees what was made inside and hands out what is returned, also nested', () => {
      const before = usage();
      const { kept, list } = fw.scope(() => {
        const a = t([1]);
        const inner = fw.scope(() => ({ x: a.add(1), y: [a.add(2)] }));
        return { kept: inner.x, list: inner.y };
      });
      expect(usage()).to.equal(before + 2);
      expect(kept.item() + list[0].item()).to.equal(5);
      [kept, ...list].forEach((x) => x.dispose());
      expect(() =>
        fw.scope(() => {
          t([1]);
          throw new Error('stop');
        }),
      ).to.throw('stop');
      expect(usage()).to.equal(before);
    });

    it('random numbers repeat with the seed and are uniform', () => {
      fw.manualSeed(42);
      const a = fw.rand([10001], { device });
      const n = fw.randn([10001], { device });
      fw.manualSeed(42);
      const b = fw.rand([10001], { device });
      expect(a.dataSync()).to.deep.equal(b.dataSync());
      fw.manualSeed(42);
      expect(a.dataSync()).to.deep.equal(fw.rand([10001], { device: 'js' }).dataSync());
      const js = fw.randn([10001], { device: 'js' }).dataSync();
      const own = n.dataSync();
      expect(Math.max(...own.map((x, i) => Math.abs(x - js[i])))).to.be.lessThan(1e-5);
      expect(a.mean().item()).to.be.closeTo(0.5, 0.01);
      expect(n.square().mean().item()).to.be.closeTo(1, 0.05);
      expectError('INVALID_ARGUMENT', /manualSeed/, () => fw.manualSeed(-1));
    });

    it('says where live tensors were made while checks are on', () => {
      for (const [on, places] of [
        [true, 1],
        ['values', 0],
      ] as const) {
        const x = fw.withChecks(on, () => t([1]));
        const made = fw.memory().live.filter((r) => r.site?.includes('tensor.test'));
        expect(made.length).to.equal(places);
        x.dispose();
      }
    });

    it('a number takes the dtype of the tensor beside it', () => {
      expect(t([Infinity, 1e30]).mul(1e-50).tolist()).to.deep.equal([NaN, 0]);
      expect(t([-Infinity, -3e38]).add(5e38).tolist()).to.deep.equal([NaN, Infinity]);
    });

    it('what holds nothing takes no time, whatever its other sizes are', () => {
      const most = 2 ** 45;
      const empty = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device });
      expect(empty(most, 0).cumsum(1).dataSync().length).to.equal(0);
      expect(empty(0, 0).matmul(empty(0, most)).shape).to.deep.equal([0, most]);
      expect(
        empty(most, 0, 2)
          .matmul(empty(most, 2, 0))
          .dataSync().length,
      ).to.equal(0);
      const z = empty(most, 0, 1, 2);
      expect(fw.linearAttention(z, z, z).output.dataSync().length).to.equal(0);
      const labels = fw.zeros([0], { dtype: 'int32', device });
      expect(fw.crossEntropy(empty(0, most), labels, { reduction: 'none' }).size).to.equal(0);
      expectError('UNSUPPORTED', /empty lists/, () => empty(2 ** 33, 0).tolist());
    });

    it('a shape that somebody changed hands out no memory', () => {
      const x = t([1, 2, 3]);
      (x.shape as number[])[0] = 100000;
      expectError('SHAPE', /must be left as it was, of 3 elements/, () => x.add(1));
    });

    it('refuses with typed errors what is no tensor, no dimension, or elsewhere', () => {
      const whole = fw.zeros([2], { dtype: 'int32', device });
      expectError('INVALID_ARGUMENT', /div: b must be a Tensor/, () => whole.div(null as never));
      expectError('INVALID_ARGUMENT', /parts\[0\]/, () => fw.cat(new Array<fw.Tensor>(2)));
      for (const dim of [-1n, Symbol('dim'), [Symbol('dim')], Object.create(null)] as unknown as number[]) {
        expectError('INVALID_ARGUMENT', /dim must be/, () => t([1]).softmax(dim));
      }
      const leaf = fw.ones([2], { device, requiresGrad: true });
      const elsewhere = fw.ones([2], { device: device === 'js' ? 'cpu' : 'js' });
      expectError('DEVICE', /backward: gradient must be on/, () => leaf.backward(elsewhere));
    });

    it('cannot be posted to another thread', () => {
      expectError('DEVICE', /cannot be posted/, () => structuredClone(t([1])));
    });
  });
}
