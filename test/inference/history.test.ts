// What a session keeps of the tokens it has read: nothing unless asked, and then 4 bytes for each.
import { expect } from 'chai';
import * as fw from '../../lib';
import { History } from '../../lib/inference/history';
import { expectRejection } from '../support/errors';

describe('histories', () => {
  let model: fw.models.CausalLM;
  before(() => {
    model = fw.createModel('deltanet', { vocabSize: 11, hiddenSize: 16, numLayers: 1, numHeads: 1 }).eval();
  });
  after(() => model.dispose());

  it('are off by default: the same logits, and rollback is refused', async () => {
    using plain = model.createSession();
    using whole = model.createSession({ history: true });
    const feed = (session: fw.Session): number[][] => [[1, 2, 3], [4]].map((ids) => [...session.feed(ids).dataSync()]);
    expect(feed(plain)).to.deep.equal(feed(whole));
    await expectRejection('UNSUPPORTED', /made without history/, plain.rollback(1));
    await plain.rollback(0);
    await whole.rollback(1);
    expect([plain.length, whole.length]).to.eql([4, 3]);
    // From a snapshot that has none there is no way back either, but for tokens that were read since.
    whole.restore(plain.snapshot());
    await expectRejection('UNSUPPORTED', /snapshot that was restored has no history/, whole.rollback(1));
    expect(whole.length).to.equal(4);
  });

  it('are given out, with the token that was said last; not of others', async () => {
    using session = model.createSession({ history: true });
    session.feed([1, 2, 3]).dispose();
    session.feed([4]).dispose();
    expect([...session.ids!]).to.eql([1, 2, 3, 4]);
    const said: number[] = [];
    for await (const { id } of session.generate([5], { maxNewTokens: 3, stopTokens: [] })) said.push(id);
    expect([...session.ids!]).to.eql([1, 2, 3, 4, 5, ...said]);
    using several = model.createSession({ history: true, batch: 2 });
    using plain = model.createSession();
    expect([several.ids, plain.ids]).to.eql([null, null]);
  });

  it('cost 4 bytes a token, and know where each call began', () => {
    let history = History.empty();
    const calls = Array.from({ length: 1000 }, (_, i) =>
      Int32Array.from({ length: 1 + (i % 3) }, (_, j) => (i + j) % 7),
    );
    for (const ids of calls) history = history.append(ids);
    const { marked } = history;
    expect(marked.length).to.equal(calls.reduce((n, ids) => n + ids.length, 0));
    expect(marked.buffer.byteLength).to.be.at.most(4 * 1.25 * marked.length);
    expect([...history.calls(1, marked.length)]).to.deep.equal(calls);
    expect([...history.calls(1, 5)].map((ids) => [...ids])).to.deep.equal([[0], [1, 2], [2, 3]]);
  });

  it('part where sessions part', () => {
    const common = History.empty().append(Int32Array.of(1, 2));
    const [a, b] = [3, 4].map((id) => common.append(Int32Array.of(id)));
    expect([common, a, b].map((h) => [...h.marked])).to.deep.equal([
      [~1, 2],
      [~1, 2, ~3],
      [~1, 2, ~4],
    ]);
    // Two sequences of two tokens, and one more token each; back by one and by two.
    const rows = History.empty()
      .append(Int32Array.of(1, 2, 5, 6))
      .append(Int32Array.of(3, 7));
    expect([...rows.calls(2, 2)].map((ids) => [...ids])).to.deep.equal([[1, 2, 5, 6]]);
    expect([...rows.calls(2, 1)].map((ids) => [...ids])).to.deep.equal([[1, 5]]);
  });
});
