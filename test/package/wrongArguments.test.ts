// Whatever is given to anything exported: a refusal is a typed error that names the argument, never one of the language.
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';

/** The tensor is a new one each time: some functions dispose of what they are given. */
const values = (): unknown[] => [
  ...[undefined, null, 3, -1, NaN, true, 'x', {}, [], () => 1],
  fw.ones([2, 3], { device: 'js' }),
];
const SECOND: unknown[] = [undefined, null, 3, {}, 'x', [0]];

/** What only the library makes, and is marked so, or makes the very errors. */
const INTERNAL = new Set([
  ...['Tensor', 'Snapshot', 'FastWeightsError', 'nn.newWeight', 'nn.withBlankWeights'],
  ...['nn.AdapterSlot', 'nn.ofRow', 'nn.ServedLora', 'nn.underAdapters'],
]);

const isClass = (f: object): boolean => /^class\b/.test(Function.prototype.toString.call(f));
const isRecord = (value: unknown): value is object => Object.prototype.toString.call(value) === '[object Object]';

/** Models of the size of their defaults, which are those of published ones. */
const isLarge = (name: string, given: unknown): boolean =>
  /ForCausalLM$|^models\.Painter|^models\.\w+Painter$/.test(name) && (given === undefined || isRecord(given));

function* exported(of: object, prefix = ''): Generator<[string, (...args: unknown[]) => unknown]> {
  for (const [key, value] of Object.entries(of)) {
    const name = prefix + key;
    if (typeof value === 'function') {
      const f = value as (...args: unknown[]) => unknown;
      yield [name, isClass(f) ? (...args) => Reflect.construct(f, args) as unknown : f];
      const { step } = value as { step?: (...args: unknown[]) => unknown };
      if (typeof step === 'function') yield [`${name}.step`, (...args) => fw.noGrad(() => step(...args))];
    } else if (isRecord(value) && !prefix.includes('.')) yield* exported(value, `${name}.`);
  }
}

/** Starts what a call returns, if it is to be started. */
async function settle(result: unknown): Promise<void> {
  const { next } = (result ?? {}) as { next?: () => unknown };
  await (typeof next === 'function' ? next.call(result) : result);
}

describe('wrong arguments of what the package exports', () => {
  const home = process.cwd();
  let folder: string;
  before(() => process.chdir((folder = mkdtempSync(join(tmpdir(), 'fast-weights-')))));
  after(() => {
    process.chdir(home);
    rmSync(folder, { recursive: true });
    // What some of the values turned on, for the tests that follow in this process.
    fw.setChecks('values');
    fw.setDetectAnomaly(false);
    fw.setNumThreads(availableParallelism());
  });

  it('are refused with typed errors, whatever they are', async function () {
    this.timeout(0);
    const missed: string[] = [];
    for (const [name, call] of exported(fw)) {
      if (INTERNAL.has(name)) continue;
      for (const second of SECOND) {
        for (const first of values()) {
          if (isLarge(name, first)) continue;
          try {
            await settle(call(...(second === undefined ? [first] : [first, second, second])));
          } catch (error) {
            if (error instanceof fw.FastWeightsError) continue;
            missed.push(`${name}(${String(first)}, ${String(second)}): ${String(error)}`);
          }
        }
      }
    }
    expect(missed.join('\n')).to.equal('');
  });
});
