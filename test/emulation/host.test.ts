// The host's side of the card: order, memory, errors, threads, and how processes and workers end.
import { expect } from 'chai';
import { createRequire } from 'node:module';
import path from 'node:path';
import * as fw from '../../lib';
import { getBackend } from '../../lib/backends';
import { runSource } from '../support/child';
import { LIBRARY } from '../support/library';
import { emulation, onEmulation } from './device';

const MiB = 1 << 20;

if (onEmulation) {
  const card = emulation();
  const device = 'cuda-emulation';
  const file = path.resolve(__dirname, '../../build-emulation/fast_weights_emulation.node');
  const addon = JSON.stringify(file);
  const { memoryUsage } = createRequire(__filename)(file) as { memoryUsage(): { live: number; cached: number } };
  /** Work for some tenths of a second. */
  const burden = (): fw.Tensor => fw.noGrad(() => fw.scope(() => fw.rand([200, 200]).matmul(fw.rand([200, 200]))));
  const burdenSource = `
    const burden = () => fw.noGrad(() => fw.scope(() => fw.rand([200, 200]).matmul(fw.rand([200, 200]))));`;

  /** Prints what `source` returns as JSON; stderr must stay empty, and the process must end well. */
  async function inChild(source: string, env: NodeJS.ProcessEnv = {}): Promise<unknown> {
    const text = `const addon = require(${addon}); const { Worker } = require('node:worker_threads'); ${burdenSource}
      (async () => { ${source} })().then((value) => console.log(JSON.stringify(value)));`;
    const { code, stdout, stderr } = await runSource(text, env);
    expect(stderr).to.equal('');
    expect(code).to.equal(0);
    return stdout === '' ? undefined : JSON.parse(stdout);
  }

  describe('the host of the emulated card', function () {
    this.timeout(120_000);

    it('reads keep their place: later writes and frees do not reach them', async () => {
      const x = fw.full([1000], 1);
      burden();
      const before = x.data();
      fw.noGrad(() => x.add_(5));
      const after = x.data();
      x.dispose();
      fw.full([1000], 9);
      expect((await before)[999]).to.equal(1);
      expect((await after)[999]).to.equal(6);
    });

    it('leaves the event loop free while the card computes', async () => {
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1);
      await burden().data();
      clearInterval(timer);
      expect(ticks).to.be.greaterThan(3);
    });

    it('copies nothing, and more than one piece', async () => {
      expect(await fw.zeros([0, 3]).data()).to.have.length(0);
      expect(fw.zeros([0]).dataSync()).to.have.length(0);
      const n = 70 * (MiB / 4) + 3;
      const values = Float32Array.from({ length: n }, (_, i) => i % 65521);
      const t = fw.tensor(values);
      const [slow, fast] = [await t.data(), t.dataSync()];
      t.dispose();
      for (const copy of [slow, fast])
        expect(Buffer.compare(Buffer.from(copy.buffer), Buffer.from(values.buffer))).to.equal(0);
    });

    it('small blocks stay pinned after large copies, too', async () => {
      const backend = getBackend(device);
      const large = backend.allocate('float32', 300 * (MiB / 4));
      backend.read(large, 0, new Float32Array(300 * (MiB / 4)));
      backend.free(large);
      const small = fw.ones([1]);
      const before = card.pinnedBytes();
      for (let i = 0; i < 3; i++) {
        burden();
        await Promise.all(Array.from({ length: 200 }, () => small.data()));
      }
      expect(card.pinnedBytes() - before).to.be.within(100 << 16, 220 << 16);
    });

    it('one thread may use the card while another waits to give pinned memory back', async () => {
      const result = await inChild(`
        const held = 3000;
        const body = \`
          const addon = require(${addon});
          const { parentPort, workerData } = require('node:worker_threads');
          addon.free(addon.allocate(64));
          parentPort.postMessage('ready');
          Atomics.wait(workerData, 0, 0);
          Atomics.wait(workerData, 0, 1, 300); // the other thread is inside its call by now
          const began = performance.now();
          addon.free(addon.allocate(64));
          parentPort.postMessage(performance.now() - began);
          addon.emulation.hold(0);
        \`;
        const shared = new Int32Array(new SharedArrayBuffer(4));
        const messages = [];
        const worker = new Worker(body, { eval: true, workerData: shared });
        const done = new Promise((resolve, reject) =>
          worker.on('message', (m) => (messages.push(m), messages.length === 2 && resolve())).on('error', reject));
        while (messages.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        const id = addon.allocate(300 << 20);
        addon.emulation.hold(held);
        Atomics.store(shared, 0, 1);
        Atomics.notify(shared, 0);
        addon.write(id, 0, new Float32Array(75 << 20)); // more than stays pinned
        await done;
        return messages[1] < held / 2 || messages[1];`);
      expect(result).to.equal(true);
    });

    it('no kernel is loaded by its first launch, and no call leaves an error to the next', async () => {
      const result = await inChild(`
        const x = fw.ones([3]);
        await Promise.all([1, 2, 3, 4].map(() => x.data())); // four blocks to copy through, all free
        burden();
        for (let i = 0; i < 4; i++) fw.tensor([1, 2]); // the last ones pass by blocks that wait for the burden
        const error = addon.emulation.lastError();
        fw.deltaRule(fw.ones([1, 3, 1, 4]), fw.ones([1, 3, 1, 4]), fw.ones([1, 3, 1, 4])).output.sum().item();
        return [error, addon.emulation.lastError(), addon.emulation.lateKernels()];`);
      expect(result).to.deep.equal(['cudaSuccess', 'cudaSuccess', 0]);
    });

    it('without the cache every block is an allocation of the card of its size', async () => {
      const result = await inChild(
        `const taken = () => { const { total, free } = addon.memoryUsage(); return total - free; };
        const before = taken();
        const [x, y] = [fw.ones([5]), fw.ones([1000])];
        const during = taken();
        fw.noGrad(() => fw.scope(() => { fw.rand([40, 3000]).sum(0).dataSync(); }));
        const [sum, after] = [x.sum().item(), addon.memoryUsage()];
        x.dispose(), y.dispose();
        return [before, during, sum, after.cached, addon.emulation.findings().length];`,
        { FAST_WEIGHTS_CUDA_CACHE: 'off', FAST_WEIGHTS_CHECK: '0' },
      );
      expect(result).to.deep.equal([0, 4 * 1005, 5, 0, 0]);
      const wrong = `try { fw.ones([1]); } catch (error) { return [error.code, error.message]; }`;
      const [code, message] = (await inChild(wrong, { FAST_WEIGHTS_CUDA_CACHE: 'no' })) as [string, string];
      expect(code).to.equal('BACKEND');
      expect(message).to.match(/FAST_WEIGHTS_CUDA_CACHE must be `off` or unset, got "no"/);
    });

    it('memory does not grow over steps', () => {
      const w = fw.rand([24, 24], { requiresGrad: true });
      const step = (): void =>
        fw.scope(() => {
          fw.rand([1, 20, 1, 24]).matmul(w).square().sum().backward();
          w.grad!.dispose();
          w.grad = null;
        });
      const usage = (): number[] => {
        const { live, cached } = memoryUsage();
        return [live, live + cached, card.pinnedBytes()];
      };
      for (let i = 0; i < 5; i++) step();
      const before = usage();
      for (let i = 0; i < 300; i++) step();
      expect(usage()).to.deep.equal(before);
    });

    it('a call that finds no working memory is a typed error and leaves nothing behind', async () => {
      const result = await inChild(
        `const row = () => fw.zeros([1, 4096, 16, 16]);
        const [q, k, v, g] = [row(), row(), row(), row()];
        const ballast = fw.zeros([42 << 18]);
        const run = () => fw.scope(() => fw.noGrad(() => fw.recurrence({ q, k, v, valueGate: g })));
        const before = addon.memoryUsage().live;
        let failure;
        try { run(); } catch (error) { failure = error; }
        return [failure.code, failure.message, addon.memoryUsage().live - before];`,
        { FAST_WEIGHTS_EMULATED_CARD: `memory=${64 * MiB}`, FAST_WEIGHTS_CHECK: '0' },
      );
      const [code, message, left] = result as [string, string, number];
      expect(code).to.equal('OUT_OF_MEMORY');
      expect(message).to.match(/\d+ bytes.*\d+ are free/);
      expect(left).to.equal(0);
    });

    it('no room for a tensor: the error says how much was asked for and how much is free', () => {
      expect(() => fw.zeros([1 << 30])).to.throw(/no room for 4294967296 bytes more: \d+ bytes free, \d+ bytes in use/);
    });

    it('a recurrence of more keys than kernels hold is refused', () => {
      const row = (width: number): fw.Tensor => fw.ones([1, 2, 1, width]);
      const expected = /a recurrence on a card has a state of at most 256 keys per head, got 257/;
      expect(() => fw.deltaRule(row(257), row(257), row(3))).to.throw(fw.FastWeightsError, expected);
      const [q, v, state] = [fw.ones([1, 1, 257]), fw.ones([1, 1, 3]), fw.zeros([1, 1, 257, 3])];
      expect(() => fw.noGrad(() => fw.deltaRule.step(q, q, v, { state }))).to.throw(fw.FastWeightsError, expected);
    });

    it('a card that has failed is not one without memory', async () => {
      const result = await inChild(
        `fw.zeros([10]);
        await new Promise((resolve) => setTimeout(resolve, 200));
        const codes = [];
        for (const call of [() => fw.zeros([8 << 20]), () => fw.zeros([10])]) {
          try { call(); } catch (error) { codes.push(error.code, /the card failed|illegal/.test(error.message)); }
        }
        return codes;`,
        { FAST_WEIGHTS_EMULATED_CARD: 'failLaunch=1', FAST_WEIGHTS_POISON: '' },
      );
      expect(result).to.deep.equal(['BACKEND', true, 'BACKEND', true]);
    });

    it('reads that are under way when the card fails are rejected', async () => {
      const result = await inChild(
        `const x = fw.tensor([1, 2, 3]);
        const settled = await Promise.allSettled([fw.noGrad(() => x.add(1)).data(), x.data(), x.data()]);
        return settled.map(({ status, reason }) => status === 'fulfilled' || reason.code);`,
        { FAST_WEIGHTS_EMULATED_CARD: 'failLaunch=1' },
      );
      expect(result).to.deep.equal(['BACKEND', 'BACKEND', 'BACKEND']);
    });

    it('the process ends well with work still queued', async () => {
      const result = await inChild(`for (let i = 0; i < 10; i++) burden().data(); process.exit(0);`);
      expect(result).to.equal(undefined);
    });

    it('workers that end with reads under way leave nothing pinned or allocated', async () => {
      const result = await inChild(`
        const body = \`
          const addon = require(${addon});
          const [id, out] = [addon.allocate(16 << 20), new Float32Array(4 << 20)];
          for (let i = 0; i < 10; i++) addon.readAsync(id, 0, out);
          require('node:worker_threads').parentPort.postMessage(0);
        \`;
        const before = addon.memoryUsage().live;
        for (let i = 0; i < 5; i++) {
          const work = burden();
          const worker = new Worker(body, { eval: true });
          await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
          await worker.terminate();
          work.dispose();
        }
        await fw.zeros([1]).data();
        return [addon.emulation.pinnedBytes() <= ${300 * MiB}, addon.memoryUsage().live - before < 1 << 20];`);
      expect(result).to.deep.equal([true, true]);
    });

    it('a worker that used the card alone may end', async () => {
      const { code, stdout } = await runSource(
        `
        const { Worker } = require('node:worker_threads');
        const body = \`
          const addon = require(${addon});
          const out = new Float32Array(16);
          addon.readAsync(addon.allocate(64), 0, out);
          require('node:worker_threads').parentPort.postMessage(addon.memoryUsage().live + addon.memoryUsage().cached);
        \`;
        (async () => {
          for (let i = 0; i < 3; i++) {
            const worker = new Worker(body, { eval: true });
            console.log(await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject)));
            await worker.terminate();
          }
        })();`.replace(/^/, 'delete process.env.FAST_WEIGHTS_DEVICE;'),
      );
      expect(code).to.equal(0);
      expect(stdout.trim().split('\n')).to.deep.equal(['2097152', '2097152', '2097152']);
    });

    it('several threads compute at once, with the same results', async () => {
      const result = await inChild(`
        const body = \`
          require('tsx/cjs');
          const fw = require(${JSON.stringify(LIBRARY)});
          const { parentPort } = require('node:worker_threads');
          fw.manualSeed(1);
          const q = fw.rand([2, 40, 2, 16], { requiresGrad: true, low: -0.2, high: 0.2 });
          for (let i = 0; i < 3; i++) fw.scope(() => fw.deltaRule(q, q, q).output.sum().backward());
          parentPort.postMessage([...q.grad.dataSync()].join());
        \`;
        const workers = [0, 1, 2].map(() => new Worker(body, { eval: true }));
        const values = await Promise.all(
          workers.map((w) => new Promise((resolve, reject) => w.on('message', resolve).on('error', reject))));
        return [new Set(values).size, addon.emulation.findings().length];`);
      expect(result).to.deep.equal([1, 0]);
    });
  });
}
