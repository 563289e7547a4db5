// The native device's queue: order, threads, and the event loop.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { runSource } from '../../support/child';
import { LIBRARY } from '../../support/library';

if (fw.devices().some((d) => d.device === 'cpu' && d.available)) {
  const cpu = { device: 'cpu' } as const;
  /** Enough work that the queue is busy for some milliseconds. */
  const burden = (): fw.Tensor => {
    const a = fw.rand([600, 600], cpu);
    return fw.noGrad(() => a.matmul(a).matmul(a).matmul(a));
  };

  describe('queue of the native device', () => {
    it('reads keep their place in the queue: later writes and frees do not reach them', async () => {
      const x = fw.full([1000], 1, cpu);
      burden();
      const before = x.data();
      fw.noGrad(() => x.add_(5));
      const after = x.data();
      x.dispose();
      fw.full([1000], 9, cpu);
      expect((await before)[999]).to.equal(1);
      expect((await after)[999]).to.equal(6);
    });

    it('uploads keep their place, too', () => {
      const x = fw.full([500], 1, cpu);
      burden();
      const copy = fw.noGrad(() => x.mul(1));
      x.dispose();
      const y = fw.tensor(new Float32Array(500).fill(7), cpu);
      expect(copy.dataSync()[499]).to.equal(1);
      expect(y.dataSync()[0]).to.equal(7);
    });

    it('gives the same bits for any number of threads, and for a sequence whatever else is in its batch', () => {
      const shape = [3, 150, 2, 24];
      const [q, k, v] = [0, 1, 2].map(() => fw.rand(shape, { ...cpu, low: -0.2, high: 0.2 }));
      const run = (part: (t: fw.Tensor) => fw.Tensor): Float32Array =>
        fw.noGrad(() => fw.scope(() => fw.deltaRule(part(q), part(k), part(v)).output.dataSync() as Float32Array));
      const whole = run((t) => t);
      fw.setNumThreads(1);
      expect(run((t) => t)).to.deep.equal(whole);
      fw.setNumThreads(2);
      const size = whole.length / 3;
      expect(run((t) => t.slice(0, 1, 2))).to.deep.equal(whole.slice(size, 2 * size));
      const [a, b] = [fw.rand([70, 90], cpu), fw.rand([90, 33], cpu)];
      const product = a.matmul(b).dataSync();
      expect(a.slice(0, 5, 6).matmul(b).dataSync()).to.deep.equal(product.slice(5 * 33, 6 * 33));
    });

    it('leaves the event loop free while it computes', async () => {
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1);
      for (let i = 0; i < 5; i++) await fw.scope(() => burden()).data();
      clearInterval(timer);
      expect(ticks).to.be.greaterThan(3);
    });

    it('the process ends well with work still queued', async () => {
      const { code, stderr } = await runSource(`
        const a = fw.rand([900, 900], { device: 'cpu' });
        for (let i = 0; i < 20; i++) fw.noGrad(() => a.matmul(a));
        a.data();
        process.exit(0);`);
      expect(stderr).to.equal('');
      expect(code).to.equal(0);
    });

    it('several threads compute at once and end at any time', async () => {
      const { code, stdout, stderr } = await runSource(`
        const { Worker, isMainThread, parentPort } = require('node:worker_threads');
        const body = (library) => \`
          require('tsx/cjs');
          const fw = require(\${JSON.stringify(library)});
          const { parentPort } = require('node:worker_threads');
          fw.manualSeed(1);
          const q = fw.rand([2, 300, 4, 32], { device: 'cpu', requiresGrad: true, low: -0.2, high: 0.2 });
          for (let i = 0; i < 5; i++) fw.scope(() => fw.deltaRule(q, q, q).output.sum().backward());
          parentPort.postMessage(q.grad.dataSync()[77]);
          fw.rand([800, 800], { device: 'cpu' }).matmul(fw.rand([800, 800], { device: 'cpu' })).data();
        \`;
        const library = ${JSON.stringify(LIBRARY)};
        const workers = [0, 1, 2].map(() => new Worker(body(library), { eval: true }));
        Promise.all(workers.map((w) => new Promise((resolve, reject) => { w.on('message', resolve); w.on('error', reject); })))
          .then(async (values) => {
            await workers[0].terminate();
            console.log(new Set(values).size, Number.isFinite(values[0]));
          });`);
      expect(stderr).to.equal('');
      expect(stdout.trim()).to.equal('1 true');
      expect(code).to.equal(0);
    });
  });
}
