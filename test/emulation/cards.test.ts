// Several cards in one process: tensors know theirs, operators refuse two, copies keep the order of both queues, and what
// happens to one card is nothing to the others.
import { expect } from 'chai';
import { join } from 'node:path';
import { LOADER, PROGRAM } from '../support/library';
import { withFolder } from '../train/support';
import { describeEmulated, onCard, runOnCard } from './support';
import type { Outcome } from './training.test';

const [first, second] = ['cuda-emulation', 'cuda-emulation:1'] as const;
const SCENARIOS = join(__dirname, 'onCards.ts');

/** What scenarios of onCards.ts found; the emulation must have found nothing. */
async function play(scenarios: readonly string[], card = 'cards=2'): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await runOnCard([SCENARIOS, ...scenarios], card);
  expect(code, stderr).to.equal(0);
  const { outcomes, findings } = JSON.parse(stdout) as { outcomes: Record<string, unknown>; findings: object[] };
  expect(findings).to.deep.equal([]);
  return outcomes;
}

const CALLS = ['kernels', 'rules', 'operators'];
const WORK = ['copies', 'asynchronous', 'reuse', 'faults', 'training', 'moving', 'workers'];

interface Refusals {
  tried: number;
  wrong: string[];
}

describeEmulated('several emulated cards', function () {
  this.timeout(180_000);

  let found: Record<string, unknown>;
  before(async () => {
    found = await play([...CALLS, ...WORK]);
  });

  it('each is a device of its own; `cuda:0` is `cuda`', async () => {
    const source = `
      const found = fw.devices().flatMap((d) => (d.available && d.device.startsWith('cuda') ? [[d.device, d.name]] : []));
      fw.setDefaultDevice('${first}:0');
      const usual = fw.ones([2]).device;
      fw.setDefaultDevice('${second}');
      const x = fw.ones([2]);
      const refused = ['${first}:3', 'cuda:01', 'cpu:1', 'cuda:-1'].map((device) => {
        try { fw.ones([2], { device }); } catch ({ code, message }) { return code + ' ' + message; }
      });
      console.log(JSON.stringify({ found, usual, chosen: x.device, text: String(x), refused }));`;
    const { stdout, stderr } = await onCard(source, 'cards=3', { CUDA_VISIBLE_DEVICES: '2,0' });
    expect(stderr).to.equal('');
    const { found: seen, usual, chosen, text, refused } = JSON.parse(stdout) as Record<string, string[]>;
    expect(seen).to.deep.equal([
      [first, 'Emulated card 2 (compute capability 9.0)'],
      [second, 'Emulated card (compute capability 9.0)'],
    ]);
    expect([usual, chosen, text]).to.deep.equal([first, second, `tensor([1., 1.], shape [2], float32, ${second})`]);
    expect(refused[0]).to.match(/^DEVICE .*cuda-emulation:3.*the cards are cuda-emulation, cuda-emulation:1\)$/);
    for (const text of refused.slice(1)) expect(text).to.match(/^INVALID_ARGUMENT device: device must be 'cuda-em/);
  });

  it('the environment may name one', async () => {
    const env = { FAST_WEIGHTS_DEVICE: second };
    const { stdout, stderr } = await onCard('console.log(fw.zeros([1]).device, fw.zeros([1]).item());', 'cards=2', env);
    expect(stderr).to.equal('');
    expect(stdout.trim()).to.equal(`${second} 0`);
    const alone = await onCard('fw.zeros([1]);', 'cards=1', env);
    expect(alone.stderr).to.match(/the cuda-emulation:1 device is not available .*the cards are cuda-emulation\)/);
  });

  for (const [scenario, least] of [
    ['kernels', 350],
    ['rules', 100],
    ['operators', 40],
  ] as const) {
    it(`operands of two cards are refused by all ${scenario}, with the names of both`, async () => {
      const { tried, wrong } = found[scenario] as Refusals;
      expect(wrong).to.deep.equal([]);
      expect(tried).to.be.at.least(least);
    });
  }

  const expectCopies = ({ copies }: Record<string, unknown>): void => {
    const { devices, here, back, turned, part, empty, gradient } = copies as Record<string, unknown>;
    const numbers = Array.from({ length: 24 }, (_, i) => i);
    const all = [numbers, numbers, numbers, numbers.map((x) => Math.min(x, 1))];
    expect(devices).to.deep.equal([...Array<string>(7).fill(second), first]);
    expect(here).to.deep.equal(all);
    expect(back).to.deep.equal(all);
    expect(turned).to.deep.equal(Array.from({ length: 6 }, (_, i) => [i, i + 6, i + 12, i + 18]));
    expect(part).to.deep.equal([6, 7, 8, 9]);
    expect(empty).to.deep.equal([0, 3]);
    expect(gradient).to.deep.equal([1, 2, 3]);
  };

  it('copies are the same numbers, whatever the layout, and gradients come back', () => expectCopies(found));

  it('so they are where no card reaches the memory of another', async () => {
    expectCopies(await play(['copies'], 'cards=2,apart'));
  });

  it('copies wait in the queues of both cards, and no call waits for them', () => {
    expect(found.asynchronous).to.deep.equal({ launches: 0, sums: [7], sum: 7000 });
  });

  it('memory is used again only behind the copies that are made of it and into it', () => {
    expect(found.reuse).to.deep.equal([]);
  });

  it('what is wrong with an index goes along with the copies, however late it is found', () => {
    const bad = 'embedding: indices must be from 0 to 3, got 4 at position 1';
    const { queued, late, failed } = found.faults as Record<string, unknown>;
    expect(queued).to.deep.equal(['2 2 2 2', bad, bad, '1 1 1 1', bad]);
    expect(late).to.equal(bad);
    expect(failed).to.deep.equal([5, 300]);
  });

  it('models that train in turn on two cards have the bits of one that trains alone', () => {
    expect(found.training).to.deep.equal({ same: true, finite: true, moved: true });
  });

  it('a model and its optimiser go on on another card', () => {
    expect(found.moving).to.deep.equal([second, second]);
  });

  it('each has its memory and its statistics', async () => {
    const { made, full, after, kept, again } = (await play(['memory'], `cards=2,memory=${64 << 20}`)).memory as Record<
      string,
      unknown
    >;
    const [one, none] = [
      { storages: 1, bytes: 40 << 20 },
      { storages: 0, bytes: 0 },
    ];
    expect(made).to.deep.equal({ [first]: one, [second]: one });
    expect(full).to.match(/^OUT_OF_MEMORY the cuda-emulation:1 device has no room for \d+ bytes more/);
    expect(after).to.deep.equal({ [first]: one, [second]: none });
    expect(kept).to.deep.equal({ [first]: 0, [second]: 40 << 20 });
    expect(again).to.equal(second);
  });

  it('one that fails is lost by itself', async () => {
    const { there, again, copy, here } = (await play(['death'], 'cards=2,failLaunch=12')).death as Record<
      string,
      unknown
    >;
    for (const error of [there, again, copy]) expect(error).to.match(/^BACKEND .*illegal memory access/);
    expect(here).to.equal(16);
  });

  it('threads use them side by side', () => {
    const theirs = [first, second, second].map((device) => [device, 1]);
    expect(found.workers).to.deep.equal({ own: 5, theirs });
  });

  it('a run goes on exactly on another card', async () => {
    await withFolder(async (dir) => {
      const train = async (...args: string[]): Promise<Outcome> => {
        const { code, stdout, stderr } = await runOnCard([join(__dirname, 'trainee.ts'), ...args], 'cards=2');
        expect(code, stderr).to.equal(0);
        return JSON.parse(stdout) as Outcome;
      };
      const whole = await train(join(dir, 'whole'), first, 'float32');
      const { losses, from, rest } = await train(join(dir, 'parts'), second, 'float32', '3', first);
      expect([...losses.slice(0, from), ...rest!]).to.deep.equal(whole.losses);
    });
  });

  it('doctor tries each, and says why one refuses', async () => {
    const { code, stdout, stderr } = await runOnCard([...LOADER, PROGRAM, 'doctor', '--json'], 'cards=3,busy=1');
    expect(code, stderr).to.equal(0);
    const { devices } = JSON.parse(stdout) as {
      devices: { device: string; available: boolean; reason?: string; selfTest?: { passed: boolean } }[];
    };
    const [zero, one, two] = devices;
    expect([zero.selfTest?.passed, two.selfTest?.passed]).to.deep.equal([true, true]);
    expect(one).to.include({ device: second, available: false });
    expect(one.reason).to.match(/Emulated card 1 gives this process no context: .* busy or unavailable/);
  });
});
