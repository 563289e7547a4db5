// What fails in the queue reaches the reads that depend on it, and no other.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { type Backend, getBackend } from '../../../lib/backends';
import { expectError, expectRejection } from '../../support/errors';
import { runSource } from '../../support/child';
import { compileShim, gcc } from '../../support/shim';

if (fw.devices().some((d) => d.device === 'cpu' && d.available)) {
  const cpu = { device: 'cpu' } as const;
  /**
   * What `f` gives behind enough work that it is queued: where the queue was empty by then (the call threw at once),
   * behind more.
   */
  const queued = <T>(f: () => T, rows = 600): T => {
    const a = fw.rand([rows, rows], cpu);
    fw.noGrad(() => a.matmul(a).matmul(a).matmul(a));
    try {
      return f();
    } catch (error) {
      if (rows > 3000) throw error;
      return queued(f, rows * 2);
    }
  };
  /** A queued lookup that fails. */
  const failing = (): fw.Tensor => {
    const [weight, indices] = [fw.ones([4, 2], cpu), fw.tensor([1, 4], { dtype: 'int32', ...cpu })];
    return queued(() => fw.embedding(weight, indices));
  };
  const INDEX = /embedding: indices must be from 0 to 3, got 4 at position 1/;

  describe('failures in the queue', () => {
    it('reach what was made of them, however it is read', async () => {
      const y = failing();
      const after = y.mul(2).sum();
      const bystander = fw.ones([3], cpu).add(1);
      expect([...(await bystander.data())]).to.deep.equal([2, 2, 2]);
      for (const t of [y, after]) {
        const error = await expectRejection('INVALID_ARGUMENT', INDEX, t.data());
        expect(error).to.deep.include({ argument: 'indices', expected: 'from 0 to 3', found: '4 at position 1' });
        expectError('INVALID_ARGUMENT', INDEX, () => t.dataSync());
      }
      expect([...bystander.dataSync()]).to.deep.equal([2, 2, 2]);
    });

    it('reach what was changed in place, until it is written anew', async () => {
      const [added, written, copied] = [0, 1, 2].map(() => fw.zeros([2, 2], cpu));
      const y = failing();
      fw.noGrad(() => [added.add_(y), written.add_(y), copied.slice(0, 0, 1).copy_(y.slice(0, 0, 1))]);
      for (const t of [added, written, copied]) await expectRejection('INVALID_ARGUMENT', INDEX, t.data());
      fw.noGrad(() => [written.copy_(fw.ones([2, 2], cpu)), added.slice(0, 0, 1).copy_(fw.ones([1, 2], cpu))]);
      expect([...(await written.data())]).to.deep.equal([1, 1, 1, 1]);
      await expectRejection('INVALID_ARGUMENT', INDEX, added.data());
    });

    it('reach gradients, and end with the tensors that they follow', async () => {
      const w = fw.ones([4, 2], { ...cpu, requiresGrad: true });
      const indices = fw.tensor([1, 4], { dtype: 'int32', ...cpu });
      queued(() => fw.embedding(w, indices).sum().backward());
      await expectRejection('INVALID_ARGUMENT', INDEX, w.grad!.data());
      w.grad!.dispose();
      w.grad = null;
      w.sum().backward();
      expect([...(await w.grad!.data())]).to.deep.equal(new Array(8).fill(1));
    });

    it('are thrown at once where the call runs at once', () => {
      const [weight, indices] = [fw.ones([4, 2], cpu), fw.tensor([1, 4], { dtype: 'int32', ...cpu })];
      fw.ones([1], cpu).item();
      expectError('INVALID_ARGUMENT', INDEX, () => fw.embedding(weight, indices));
    });

    if (gcc()) {
      it('keep what kind they were: scratch memory that cannot be had', async () => {
        const { code, stdout, stderr } = await runSource(
          `
          fw.setNumThreads(2);
          (async () => {
            const other = fw.ones([4], { device: 'cpu' });
            const a = fw.rand([800, 800], { device: 'cpu' });
            a.dataSync();
            // Less than a packed matrix, and more than the engine asks for when its table of strings grows.
            process.env.FAIL_MEMALIGN = '2000000';
            const y = a.matmul(a);
            console.log([...(await other.data())].join());
            const { code, message } = await y.add(1).data().catch((error) => error);
            console.log(code, message);
            process.env.FAIL_MEMALIGN = '';
            console.log((await a.matmul(a).data()).length);
          })();`,
          { LD_PRELOAD: compileShim('memalign') },
        );
        expect(stderr).to.equal('');
        expect(stdout).to.match(/^1,1,1,1\nOUT_OF_MEMORY .*matmul: the system has no memory left\n640000\n$/);
        expect(code).to.equal(0);
      });

      it('the process computes and ends where no thread can be made', async () => {
        const { code, stdout, stderr } = await runSource(
          `
          (async () => {
            const [x, big] = [fw.zeros([10], { device: 'cpu' }), fw.tensor(new Float32Array(1 << 20), { device: 'cpu' })];
            process.env.FAIL_PTHREAD = '1';
            const a = fw.ones([512, 512], { device: 'cpu' });
            console.log((await x.add(1).data())[0], (await a.matmul(a).data())[0], (await big.data()).length);
            process.env.FAIL_PTHREAD = '';
            console.log((await a.matmul(a).data())[0]);
          })();`,
          { LD_PRELOAD: compileShim('pthread') },
        );
        expect(stderr).to.equal('');
        expect(stdout).to.equal('1 512 1048576\n512\n');
        expect(code).to.equal(0);
      });
    }
  });

  describe('calls of kernels that do not fit their buffers', () => {
    const { kernels } = getBackend('cpu');
    const y = fw.zeros([5], cpu);
    const part = fw.zeros([20], cpu).slice(0, 5, 10);

    const CALLS: [string, RegExp, () => void][] = [
      [
        'more elements than the tensor',
        /y holds 5 elements of the 6/,
        () => kernels.fill({ y, n: 6, value: 1, dtype: 0 }),
      ],
      ['more than a view, inside its block', /y holds 5/, () => kernels.fill({ y: part, n: 6, value: 1, dtype: 0 })],
      ['fewer than none', /a size is negative/, () => kernels.fill({ y, n: -1, value: 1, dtype: 0 })],
      ['no number', /a whole number is needed/, () => kernels.fill({ y, n: NaN, value: 1, dtype: 0 })],
      ['another dtype', /dtype is not that of y/, () => kernels.fill({ y, n: 5, value: 1, dtype: 2 })],
      ['an unknown operation', /op is 99/, () => kernels.unary({ x: y, y, n: 5, op: 99, a: 0, b: 0 })],
      [
        'sizes beyond any memory',
        /larger than any memory/,
        () => kernels.cumsum({ x: y, y, outer: 2 ** 40, n: 2 ** 40, inner: 1, reverse: 0 }),
      ],
      [
        'strides that leave the tensor',
        /x holds 5 elements of the 9/,
        () => kernels.copy({ x: y, y, shape: [5], xStrides: [2], yStrides: [1], bytes: 4 }),
      ],
      [
        'strides backwards',
        /a size is negative/,
        () => kernels.copy({ x: y, y, shape: [5], xStrides: [-1], yStrides: [1], bytes: 4 }),
      ],
      ...(['gateWidth', 'betaWidth'] as const).map((width): [string, RegExp, () => void] => [
        `a ${width} without its operand, of a width of 0`,
        new RegExp(`${width} is that of a`),
        () =>
          kernels.recurrenceStep({
            ...{ q: fw.zeros([1, 1, 0], cpu), k: fw.zeros([1, 1, 0], cpu), v: fw.zeros([1, 1, 0], cpu) },
            ...{ gate: null, beta: null, eraseKey: null, writeKey: null, bonus: null },
            ...{
              state: fw.zeros([64], cpu),
              output: fw.zeros([64], cpu),
              sequences: 1,
              heads: 1,
              keyDim: 0,
              valueDim: 0,
            },
            ...{ scale: 1, eraseFrom: 0, secondWrite: 0, readBefore: 0, exchanged: 0, gateWidth: 0, betaWidth: 0 },
            [width]: 1,
          }),
      ]),
      ...([
        ['chunks that end elsewhere than the tokens', /chunk does not divide the tokens/, { chunk: 3 }],
        ['chunks of no tokens', /chunk does not divide the tokens/, { chunk: 0 }],
        ['a learner without its rates', /are not those of momentum/, { momentum: 1 }],
        ['a norm of another width', /valueDim is keyDim/, { keyDim: 24, normWeight: y, normBias: y }],
        ['a learner of wider keys', /k holds 64 elements of the 96/, { keyDim: 24 }],
      ].map(([name, message, wrong]) => [
        name,
        message,
        () => {
          const [x, rates] = [fw.zeros([4, 16], cpu), fw.zeros([4, 1], cpu)];
          kernels.linearLearner({
            ...{ q: fw.zeros([4, 24], cpu), k: x, target: x, theta: rates, scale: rates, alpha: null, eta: null },
            ...{ normWeight: null, normBias: null, initialState: fw.zeros([24, 16], cpu), initialMomentum: null },
            ...{
              output: y,
              finalState: y,
              finalMomentum: null,
              states: null,
              reads: null,
              sequences: 1,
              tokens: 4,
              heads: 1,
            },
            ...{ keyDim: 16, valueDim: 16, chunk: 2, bias: 0, momentum: 0, addsRead: 0, eps: 0, ...(wrong as object) },
          });
        },
      ]) as [string, RegExp, () => void][]),
      [
        'a table with fewer rows',
        /weight holds 5 elements of the 10/,
        () =>
          kernels.embedding({
            weight: y,
            indices: fw.zeros([1], { dtype: 'int32', ...cpu }),
            y,
            rows: 1,
            d: 5,
            vocabulary: 2,
          }),
      ],
    ];
    for (const [name, message, call] of CALLS) {
      it(`${name}: refused, nothing touched`, () => {
        expectError('BACKEND', message, call);
        expect([...y.dataSync()]).to.deep.equal([0, 0, 0, 0, 0]);
      });
    }

    it('offsets of packed sequences are looked at before a kernel follows them', () => {
      const x = fw.ones([1, 6, 4], cpu);
      const call = (values: number[]): void =>
        kernels.shortConv({
          x,
          weight: fw.ones([4, 2], cpu),
          bias: null,
          initialState: null,
          offsets: fw.tensor(values, { dtype: 'int32', ...cpu }),
          y: fw.zeros([1, 6, 4], cpu),
          finalState: null,
          sequences: values.length - 1,
          tokens: 6,
          d: 4,
          width: 2,
          activation: 0,
        });
      for (const values of [
        [0, 7],
        [1, 6],
        [0, 5, 3, 6],
        [0, -2, 6],
        [0, 3],
        [0, 1e9, 6],
      ]) {
        expectError('INVALID_ARGUMENT', /offsets must be from 0 to 6, got/, () => call(values));
      }
      call([0, 2, 2, 6]);
    });

    it('tensors and handles of another device are refused', () => {
      const foreign = fw.zeros([5], { device: 'js' });
      expectError('DEVICE', /takes tensors on it/, () => kernels.fill({ y: foreign, n: 5, value: 1, dtype: 0 }));
      expectError('DEVICE', /handles of its own/, () => getBackend('js').kernels.fill({ y, n: 5, value: 1, dtype: 0 }));
      const [native, js]: Backend[] = [getBackend('cpu'), getBackend('js')];
      const out = new Float32Array(5);
      expectError('DEVICE', /handles of its own/, () => native.read(foreign.storage.handle, 0, out));
      expectError('DEVICE', /handles of its own/, () => js.read(y.storage.handle, 0, out));
    });

    it('copies stay inside what was asked for', () => {
      const { memory, handle } = y.storage;
      expectError('BACKEND', /24 bytes from 0 on leave a block of 20/, () =>
        memory.read(handle, 0, new Float32Array(6)),
      );
      expectError('BACKEND', /leave a block/, () => memory.write(handle, 1, new Float32Array(5)));
      expectError('BACKEND', /leave a block/, () => memory.write(handle, -1, new Float32Array(1)));
      expectError('BACKEND', /a number is needed/, () => memory.read(handle, NaN, new Float32Array(1)));
      expectError('BACKEND', /no live block/, () => memory.free(12345));
      expectError('OUT_OF_MEMORY', /no room for Infinity bytes/, () => memory.allocate('float32', Infinity));
    });
  });
}
