// The runner of vectors: what it finds below a folder, and what it says of cases that are not right.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';
import { readWish, UsageError } from './wish';

interface Parts {
  rule?: string;
  options?: object;
  /** What is added to the right output, and to the right gradient. */
  outputOff?: number;
  gradientOff?: number;
}

/** A case of rope, which turns nothing at position 0: the output is x, and with cotangents of one the gradient one. */
async function write(file: string, { rule, options = {}, outputOff = 0, gradientOff = 0 }: Parts): Promise<void> {
  const [shape, x] = [
    [1, 1, 1, 4],
    [1, 2, 3, 4],
  ];
  const of = (values: number[]): fw.Tensor => fw.tensor(values, { shape, device: 'js', dtype: 'float64' });
  await fw.saveSafetensors(
    file,
    {
      'in.x': of(x),
      'out.output': of(x.map((one) => one + outputOff)),
      'cot.output': of([1, 1, 1, 1]),
      'grad.x': of([1, 1, 1, 1 + gradientOff]),
    },
    { ...(rule && { rule }), options: JSON.stringify(options) },
  );
}

function start(...args: string[]): { status: number | null; lines: string[]; stderr: string } {
  const script = path.join(__dirname, 'run.ts');
  const root = path.resolve(__dirname, '../..');
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import=tsx', script, ...args], {
    encoding: 'utf8',
    cwd: root,
  });
  return { status, lines: stdout.trim().split('\n'), stderr };
}

describe('the runner of vectors', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-golden-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('names every case that fails, with the tensor, the error and the limit, and counts the others', async () => {
    const deep = path.join(folder, 'some', 'deep');
    mkdirSync(deep, { recursive: true });
    await write(path.join(deep, 'good.safetensors'), { rule: 'rope', options: { offset: null } });
    await write(path.join(folder, 'some', 'output.safetensors'), { rule: 'rope', outputOff: 1 });
    await write(path.join(folder, 'some', 'gradient.safetensors'), { rule: 'rope', gradientOff: 1 });
    await write(path.join(folder, 'unknown.safetensors'), { rule: 'toString' });
    await write(path.join(folder, 'nameless.safetensors'), {});
    await write(path.join(folder, 'refused.safetensors'), { rule: 'rope', options: { base: 'x' } });
    writeFileSync(path.join(folder, 'torn.safetensors'), 'torn');
    writeFileSync(path.join(folder, 'notes.txt'), 'not a vector');
    const { status, lines, stderr } = start(folder, '--device', 'js', '--dtype', 'float64');
    expect(stderr).to.equal('');
    expect(status).to.equal(1);
    expect(lines.at(-1)).to.equal('1 of 7 cases within tolerance');
    const expected = [
      /^nameless.safetensors: unknown rule none$/,
      /^refused.safetensors: rope: base must be /,
      /^some\/gradient.safetensors: grad.x: relative RMS \d.\d\de-1, limit 1e-9$/,
      /^some\/output.safetensors: out.output: relative RMS \d.\d\de-1, limit 1e-10$/,
      /^torn.safetensors: /,
      /^unknown.safetensors: unknown rule toString$/,
    ];
    expect(lines).to.have.length(expected.length + 1);
    expected.forEach((line, i) => expect(lines[i]).to.match(line));
    const right = start(path.join(folder, 'some', 'deep'), '--device', 'js');
    expect(right).to.deep.equal({ status: 0, lines: ['1 of 1 cases within tolerance'], stderr: '' });
  });

  it('says what is wrong with its arguments', () => {
    const cases: [args: string[], message: RegExp][] = [
      [[], /^one FOLDER expected, found 0$/],
      [[path.join(folder, 'absent')], /^FOLDER: no folder /],
      [[folder, '--device', 'tpu'], /^--device: .*js.* expected, found tpu$/],
      [[folder, '--device', 'js', '--dtype', 'float16'], /^--dtype: float32 \| float64 expected, found float16$/],
      [[folder, '--depth', '2'], /^Unknown option '--depth'/],
    ];
    for (const [args, message] of cases) {
      expect(() => readWish(args), String(args)).to.throw(UsageError, message);
    }
    expect(readWish([folder, '--device', 'js'])).to.deep.equal({ folder, device: 'js', dtype: 'float32' });
    expect(readWish(['--help'])).to.equal(null);
    const { status, lines, stderr } = start(folder, '--depth=2');
    expect({ status, lines }).to.deep.equal({ status: 2, lines: [''] });
    expect(stderr)
      .to.match(/^Unknown option '--depth'/)
      .and.to.contain('Usage:');
  });
});
