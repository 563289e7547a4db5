// Kernels of the card that are asked for what they do not know: an error before the launch, and a card that goes on.
import { expect } from 'chai';
import * as fw from '../../lib';
import { defaultDevice, getBackend, KERNELS, type FieldKind, type KernelName } from '../../lib/backends';
import { onEmulation } from './device';

/** Arguments that suit a kernel's fields but for their sense: no elements, no operation. */
function emptyArguments(kernel: KernelName, integers: fw.Tensor, floats: fw.Tensor): Record<string, unknown> {
  const fields = Object.entries<FieldKind>(KERNELS[kernel]).map(([name, kind]) => {
    if (kind === 'int' || kind === 'float') return [name, 0];
    if (kind === 'dims') return [name, []];
    if (kind === 'list') return [name, []];
    if (kind.endsWith('?')) return [name, null];
    return [name, /indices|target|positions/.test(name) ? integers : floats];
  });
  return Object.fromEntries(fields) as Record<string, unknown>;
}

if (onEmulation) {
  const { kernels } = getBackend(defaultDevice());
  const run = (kernel: KernelName, args: Record<string, unknown>): void => {
    const [integers, floats] = [fw.zeros([1, 1, 1], { dtype: 'int32' }), fw.zeros([1, 1, 1])];
    const call = kernels[kernel] as (args: Record<string, unknown>) => void;
    call({ ...emptyArguments(kernel, integers, floats), ...args });
  };
  const whole = (): fw.Tensor => fw.zeros([1, 1, 1], { dtype: 'int32' });
  const one = { n: 1, shape: [1], aStrides: [1], bStrides: [1] };

  const CASES: [KernelName, Record<string, unknown>][] = [
    ['unary', { n: 1, op: 99 }],
    ['unaryBackward', { n: 1, op: -1 }],
    ['binary', { ...one, op: 12 }],
    ['binary', { ...one, a: whole(), b: whole(), y: whole(), op: 3 }],
    ['binary', { ...one, a: whole(), op: 0 }],
    ['copy', { shape: [1], xStrides: [1], yStrides: [1], bytes: 3 }],
    ['reduce', { outer: 1, n: 1, inner: 1, op: 5 }],
    ['compare', { ...one, op: 6 }],
    ['where', { shape: [1], conditionStrides: [1], aStrides: [1], bStrides: [1], bytes: 3 }],
    ['gather', { shape: [1], xStrides: [1], indexStrides: [1], step: 1, limit: 1, bytes: 3 }],
    ['scan', { outer: 1, n: 1, inner: 1, op: 3 }],
    ['reduce', { x: whole(), outer: 1, n: 1, inner: 1 }],
    ['argmax', { outer: 1, n: 1, inner: 1 }],
    ['norm', { rows: 1, n: 1, groups: 1, kind: 4 }],
    ['normBackward', { rows: 1, n: 1, groups: 1, kind: 4 }],
    ['random', { n: 1, kind: 2 }],
    ['shortConvStep', { batch: 1, d: 1, width: 1, activation: 2 }],
    ['linear', { rows: 1, n: 1, k: 1, activation: 2 }],
    ['linear', { rows: 1, n: 1, k: 1, precision: 2 }],
    ['quantizedLinear', { rows: 1, n: 1, k: 1, weight: whole(), format: 2 }],
    ['quantizedLinear', { rows: 1, n: 1, k: 1, weight: whole(), activation: 2 }],
    ['embedding', { indices: fw.zeros([1]), rows: 1, d: 1 }],
    ['softmax', { x: whole(), rows: 1, n: 1 }],
    ['recurrenceStep', { sequences: 1, heads: 1, keyDim: 1, valueDim: 1, eraseFrom: 3 }],
  ];

  describe('what no kernel of the card knows', () => {
    for (const [i, [kernel, args]] of CASES.entries()) {
      it(`${kernel} refuses it (${i + 1}), and the card goes on`, () => {
        expect(() => run(kernel, args)).to.throw(fw.FastWeightsError);
        expect(fw.ones([3]).sum().item()).to.equal(3);
      });
    }
  });
}
