// Calls with operands of two cards, by kernel, by rule and by operator: each must be refused with the names of both.
import * as fw from '../../lib';
import { getBackend, KERNELS, type KernelName } from '../../lib/backends';
import type { Device } from '../../lib/core';
import { hostInputs, RULES, toDevice } from '../support/ruleInputs';

export const [first, second] = ['cuda-emulation', 'cuda-emulation:1'] as const;
const NAMES = new RegExp(`'?${first}'?\\b(?!:).*'${second}'|'${second}'.*'?${first}'?(?!:)`, 's');

/** The code of what a call ends with, and whether the message names both cards; null where it does not end so. */
function refusal(call: () => unknown): string | null {
  try {
    fw.scope(() => void call());
    return null;
  } catch (error) {
    const { code, message } = error as fw.FastWeightsError;
    return NAMES.test(message) ? code : `${code}: ${message}`;
  }
}

/** Calls that are not refused as DEVICE with the names of both cards. */
export function notRefused(calls: Iterable<readonly [string, () => unknown]>): { tried: number; wrong: string[] } {
  const wrong: string[] = [];
  let tried = 0;
  for (const [name, call] of calls) {
    const found = refusal(call);
    tried++;
    if (found !== 'DEVICE') wrong.push(`${name}: ${found}`);
  }
  return { tried, wrong };
}

/** Every kernel with one operand after the other on the second card; none of them gets as far as being run. */
export function* mixedKernels(): Generator<[string, () => unknown]> {
  const kernels = getBackend(first).kernels as unknown as Record<string, (args: object) => void>;
  const whole = { dims: [1], int: 1, float: 1 } as Record<string, unknown>;
  for (const name of Object.keys(KERNELS) as KernelName[]) {
    const fields = Object.entries<string>(KERNELS[name]);
    const make = (kind: string, device: Device): unknown => {
      if (kind in whole) return whole[kind];
      const t = fw.ones([1, 1, 1, 1], { device });
      return kind.endsWith('ist') ? [t] : t;
    };
    for (const [odd, kind] of fields) {
      if (kind in whole) continue;
      const args = (): object =>
        Object.fromEntries(fields.map(([field, of]) => [field, make(of, field === odd ? second : first)]));
      yield [`${name}.${odd}`, () => kernels[name](args())];
    }
  }
}

/** Every rule, whole and one token, with one input after the other on the second card. */
export function* mixedRules(): Generator<[string, () => unknown]> {
  const on = (device: Device) => ({ device, dtype: 'float32' }) as const;
  const sizes = { B: 1, T: 2, H: 1, HV: 1, K: 4, V: 4 };
  for (const rule of RULES) {
    const host = hostInputs(rule, sizes, 1);
    for (const odd of Object.keys(host)) {
      const inputs = (): Record<string, fw.Tensor> =>
        Object.assign(toDevice(host, on(first)), toDevice({ [odd]: host[odd] }, on(second)));
      yield [`${rule.name}: ${odd}`, () => rule.call(inputs(), rule.options ?? {})];
    }
  }
}

export function* mixedOperators(): Generator<[string, () => unknown]> {
  const on = (device: Device, ...shape: number[]): fw.Tensor => fw.ones(shape, { device });
  const a = (...shape: number[]): fw.Tensor => on(first, ...shape);
  const b = (...shape: number[]): fw.Tensor => on(second, ...shape);
  const ids = (device: Device): fw.Tensor => fw.zeros([2], { device, dtype: 'int32' });
  const elementwise = [
    'add',
    'sub',
    'mul',
    'div',
    'pow',
    'maximum',
    'minimum',
    'floorDivide',
    'remainder',
    'atan2',
  ] as const;
  for (const name of [...elementwise, 'eq', 'ne', 'lt', 'le', 'gt', 'ge', 'isclose', 'dot', 'outer'] as const) {
    yield [name, () => fw[name](a(2), b(2))];
  }
  yield ['matmul', () => a(2, 2).matmul(b(2, 2))];
  yield ['cat', () => fw.cat([a(2), b(2)])];
  yield ['stack', () => fw.stack([a(2), b(2)])];
  yield ['where', () => fw.where(a(2).gt(0), a(2), b(2))];
  yield ['embedding', () => fw.embedding(a(4, 2), ids(second))];
  yield ['gather', () => fw.gather(a(4), 0, ids(second))];
  yield ['scatterAdd', () => fw.scatterAdd(a(4), 0, ids(first), b(2))];
  yield ['crossEntropy', () => fw.crossEntropy(a(2, 3), ids(second))];
  yield ['rmsNorm', () => fw.rmsNorm(a(2, 4), b(4))];
  yield ['layerNorm', () => fw.layerNorm(a(2, 4), a(4), b(4))];
  yield ['softmaxAttention', () => fw.softmaxAttention(a(1, 2, 1, 4), a(1, 2, 1, 4), b(1, 2, 1, 4))];
  yield ['einsum', () => fw.einsum('ij,jk->ik', a(2, 2), b(2, 2))];
  yield ['mseLoss', () => fw.mseLoss(a(2), b(2))];
  yield ['maskedFill', () => fw.maskedFill(a(2), b(2).gt(0), 0)];
  yield ['indexSelect', () => fw.indexSelect(a(4), 0, ids(second))];
  yield ['conv1d', () => fw.conv1d(a(1, 2, 4), b(2, 2, 3))];
  yield ['swiglu', () => fw.swiglu(a(2, 4), b(2, 4))];
  yield ['shortConvolution', () => fw.shortConvolution(a(1, 2, 4), b(4, 3))];
  yield ['linear', () => new fw.nn.Linear(4, 4, { device: second }).forward(a(2, 4))];
  yield ['add_', () => fw.noGrad(() => a(2).add_(b(2)))];
  yield ['copy_', () => fw.noGrad(() => a(2).copy_(b(2)))];
  yield ['backward', () => a(2).detach().add(new Leaf(first).tensor).backward(b(2))];
  yield [
    'recurrence.step',
    () => fw.noGrad(() => fw.deltaRule.step(a(1, 1, 4), a(1, 1, 4), a(1, 1, 4), { state: b(1, 1, 4, 4) })),
  ];
  yield ['clipGradNorm', () => fw.optim.clipGradNorm([new Leaf(first).tensor, new Leaf(second).tensor], 1)];
}

/** A leaf with a gradient. */
class Leaf {
  readonly tensor: fw.Tensor;
  constructor(device: Device) {
    this.tensor = fw.ones([2], { device, requiresGrad: true });
    this.tensor.grad = fw.ones([2], { device });
  }
}
