// The compute threads: how many there are, what they cost when idle, and worker threads of Node.js that share them.
import { expect } from 'chai';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fw from '../../../lib';
import { finish, runSource } from '../../support/child';
import { LIBRARY, repository } from '../../support/library';
import { expectError } from '../../support/errors';

const load = createRequire(__filename);

interface ThreadsOfAddon {
  numThreads(): number;
  /** Of the control groups below another root than /. */
  cgroupCores(root: string): number;
}

function addonPath(): string {
  const { resolve } = load('node-gyp-build') as { resolve: (dir: string) => string };
  return process.env.FAST_WEIGHTS_NATIVE_PATH ?? resolve(repository);
}

/** Source of a function that trains for a few steps and returns the sum of the weights' bits. */
const TRAIN = `function train(fw) {
  fw.manualSeed(3);
  const model = fw.createModel('deltanet', { vocabSize: 50, hiddenSize: 64, numLayers: 2, numHeads: 2, device: 'cpu' });
  const optimizer = new fw.optim.AdamW(model.namedParameters(), { lr: 1e-2 });
  const ids = fw.tensor(Int32Array.from({ length: 600 }, (_, i) => (i * i) % 50), { shape: [4, 150], dtype: 'int32', device: 'cpu' });
  for (let i = 0; i < 4; i++) {
    fw.scope(() => model.forward(ids, { labels: ids }).loss.backward());
    optimizer.step();
    optimizer.zeroGrad();
  }
  const hash = require('node:crypto').createHash('sha256');
  for (const [, t] of model.namedParameters()) hash.update(t.detach().dataSync());
  return hash.digest('hex');
}`;

/** Source of a function that runs source text in a worker, with the library as \`fw\`. */
const WORKER = `const { Worker } = require('node:worker_threads');
function inWorker(body) {
  const source = "require('tsx/cjs'); const { parentPort } = require('node:worker_threads');" +
    'const fw = require(' + ${JSON.stringify(JSON.stringify(LIBRARY))} + ');' + body;
  const worker = new Worker(source, { eval: true });
  return { worker, message: new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject)) };
}`;

/** A program that terminates 100 workers, each a little later than the last, once they load the addon it is given. */
const TERMINATE_LOADING = `
  const { Worker } = require('node:worker_threads');
  const addon = process.argv[1];
  const body = "const { flag, addon } = require('node:worker_threads').workerData; Atomics.store(flag, 0, 1);" +
    "process.dlopen({ exports: {} }, addon); Atomics.store(flag, 0, 2); for (;;);";
  (async () => {
    require(addon);
    let loading = 0;
    for (let i = 0; i < 100; i++) {
      const flag = new Int32Array(new SharedArrayBuffer(4));
      const worker = new Worker(body, { eval: true, workerData: { flag, addon } });
      while (Atomics.load(flag, 0) === 0) await new Promise((resolve) => setImmediate(resolve));
      for (const end = performance.now() + i / 200; performance.now() < end; );
      if (Atomics.load(flag, 0) === 1) loading++;
      await worker.terminate();
    }
    console.log(loading);
  })();`;

if (fw.devices().some((d) => d.device === 'cpu' && d.available)) {
  describe('threads of the native device', () => {
    it('train in several workers at once with the bits of one alone, on any number of threads', async () => {
      const { code, stdout, stderr } = await runSource(`${TRAIN}${WORKER}
        fw.setNumThreads(1);
        const results = new Set([train(fw)]);
        fw.setNumThreads(3);
        results.add(train(fw));
        const body = ${JSON.stringify(TRAIN)} + '; parentPort.postMessage(train(fw));';
        Promise.all([0, 1, 2].map(() => inWorker(body).message)).then((hashes) => {
          hashes.forEach((hash) => results.add(hash));
          console.log(results.size);
        });`);
      expect(stderr).to.equal('');
      expect(stdout.trim()).to.equal('1');
      expect(code).to.equal(0);
    });

    it('outlive workers that are terminated with work in their queues', async () => {
      const { code, stdout, stderr } = await runSource(`${WORKER}
        const body = \`
          const a = fw.rand([500, 500], { device: 'cpu' });
          for (let i = 0; i < 60; i++) fw.noGrad(() => fw.scope(() => void a.matmul(a)));
          a.data();
          parentPort.postMessage('queued');\`;
        (async () => {
          for (let i = 0; i < 3; i++) {
            const pair = [inWorker(body), inWorker(body)];
            for (const { worker, message } of pair) { await message; await worker.terminate(); }
            const a = fw.ones([64, 64], { device: 'cpu' });
            console.log((await a.matmul(a).data())[9]);
          }
        })();`);
      expect(stderr).to.equal('');
      expect(stdout.trim().split('\n')).to.deep.equal(['64', '64', '64']);
      expect(code).to.equal(0);
    });

    it('outlive workers that are terminated while they load the addon', async () => {
      const { code, stdout, stderr } = await finish(
        spawn(process.execPath, ['-e', TERMINATE_LOADING, addonPath()], { cwd: repository }),
      );
      expect(stderr).to.equal('');
      expect(Number(stdout), 'workers of 100 that were still loading').to.be.greaterThan(0);
      expect(code).to.equal(0);
    });

    it('take no processor time when there is nothing to do', async () => {
      const { stdout } = await runSource(`
        fw.setNumThreads(2);
        const a = fw.rand([400, 400], { device: 'cpu' });
        const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        (async () => {
          for (let i = 0; i < 5; i++) await fw.noGrad(() => a.matmul(a)).data();
          await sleep(100);
          const before = process.cpuUsage();
          await sleep(300);
          const { user, system } = process.cpuUsage(before);
          console.log((user + system) / 1000);
        })();`);
      expect(Number(stdout), 'milliseconds of 300; a thread that spins takes all of them').to.be.lessThan(150);
    });

    it('a queue longer than a training step keeps its order', () => {
      const x = fw.zeros([3], { device: 'cpu' });
      const a = fw.rand([500, 500], { device: 'cpu' });
      const run = (): void =>
        fw.noGrad(() => {
          fw.scope(() => void a.matmul(a).matmul(a));
          for (let i = 0; i < 3000; i++) i % 2 ? x.add_(3) : x.mul_(0.5);
        });
      run();
      expect(x.dataSync()[2]).to.be.closeTo(6, 1e-5);
      run();
      run();
      expect(x.dataSync()[0]).to.be.closeTo(6, 1e-5);
    });

    it('refuse to be none, halves or too many', () => {
      for (const n of [0, -1, 1.5, NaN, Infinity, 4096, '2']) {
        expectError('INVALID_ARGUMENT', /setNumThreads: n must be .*1/, () => fw.setNumThreads(n as number));
      }
    });

    it('keep off the core of whoever waits for them, where they would wait behind it', async function () {
      if (process.platform !== 'linux') return this.skip();
      // New threads miss the first regions, which end before they have come up.
      const { stdout } = await runSource(`
        const { readdirSync, readFileSync } = require('node:fs');
        const cores = (path) => {
          const [, list] = /Cpus_allowed_list:\\s*(\\S+)/.exec(readFileSync(path + '/status', 'utf8'));
          return list.split(',').map((range) => range.split('-').map(Number))
            .reduce((sum, [first, last = first]) => sum + last - first + 1, 0);
        };
        const all = cores('/proc/self');
        const fewer = () =>
          readdirSync('/proc/self/task').map((id) => cores('/proc/self/task/' + id)).filter((n) => n < all);
        const x = fw.zeros([50000], { device: 'cpu' });
        (async () => {
          let found = [];
          for (let i = 0; i < 100 && found.length === 0; i++) {
            fw.setNumThreads(1);
            fw.setNumThreads(2);
            for (let j = 0; j < 20; j++) fw.noGrad(() => x.add_(1));
            found = fewer();
            await x.data();
          }
          console.log(JSON.stringify([all, found]));
        })();`);
      const [cores, found] = JSON.parse(stdout) as [number, number[]];
      expect(found).to.eql(cores > 1 ? [cores - 1] : []);
    });

    it('are as many as the affinity mask allows, until told otherwise', async function () {
      if (process.platform !== 'linux' || spawnSync('taskset', ['--version']).status !== 0) return this.skip();
      const core = /Cpus_allowed_list:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1];
      const source = `console.log(require(${JSON.stringify(addonPath())}).numThreads())`;
      const { stdout } = await finish(spawn('taskset', ['-c', core, process.execPath, '-e', source]));
      expect(stdout.trim()).to.equal('1');
    });

    describe('control groups', () => {
      const { cgroupCores } = load(addonPath()) as ThreadsOfAddon;
      let root: string;
      beforeEach(() => (root = mkdtempSync(path.join(tmpdir(), 'fw-cgroup-'))));
      afterEach(() => rmSync(root, { recursive: true }));

      const cores = (files: Record<string, string>): number => {
        for (const [name, text] of Object.entries(files)) {
          const file = path.join(root, name);
          mkdirSync(path.dirname(file), { recursive: true });
          writeFileSync(file, text);
        }
        return cgroupCores(root);
      };
      const group = 'sys/fs/cgroup';

      it('version 2: its own quota, rounded up', () => {
        expect(cores({ 'proc/self/cgroup': '0::/a/b\n', [`${group}/a/b/cpu.max`]: '250000 100000\n' })).to.equal(3);
      });

      it('version 2: the least of all around it', () => {
        const files = {
          'proc/self/cgroup': '0::/a/b\n',
          [`${group}/cpu.max`]: '800000 100000\n',
          [`${group}/a/cpu.max`]: '150000 100000\n',
          [`${group}/a/b/cpu.max`]: 'max 100000\n',
        };
        expect(cores(files)).to.equal(2);
      });

      it('version 2: at the root, and in a container that sees only the mount', () => {
        expect(cores({ 'proc/self/cgroup': '0::/\n', [`${group}/cpu.max`]: '50000 100000\n' })).to.equal(1);
        expect(cores({ 'proc/self/cgroup': '0::/docker/123\n' })).to.equal(1);
      });

      it('version 1, among other controllers', () => {
        const files = {
          'proc/self/cgroup': '9:cpuset:/x\n4:cpu,cpuacct:/a/b\n0::/user.slice\n',
          [`${group}/cpu/cpu.cfs_quota_us`]: '-1\n',
          [`${group}/cpu/cpu.cfs_period_us`]: '100000\n',
          [`${group}/cpu/a/cpu.cfs_quota_us`]: '400000\n',
          [`${group}/cpu/a/cpu.cfs_period_us`]: '100000\n',
          [`${group}/cpu/a/b/cpu.cfs_quota_us`]: '-1\n',
          [`${group}/cpu/a/b/cpu.cfs_period_us`]: '100000\n',
        };
        expect(cores(files)).to.equal(4);
      });

      it('no limit, no groups, nonsense', () => {
        expect(cores({})).to.equal(0);
        expect(cores({ 'proc/self/cgroup': '0::/a\n', [`${group}/a/cpu.max`]: 'max 100000\n' })).to.equal(0);
        expect(cores({ 'proc/self/cgroup': 'nonsense\n', [`${group}/cpu.max`]: '100000 100000\n' })).to.equal(0);
        expect(
          cores({ 'proc/self/cgroup': '0::/a\n', [`${group}/a/cpu.max`]: '\n', [`${group}/cpu.max`]: '1 0\n' }),
        ).to.equal(0);
      });
    });
  });
}
