// What the tests of several cards run in a process that sees two: onCards.ts <scenario>... prints their
// outcomes as JSON.
import { Worker } from 'node:worker_threads';
import * as fw from '../../lib';
import type { Device } from '../../lib/core';
import { emulation } from './device';
import { first, mixedKernels, mixedOperators, mixedRules, notRefused, second } from './mixedCards';

/** A step of training of a small model; nothing waits for it. */
function trainee(device: Device): { step: () => void; weights: () => number[][] } {
  const model = fw.withSeed(5, () =>
    fw.createModel('deltanet', { hiddenSize: 16, numLayers: 1, numHeads: 2, vocabSize: 11, device }),
  );
  const optimizer = new fw.optim.AdamW(model.parameters(), { lr: 0.01 });
  let n = 0;
  const step = (): void =>
    fw.scope(() => {
      n++;
      const ids = fw.tensor(
        Int32Array.from({ length: 14 }, (_, i) => (i * n) % 11),
        { shape: [2, 7], dtype: 'int32', device },
      );
      model.forward(ids, { labels: ids }).loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
    });
  return { step, weights: () => model.namedParameters().map(([, t]) => [...t.dataSync()]) };
}

function copies(): unknown {
  const given = fw.arange(0, 24, 1, { device: first });
  const kinds = ['float32', 'bfloat16', 'int32', 'bool'] as const;
  const there = kinds.map((dtype) => given.to(dtype).to(second));
  const turned = given.reshape([4, 6]).transpose(0, 1).to(second);
  const part = given.slice(0, 5, 9).to(second);
  const empty = fw.zeros([0, 3], { device: first }).to(second);
  const leaf = fw.ones([3], { device: first, requiresGrad: true });
  leaf
    .to(second)
    .mul(fw.tensor([1, 2, 3], { device: second }))
    .sum()
    .backward();
  return {
    devices: [...there, turned, part, empty, leaf.grad!].map((t) => t.device),
    back: there.map((t) => t.to('cuda-emulation:0').tolist()),
    here: there.map((t) => t.tolist()),
    turned: turned.tolist(),
    part: part.add(1).tolist(),
    empty: empty.shape,
    gradient: leaf.grad!.tolist(),
  };
}

/** With the streams held, what is queued cannot have run when the calls return. */
async function asynchronous(): Promise<unknown> {
  const x = fw.ones([1000], { device: first });
  x.to(second).dataSync();
  const before = emulation().launches();
  emulation().hold(60_000);
  const y = x.add(1).to(second).mul(3).to(first).add(x);
  const launches = emulation().launches() - before;
  const read = y.data();
  emulation().hold(0);
  return { launches, sums: [...new Set(await read)], sum: y.sum().item() };
}

/** Blocks of each card are used again while copies of what was in them are still to be made. */
function reuse(): unknown {
  const wrong: string[] = [];
  for (let round = 0; round < 20; round++) {
    const kept = fw.scope(() =>
      [0, 1, 2].map((i) => {
        const x = fw.full([3000], round * 3 + i, { device: first });
        const y = x.to(second);
        x.dispose();
        fw.full([3000], -1, { device: first }).dispose();
        const z = y.to(first);
        y.dispose();
        fw.full([3000], -2, { device: second }).dispose();
        return z;
      }),
    );
    kept.forEach((t, i) => {
      const found = new Set(t.dataSync());
      if (found.size !== 1 || !found.has(round * 3 + i)) wrong.push(`${round}, ${i}: ${[...found].join(' ')}`);
      t.dispose();
    });
  }
  return wrong;
}

async function faults(): Promise<unknown> {
  const lookUp = (id: number): fw.Tensor =>
    fw.embedding(fw.ones([4, 2], { device: first }), fw.tensor([0, id], { dtype: 'int32', device: first }));
  const said = async (t: fw.Tensor): Promise<string> =>
    t.data().then(
      (data) => [...data].join(' '),
      (error: Error) => error.message,
    );
  const [good, bad] = [lookUp(3), lookUp(4)];
  const copies = [good, bad].map((t) => t.to(second).mul(2));
  const back = copies[1].to(first);
  const queued = await Promise.all([...copies, back, good, bad].map(said));
  // It is known to have failed by now.
  const late = await said(bad.to(second));
  // More than the card has slots for.
  const many = Array.from({ length: 600 }, (_, i) => lookUp(i === 5 || i === 300 ? 4 : 1).to(second));
  const failed = (await Promise.all(many.map(said))).flatMap((text, i) => (text === '1 1 1 1' ? [] : [i]));
  return { queued, late, failed };
}

function memory(): unknown {
  const usage = (): object =>
    Object.fromEntries(fw.memory().devices.map(({ device, storages, bytes }) => [device, { storages, bytes }]));
  const cached = (): object => Object.fromEntries(fw.memory().devices.map((d) => [d.device, d.cachedBytes]));
  const large = [first, second].map((device) => fw.zeros([10 << 20], { device }));
  const made = usage();
  const full = refusalText(() => fw.zeros([10 << 20], { device: second }));
  large[1].dispose();
  const after = usage();
  const kept = cached();
  fw.trimMemory();
  const again = fw.zeros([10 << 20], { device: second }).device;
  return { made, full, after, kept, again };
}

function refusalText(call: () => unknown): string {
  try {
    call();
    return '';
  } catch (error) {
    const { code, message } = error as fw.FastWeightsError;
    return `${code} ${message}`;
  }
}

/** A launch of the second card is the one that fails. */
function death(): unknown {
  const x = fw.ones([8], { device: first });
  const y = fw.ones([8], { device: second });
  const there = refusalText(() => {
    for (let i = emulation().launches(); i < 20; i++) y.add(1).dispose();
    y.sum().item();
  });
  return {
    there,
    again: refusalText(() => y.add(1)),
    copy: refusalText(() => y.to(first).dataSync()),
    here: x.add(1).sum().item(),
  };
}

async function workers(): Promise<unknown> {
  const body = (device: string): string => `
    require('tsx/cjs');
    const fw = require(${JSON.stringify(require.resolve('../../lib'))});
    let x = fw.ones([64, 64], { device: ${JSON.stringify(device)} });
    for (let i = 0; i < 20; i++) x = x.matmul(x).mul(1 / 64).to(${JSON.stringify(first)}).to(${JSON.stringify(second)}).to(${JSON.stringify(device)});
    require('node:worker_threads').parentPort.postMessage([x.device, x.mean().item()]);`;
  const ends = [first, second, second].map(
    (device) =>
      new Promise((resolve, reject) => {
        new Worker(body(device), { eval: true }).on('message', resolve).on('error', reject);
      }),
  );
  const own = fw.ones([5], { device: second }).sum().item();
  return { own, theirs: await Promise.all(ends) };
}

/** Two models, each on its card, step by step, and the same one on the first card alone. */
function training(): unknown {
  const models = [trainee(first), trainee(second)];
  for (let i = 0; i < 4; i++) models.forEach((model) => model.step());
  const alone = trainee(first);
  for (let i = 0; i < 4; i++) alone.step();
  const [a, b, c] = [...models, alone].map((model) => JSON.stringify(model.weights()));
  return { same: a === c && b === c, finite: !/null/.test(c), moved: c !== JSON.stringify(trainee(first).weights()) };
}

/** A model and its optimiser go on from one card to the other. */
function moving(): unknown {
  const model = new fw.nn.Linear(4, 4, { device: first });
  const optimizer = new fw.optim.AdamW(model.parameters(), { lr: 0.1 });
  const step = (device: Device): void =>
    fw.scope(() => {
      model
        .forward(fw.ones([2, 4], { device }))
        .sum()
        .backward();
      optimizer.step();
      optimizer.zeroGrad();
    });
  step(first);
  model.to(second);
  step(second);
  return model.parameters().map((t) => t.device);
}

const scenarios: Record<string, () => unknown> = {
  kernels: () => notRefused(mixedKernels()),
  rules: () => notRefused(mixedRules()),
  operators: () => notRefused(mixedOperators()),
  copies,
  asynchronous,
  reuse,
  faults,
  memory,
  death,
  workers,
  training,
  moving,
};

void (async () => {
  const outcomes: Record<string, unknown> = {};
  for (const name of process.argv.slice(2)) outcomes[name] = await scenarios[name]();
  console.log(JSON.stringify({ outcomes, findings: emulation().findings() }));
})();
