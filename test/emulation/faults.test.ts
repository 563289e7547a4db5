// Machines without a usable card, and cards that are full: typed errors that say why, in processes that live on.
import { expect } from 'chai';
import type { CardReport } from '../../lib/cli/doctorCard';
import { LIBRARY, PROGRAM } from '../support/library';
import { describeEmulated, onCard, runOnCard } from './support';

/** Tries what `source` says and prints the error, then what the process can still do. */
const attempt = (source: string, afterwards: string): string => `
  let error = {};
  try { ${source} } catch (thrown) { error = thrown; }
  const { code, message, expected, found } = error;
  console.log(JSON.stringify({ typed: error instanceof fw.FastWeightsError, code, message, expected, found,
    afterwards: (() => { ${afterwards} })() }));`;

interface Attempt {
  typed: boolean;
  code: string;
  message: string;
  expected: string;
  found: string;
  afterwards: unknown;
}

async function tryOnCard(source: string, afterwards: string, card: string, env = {}): Promise<Attempt> {
  const { code, stdout, stderr } = await onCard(attempt(source, afterwards), card, env);
  expect(code, stderr).to.equal(0);
  return JSON.parse(stdout) as Attempt;
}

interface Fault {
  card: string;
  env?: NodeJS.ProcessEnv;
  missing: CardReport['missing'];
  reason: RegExp;
  remedy: RegExp;
}

const FAULTS: Fault[] = [
  { card: 'driver=0', missing: 'driver', reason: /no NVIDIA driver is installed/, remedy: /install the NVIDIA driver/ },
  {
    card: 'driver=12040',
    missing: 'newer driver',
    reason: /the NVIDIA driver supports CUDA 12\.4, CUDA 13\.0 is needed/,
    remedy: /update the NVIDIA driver/,
  },
  { card: 'none', missing: 'card', reason: /no CUDA-capable device is detected/, remedy: /nvidia-smi/ },
  {
    card: 'cards=2',
    env: { CUDA_VISIBLE_DEVICES: '' },
    missing: 'card',
    reason: /no CUDA-capable device is detected \(CUDA_VISIBLE_DEVICES is ""\)/,
    remedy: /nvidia-smi/,
  },
  {
    card: 'cards=3',
    env: { CUDA_VISIBLE_DEVICES: '2,1', FAST_WEIGHTS_CUDA_DEVICE: '2' },
    missing: 'index',
    reason:
      /the number of a card, got "2"; there are 0: Emulated card 2, 1: Emulated card 1 \(CUDA_VISIBLE_DEVICES is "2,1"\)/,
    remedy: /FAST_WEIGHTS_CUDA_DEVICE/,
  },
  {
    card: 'cards=1',
    env: { FAST_WEIGHTS_CUDA_DEVICE: '0x' },
    missing: 'index',
    reason: /FAST_WEIGHTS_CUDA_DEVICE must be the number of a card, got "0x"; there are 0: Emulated card/,
    remedy: /FAST_WEIGHTS_CUDA_DEVICE/,
  },
  {
    card: 'cards=2,busy=1',
    env: { FAST_WEIGHTS_CUDA_DEVICE: '1' },
    missing: 'context',
    reason: /Emulated card 1 gives this process no context: .* busy or unavailable/,
    remedy: /compute mode/,
  },
  {
    card: 'capability=7.5',
    missing: 'newer card',
    reason: /compute capability 7\.5, 8\.0 \(Ampere\) or newer is needed/,
    remedy: /Ampere/,
  },
];

describeEmulated('faults of the emulated card', function () {
  this.timeout(60_000);

  for (const { card, env, missing, reason, remedy } of FAULTS) {
    it(`no ${missing} (${card}): the error says why, and the cpu device computes`, async () => {
      const there = "return fw.ones([3], { device: 'cpu' }).sum().item();";
      const found = await tryOnCard("fw.ones([3], { device: 'cuda-emulation' })", there, card, env);
      expect(found).to.deep.include({ typed: true, code: 'DEVICE', afterwards: 3 });
      expect(found.message)
        .to.match(/the cuda-emulation device is not available \(emulation: /)
        .and.match(reason);
    });

    it(`no ${missing} (${card}): doctor says what to do`, async () => {
      const { code, stdout, stderr } = await runOnCard([PROGRAM, 'doctor', '--json'], card, env);
      expect(code, stderr).to.equal(1); // the environment asks for this card
      const report = (JSON.parse(stdout) as { card: CardReport }).card;
      expect(report).to.deep.include({ available: false, missing, runtime: '13.0' });
      expect(report.reason).to.match(reason);
      expect(report.remedy).to.match(remedy);
    });
  }

  it('doctor says in words what is missing', async () => {
    const [{ card, reason, remedy }] = FAULTS;
    const { code, stdout, stderr } = await runOnCard([PROGRAM, 'doctor'], card);
    expect(code, stderr).to.equal(1);
    expect(stdout).to.match(reason).and.match(remedy);
  });

  it('the card that is asked for computes, in every thread', async () => {
    const source = `
      const { Worker } = require('node:worker_threads');
      const library = ${JSON.stringify(JSON.stringify(LIBRARY))};
      const body = "require('tsx/cjs'); const fw = require(" + library + ");" +
        "require('node:worker_threads').parentPort.postMessage(fw.ones([4]).sum().item());";
      const here = [fw.devices()[0].name, fw.ones([3]).sum().item()];
      new Worker(body, { eval: true }).on('message', (there) => console.log(JSON.stringify([...here, there])));`;
    const env = { CUDA_VISIBLE_DEVICES: '0,2', FAST_WEIGHTS_CUDA_DEVICE: '1' };
    const { stdout, stderr } = await onCard(source, 'cards=3', env);
    expect(stderr).to.equal('');
    expect(JSON.parse(stdout)).to.deep.equal(['Emulated card 2 (compute capability 9.0)', 3, 4]);
  });

  it('who names a card wants one: without it there is an error, not another device', async () => {
    const { code, message } = await tryOnCard('fw.ones([3]);', '', '', {
      FAST_WEIGHTS_DEVICE: '',
      FAST_WEIGHTS_CUDA_DEVICE: '99',
    });
    expect(code).to.equal('DEVICE');
    expect(message).to.match(/FAST_WEIGHTS_CUDA_DEVICE=99 asks for a card that cannot be used/);
  });

  it('doctor describes a card that can be used', async () => {
    const { code, stdout, stderr } = await runOnCard([PROGRAM, 'doctor', '--json'], `memory=${256 << 20}`);
    expect(code, stderr).to.equal(0);
    const { card, devices } = JSON.parse(stdout) as {
      card: CardReport;
      devices: { device: string; selfTest?: { passed: boolean } }[];
    };
    expect(card).to.deep.include({
      available: true,
      name: 'Emulated card',
      capability: '9.0',
      index: 0,
      driver: '13.0',
    });
    expect(card.memory!.total).to.equal(256 << 20);
    expect(card.memory!.free).to.be.within(1, 256 << 20);
    expect(devices.find((d) => d.device === 'cuda-emulation')?.selfTest?.passed).to.equal(true);
  });

  it('a tensor that does not fit: how many bytes were asked for and how many are free; smaller ones fit', async () => {
    const smaller = 'return fw.ones([1000]).sum().item();';
    const found = await tryOnCard('fw.zeros([32 << 20])', smaller, `memory=${64 << 20}`);
    expect(found).to.deep.include({ typed: true, code: 'OUT_OF_MEMORY', afterwards: 1000 });
    expect(found.expected).to.equal(`${128 << 20} bytes`);
    expect(found.found).to.match(/^\d+ bytes free, \d+ bytes in use$/);
    expect(found.message).to.match(/the cuda-emulation device has no room for 134217728 bytes more/);
  });

  it('working memory of a kernel that does not fit', async () => {
    const fill = 'const x = fw.zeros([1 << 20, 14]); globalThis.kept = x; x.sum(0);';
    const freed = 'globalThis.kept.dispose(); return fw.ones([1000]).sum().item();';
    const found = await tryOnCard(fill, freed, `memory=${(56 << 20) + (16 << 10)}`);
    expect(found).to.deep.include({ typed: true, code: 'OUT_OF_MEMORY', afterwards: 1000 });
    expect(found.message)
      .to.match(/no room/)
      .and.match(/\d+ bytes/);
  });

  describe('a launch that finds no room for its stacks', () => {
    const card = `memory=${64 << 20},launchRoom=${12 << 20}`;

    it('is made again when what was only kept for reuse is given back', async () => {
      const source =
        'fw.noGrad(() => fw.scope(() => { fw.tensor(new Float32Array(14 << 20)); })); fw.ones([3]).sum().item();';
      expect(await tryOnCard(source, 'return fw.ones([1000]).sum().item();', card)).to.deep.include({
        typed: false,
        afterwards: 1000,
      });
    });

    it('is an error of memory when there is none to give back, and nothing worse', async () => {
      const source = 'globalThis.kept = fw.tensor(new Float32Array(14 << 20)); fw.ones([3]);';
      const freed = 'globalThis.kept.dispose(); return fw.ones([1000]).sum().item();';
      const found = await tryOnCard(source, freed, card);
      expect(found).to.deep.include({ typed: true, code: 'OUT_OF_MEMORY', afterwards: 1000 });
      expect(found.message).to.match(
        /no room on the card: launch: out of memory; of its bytes \d+ are free, \d+ in use/,
      );
    });
  });

  it('an attribute that cannot be set fails its own launch, and no later one', async () => {
    const product = 'fw.ones([300, 300]).matmul(fw.ones([300, 300])).sum().item()';
    const later = `
      const addon = require(require('node:path').resolve('build-emulation/fast_weights_emulation.node'));
      return [addon.emulation.lastError(), fw.ones([3]).sum().item(), ${product}];`;
    // One multiprocessor has large tiles, for which the attribute is set.
    const found = await tryOnCard(product, later, 'failAttribute=1,multiprocessors=1');
    expect(found).to.deep.include({ typed: true, code: 'BACKEND' });
    expect(found.message).to.match(/matmul: shared memory: invalid argument/);
    expect(found.afterwards).to.deep.equal(['cudaSuccess', 3, 27e6]);
  });

  it('a launch that fails: the next read throws, and so does all that follows, but not the process', async () => {
    const source = 'const x = fw.ones([1000]); for (let i = 0; i < 9; i++) x.add(i).sum().item();';
    const again = `
      const errors = [() => fw.ones([3]), () => fw.ones([3]).item()].map((use) => {
        try { use(); return 'none'; } catch (e) { return \`\${e.code} \${e.message}\`; }
      });
      return [...errors, fw.ones([3], { device: 'cpu' }).sum().item()];`;
    const found = await tryOnCard(source, again, 'failLaunch=7');
    expect(found).to.deep.include({ typed: true, code: 'BACKEND' });
    expect(found.message).to.include('illegal memory access');
    const [first, second, sum] = found.afterwards as [string, string, number];
    const failed = /^BACKEND .*the card failed .*this process cannot use it any more; last launches: \w+ .*=1000/s;
    expect(first).to.match(failed);
    expect(second).to.match(failed);
    expect(sum).to.equal(3);
  });
});
