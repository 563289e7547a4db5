// Machines without a usable card, and cards that are full: typed errors that say why, in processes that live on.
import { expect } from 'chai';
import { join } from 'node:path';
import type { CardReport } from '../../lib/cli/doctorCard';
import { repository } from '../support/child';
import { describeEmulated, onCard, runOnCard } from './support';

const MAIN = join(repository, 'lib', 'cli', 'main.ts');

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

async function tryOnCard(source: string, afterwards: string, card: string): Promise<Attempt> {
  const { code, stdout, stderr } = await onCard(attempt(source, afterwards), card);
  expect(code, stderr).to.equal(0);
  return JSON.parse(stdout) as Attempt;
}

const FAULTS: { card: string; missing: CardReport['missing']; reason: RegExp; remedy: RegExp }[] = [
  { card: 'driver=0', missing: 'driver', reason: /no NVIDIA driver is installed/, remedy: /install the NVIDIA driver/ },
  {
    card: 'driver=12040',
    missing: 'newer driver',
    reason: /the NVIDIA driver supports CUDA 12\.4, CUDA 13\.0 is needed/,
    remedy: /update the NVIDIA driver/,
  },
  { card: 'none', missing: 'card', reason: /no CUDA-capable device is detected/, remedy: /nvidia-smi/ },
  {
    card: 'capability=7.5',
    missing: 'newer card',
    reason: /compute capability 7\.5, 8\.0 \(Ampere\) or newer is needed/,
    remedy: /Ampere/,
  },
];

describeEmulated('faults of the emulated card', function () {
  this.timeout(60_000);

  for (const { card, missing, reason, remedy } of FAULTS) {
    it(`no ${missing}: the error says why, and the cpu device computes`, async () => {
      const there = "return fw.ones([3], { device: 'cpu' }).sum().item();";
      const found = await tryOnCard("fw.ones([3], { device: 'cuda-emulation' })", there, card);
      expect(found).to.deep.include({ typed: true, code: 'DEVICE', afterwards: 3 });
      expect(found.message)
        .to.match(/the cuda-emulation device is not available \(emulation: /)
        .and.match(reason);
    });

    it(`no ${missing}: doctor says what to do`, async () => {
      const [text, json] = await Promise.all([
        runOnCard([MAIN, 'doctor'], card),
        runOnCard([MAIN, 'doctor', '--json'], card),
      ]);
      expect([text.code, json.code], text.stderr).to.deep.equal([0, 0]);
      expect(text.stdout).to.match(reason).and.match(remedy);
      const report = (JSON.parse(json.stdout) as { card: CardReport }).card;
      expect(report).to.deep.include({ available: false, missing, runtime: '13.0' });
      expect(report.reason).to.match(reason);
      expect(report.remedy).to.match(remedy);
    });
  }

  it('doctor describes a card that can be used', async () => {
    const { code, stdout, stderr } = await runOnCard([MAIN, 'doctor', '--json'], `memory=${256 << 20}`);
    expect(code, stderr).to.equal(0);
    const { card, devices } = JSON.parse(stdout) as {
      card: CardReport;
      devices: { device: string; selfTest?: { passed: boolean } }[];
    };
    expect(card).to.deep.include({ available: true, name: 'Emulated card', capability: '9.0', driver: '13.0' });
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
