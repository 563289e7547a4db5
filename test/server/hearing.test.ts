// What a model's thread says at once is heard in turns, between which the thread of HTTP does other things.
import { expect } from 'chai';
import { Hearing, TURN } from '../../lib/server/engine/hearing';
import type { Answer } from '../../lib/server/engine/protocol';

type Batch = Extract<Answer, { batch: unknown }>['batch'];

const tokens = (first: number, count: number): Batch =>
  Array.from({ length: count }, (_, i) => ({ id: first + i, event: { type: 'tokens', tokens: [] } }));

describe('server: what is heard of a model', () => {
  it('comes in its order, so much at once, with turns of others between', async () => {
    const heard: number[] = [];
    /** How many were heard each time that others had a turn. */
    const turns: number[] = [];
    const hearing = new Hearing((answer) => {
      if ('batch' in answer) heard.push(...answer.batch.map(({ id }) => id));
      else if ('result' in answer) heard.push(answer.id);
    });
    hearing.hear({ batch: tokens(0, 3 * TURN + 1) });
    hearing.hear({ id: 3 * TURN + 1, result: null });
    const others = async (): Promise<void> => {
      turns.push(heard.length);
      await new Promise((resolve) => setImmediate(resolve));
    };
    while (heard.length < 3 * TURN + 2) await others();
    expect(turns).to.eql([TURN, 2 * TURN, 3 * TURN, 3 * TURN + 1]);
    expect(heard).to.eql(Array.from({ length: 3 * TURN + 2 }, (_, i) => i));
    // Nothing waits any more: what comes is heard at once.
    await others();
    hearing.hear({ batch: tokens(heard.length, 1) });
    expect(heard).to.have.length(3 * TURN + 3);
  });
});
