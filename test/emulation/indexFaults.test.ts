// Indices on the card, whose answers come with the next read: they find the tensors that they are about, however late.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError, expectRejection } from '../support/errors';
import { describeEmulated } from './support';

const BAD = /embedding: indices must be from 0 to 3, got 4 at position 1/;

describeEmulated('index faults of the emulated card', function () {
  this.timeout(60_000);

  const lookUp = (id: number): fw.Tensor => fw.embedding(fw.ones([4, 2]), fw.tensor([0, id], { dtype: 'int32' }));

  it('reach what was made of them, and nothing else, in reads that wait and in those that do not', async () => {
    const [good, bad] = [lookUp(3), lookUp(4)];
    const after = bad.mul(2);
    const bystander = fw.ones([3]).add(1);
    const reads = [bystander, good, after, bad].map((t) => t.data());
    expect([...(await reads[0])]).to.deep.equal([2, 2, 2]);
    expect([...(await reads[1])]).to.deep.equal([1, 1, 1, 1]);
    await expectRejection('INVALID_ARGUMENT', BAD, reads[2]);
    await expectRejection('INVALID_ARGUMENT', BAD, reads[3]);
    expectError('INVALID_ARGUMENT', BAD, () => after.add(good).dataSync());
    expect([...good.add(1).dataSync()]).to.deep.equal([2, 2, 2, 2]);
  });

  it('are kept while nothing is read, over more calls than the card keeps answers of', () => {
    const looked = Array.from({ length: 600 }, (_, i) => lookUp(i === 5 || i === 300 ? 4 : 1));
    looked.forEach((t, i) => {
      if (i === 5 || i === 300) expectError('INVALID_ARGUMENT', BAD, () => t.dataSync());
      else expect([...t.dataSync()]).to.deep.equal([1, 1, 1, 1]);
    });
    // The slots serve again.
    for (let i = 0; i < 600; i++) looked[i] = lookUp(2);
    expect(fw.cat(looked).sum().item()).to.equal(2400);
  });
});
