// Sessions without history: nothing is kept for each token, and going back is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

describe('sessions without history', () => {
  it('give the same logits, and refuse to roll back', () => {
    const model = fw.createModel('deltanet', { vocabSize: 11, hiddenSize: 16, numLayers: 1, numHeads: 1 }).eval();
    using plain = model.createSession({ history: false });
    using whole = model.createSession();
    const feed = (session: fw.Session): number[][] => [[1, 2, 3], [4]].map((ids) => [...session.feed(ids).dataSync()]);
    expect(feed(plain)).to.deep.equal(feed(whole));
    expectError('UNSUPPORTED', /without history/, () => plain.rollback(1));
    plain.rollback(0);
    whole.rollback(1);
    expect(whole.length).to.equal(3);
    model.dispose();
  });
});
