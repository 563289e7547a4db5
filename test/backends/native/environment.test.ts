// Wishes of the environment that cannot be met: an error that says what there is, and doctor that prints it.
import { expect } from 'chai';
import { devices } from '../../../lib';
import { type Finished, finish, runSource, start } from '../../support/child';
import { PROGRAM } from '../../support/library';

const native = devices().some((d) => d.device === 'cpu' && d.available);
const clean = {
  FAST_WEIGHTS_DEVICE: '',
  FAST_WEIGHTS_ISA: '',
  FAST_WEIGHTS_NATIVE_PATH: process.env.FAST_WEIGHTS_NATIVE_PATH,
};
const doctor = (env: NodeJS.ProcessEnv): Promise<Finished> => finish(start([PROGRAM, 'doctor'], { ...clean, ...env }));

/** What uses a device that is not `js`. */
const USES = [
  'fw.zeros([1])',
  'fw.devices()',
  "fw.zeros([1], { device: 'cpu' })",
  "fw.setDefaultDevice('cpu')",
  'fw.setNumThreads(1)',
];
const EACH = `
for (const use of [${USES.map((use) => `() => ${use}`).join(', ')}]) {
  try {
    use();
    console.log('none');
  } catch (error) {
    console.log(error.code + ' ' + error.argument + ' ' + error.message.split('\\n')[0]);
  }
}
console.log(fw.zeros([1], { device: 'js' }).device + ' ' + fw.loadAttempts().at(-1).step);
`;

async function refusals(env: NodeJS.ProcessEnv): Promise<string[]> {
  const { stdout, stderr } = await runSource(EACH, { ...clean, ...env });
  const lines = stdout.trim().split('\n');
  expect(lines, stderr).to.have.lengthOf(USES.length + 1);
  expect(lines.pop(), 'js and loadAttempts work all the same').to.equal('js js');
  return lines;
}

describe('wishes of the environment', function () {
  this.timeout(60_000);

  if (native) {
    for (const set of ['AVX2', 'sse4', 'avx2 ']) {
      it(`FAST_WEIGHTS_ISA=${JSON.stringify(set)} is refused with the sets that there are`, async () => {
        for (const line of await refusals({ FAST_WEIGHTS_ISA: set })) {
          expect(line).to.match(/^INVALID_ARGUMENT FAST_WEIGHTS_ISA .* must be ("\w+" \| )*"\w+", got /);
          expect(line)
            .to.include('"portable"')
            .and.to.include(`got ${JSON.stringify(set)}`);
        }
      });
    }

    it('FAST_WEIGHTS_DEVICE=cpu beside it names the instruction set', async () => {
      for (const line of await refusals({ FAST_WEIGHTS_ISA: 'AVX2', FAST_WEIGHTS_DEVICE: 'cpu' })) {
        expect(line).to.match(/^INVALID_ARGUMENT FAST_WEIGHTS_ISA /);
      }
    });

    it('an empty value is none', async () => {
      const { stdout } = await runSource('console.log(fw.zeros([1]).device)', {
        ...clean,
        FAST_WEIGHTS_NATIVE_PATH: '',
        FAST_WEIGHTS_CHECK: '',
      });
      expect(stdout.trim()).to.equal(devices().find((d) => d.available)!.device);
    });
  }

  it('FAST_WEIGHTS_NATIVE_PATH that cannot be loaded is refused with the reason', async () => {
    const file = '/nonexistent/addon.node';
    for (const line of await refusals({ FAST_WEIGHTS_NATIVE_PATH: file })) {
      expect(line).to.match(/^INVALID_ARGUMENT FAST_WEIGHTS_NATIVE_PATH .* must be a native addon of this version/);
      expect(line).to.include(`got "${file}" (Cannot find module`);
    }
  });

  it('FAST_WEIGHTS_DEVICE=js needs no addon', async () => {
    const { stdout } = await runSource('console.log(fw.zeros([1]).device)', {
      ...clean,
      FAST_WEIGHTS_ISA: 'AVX2',
      FAST_WEIGHTS_DEVICE: 'js',
    });
    expect(stdout.trim()).to.equal('js');
  });

  it('doctor names the problem and the remedy', async () => {
    const cases: [NodeJS.ProcessEnv, string, string][] = [
      [
        { FAST_WEIGHTS_NATIVE_PATH: '/nonexistent.node' },
        'FAST_WEIGHTS_NATIVE_PATH must be',
        'unset FAST_WEIGHTS_NATIVE_PATH',
      ],
      [{ FAST_WEIGHTS_CHECK: 'on' }, "FAST_WEIGHTS_CHECK must be '0' | '1' | 'values'", 'unset FAST_WEIGHTS_CHECK'],
      [{ FAST_WEIGHTS_DEVICE: 'gpu' }, 'FAST_WEIGHTS_DEVICE must be', 'unset FAST_WEIGHTS_DEVICE'],
      [{ FAST_WEIGHTS_ISA: 'AVX2' }, 'FAST_WEIGHTS_ISA must be', 'unset FAST_WEIGHTS_ISA'],
    ];
    for (const [env, problem, remedy] of cases) {
      const { code, stdout, stderr } = await doctor(env);
      expect(code, problem).to.equal(1);
      expect(stdout)
        .to.include(problem)
        .and.to.include(remedy)
        .and.to.match(/✓ js: .*self-test passed/);
      expect(stdout + stderr).to.not.include('    at ');
    }
    const { code, stdout } = await doctor({});
    expect(code).to.equal(0);
    expect(stdout).to.not.include('✗');
  });

  it('doctor names the variable of a card that there is not', async () => {
    for (const [card, message] of [
      ['99', /✗ FAST_WEIGHTS_CUDA_DEVICE=99 asks for a card that cannot be used \(/],
      ['x', /✗ .*FAST_WEIGHTS_CUDA_DEVICE must be the number of a card, got "x"/],
    ] as const) {
      const { code, stdout } = await doctor({ FAST_WEIGHTS_CUDA_DEVICE: card });
      expect(code).to.equal(1);
      expect(stdout)
        .to.match(message)
        .and.to.include('unset FAST_WEIGHTS_CUDA_DEVICE')
        .and.to.not.include('DEVICE for');
    }
  });

  it('doctor names the default device and the variables that change anything, and nothing that is not published', async () => {
    const set = { FAST_WEIGHTS_DEVICE: 'js', CUDA_VISIBLE_DEVICES: '', FAST_WEIGHTS_IAS: 'avx2', NO_COLOR: '1' };
    const { stdout } = await doctor(set);
    expect(stdout)
      .to.include('the default is js')
      .and.to.match(/ {2}FAST_WEIGHTS_DEVICE=js: the default device/);
    expect(stdout).to.match(/ {2}CUDA_VISIBLE_DEVICES=: which cards/);
    expect(stdout).to.match(/ {2}FAST_WEIGHTS_IAS=avx2: nothing/);
    expect(stdout).to.not.match(/NO_COLOR|FAST_WEIGHTS_ISA=|npm install/);
  });
});
