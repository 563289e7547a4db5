// Shapes, views and scopes from values that are none: nothing reaches outside a storage, and nothing runs out of stack.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const any = <T>(value: unknown): T => value as T;

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`views on ${device}`, () => {
    const x = fw.arange(12, undefined, 1, { device }).reshape(3, 4).persist();
    const one = fw.ones([1], { device }).persist();
    const scalar = fw.tensor(3, { device }).persist();

    const BAD: Record<string, [fw.ErrorCode, () => unknown]> = {
      'split, negative': ['INVALID_ARGUMENT', () => fw.split(x, [-1, 4], 0)],
      'split, fractions': ['INVALID_ARGUMENT', () => fw.split(x, [1.5, 1.5], 0)],
      'split, NaN': ['INVALID_ARGUMENT', () => fw.split(x, [1, NaN, 2], 0)],
      'split, no list': ['INVALID_ARGUMENT', () => fw.split(x, any('3'), 0)],
      'expand, negative': ['INVALID_ARGUMENT', () => one.expand(-5, 3)],
      'expand, a fraction': ['INVALID_ARGUMENT', () => one.expand(2.5, 3)],
      'expand, NaN': ['INVALID_ARGUMENT', () => one.expand(NaN)],
      'expand, a new dimension kept': ['SHAPE', () => one.expand(-1, 1)],
      'expand, uncountable': ['SHAPE', () => one.expand(2 ** 30, 2 ** 30)],
      'zeros, uncountable': ['SHAPE', () => fw.zeros(new Array<number>(21).fill(1e15), { device })],
      'zeros, uncountable beside 0': ['SHAPE', () => fw.zeros([2 ** 40, 0, 2 ** 40], { device })],
      'zeros, too many dimensions': ['SHAPE', () => fw.zeros(new Array<number>(1000).fill(1), { device })],
      'zeros, too much': ['OUT_OF_MEMORY', () => fw.zeros([2 ** 50], { device })],
      'arange, too much': ['OUT_OF_MEMORY', () => fw.arange(1e13, undefined, 1, { device })],
      'tensor, whole numbers of 64 bits': ['INVALID_ARGUMENT', () => fw.tensor(any(new BigInt64Array(3)), { device })],
      'tensor, bytes without a type': ['INVALID_ARGUMENT', () => fw.tensor(any(new DataView(new ArrayBuffer(8))))],
      'reshape, nothing': ['INVALID_ARGUMENT', () => x.reshape(any<number>(undefined))],
      'reshape, null': ['INVALID_ARGUMENT', () => x.reshape(any<number>(null))],
      'reshape, text': ['INVALID_ARGUMENT', () => x.reshape(any<number>('12'))],
      'reshape, negative': ['INVALID_ARGUMENT', () => x.reshape(-2, -6)],
      'slice, of a scalar': ['SHAPE', () => scalar.slice(0, 0, 1)],
      'sum, text': ['INVALID_ARGUMENT', () => x.sum(any('a'))],
      'cat, nothing': ['INVALID_ARGUMENT', () => fw.cat(any(undefined))],
      'cat, of scalars': ['SHAPE', () => fw.cat([scalar])],
      'stack, a number': ['INVALID_ARGUMENT', () => fw.stack([x, any(3)])],
      'a tensor beyond its storage': ['SHAPE', () => new fw.Tensor(x.storage, [100])],
      'strides beyond the storage': ['SHAPE', () => new fw.Tensor(x.storage, [3, 4], [5, 1])],
      'strides backwards': ['SHAPE', () => new fw.Tensor(x.storage, [2], [-1], 1)],
      'an offset before the storage': ['SHAPE', () => new fw.Tensor(x.storage, [2], [1], -1)],
    };
    for (const [name, [code, make]] of Object.entries(BAD)) {
      it(`refuses ${name}`, () => void expectError(code, /must be|no room/, make));
    }

    it('a scalar counts as having one dimension, where that has a meaning', () => {
      const values = [
        scalar.transpose(0, -1),
        scalar.sum(-1),
        scalar.mean(0),
        scalar.max(0, true),
        scalar.cumsum(0),
        scalar.softmax().mul(3),
        scalar.argmax().add(3),
      ];
      for (const y of values) expect([y.shape, y.item()]).to.deep.equal([[], 3]);
    });

    it('keeps views of nothing', () => {
      const empty = x.slice(1, 4);
      expect([empty.shape, empty.tolist()]).to.deep.equal([
        [3, 0],
        [[], [], []],
      ]);
      expect(one.slice(0, 1).expand(5, 0).size).to.equal(0);
      expect(fw.split(x, [0, 4, 0], 1).map((t) => t.shape[1])).to.deep.equal([0, 4, 0]);
    });
  });
}

describe('lists and what scopes return', () => {
  const device = 'js';

  it('nested too deep, or in themselves, are refused', () => {
    const own: fw.NestedNumbers[] = [];
    own.push(own);
    let deep: fw.NestedNumbers[] = [1];
    for (let i = 0; i < 1e5; i++) deep = [deep];
    for (const data of [own, deep]) expectError('INVALID_ARGUMENT', /nested at most 64 deep/, () => fw.tensor(data));
    expectError('INVALID_ARGUMENT', /must be a list/, () => x4().reshape(any<number>({ own })));
    expectError('INVALID_ARGUMENT', /must be a Tensor, got \[\[\[/, () => fw.embedding(any(own), any(own)));
  });
  const x4 = (): fw.Tensor => fw.ones([4], { device });

  it('scopes find tensors however deep, in sets, maps and instances, and where values hold themselves', () => {
    class Held {
      readonly own = x4();
      readonly set = new Set([x4()]);
      readonly map = new Map<unknown, unknown>([[x4(), { value: x4() }]]);
      readonly bytes = new Float32Array(4);
      readonly self = this;
    }
    const held = fw.scope(() => new Held());
    const [[key, { value }]] = held.map as Map<fw.Tensor, { value: fw.Tensor }>;
    for (const t of [held.own, ...held.set, key, value]) expect(t.isDisposed).to.equal(false);

    let inner!: fw.Tensor;
    fw.scope(() => {
      inner = x4();
      let list: unknown = [inner];
      for (let i = 0; i < 1e5; i++) list = i % 2 ? [list] : { list };
      return list;
    });
    expect(inner.isDisposed).to.equal(false);
  });
});
