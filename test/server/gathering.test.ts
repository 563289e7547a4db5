// What a model's thread says of its texts crosses in batches: an event for each request, whoever speaks between its tokens.
import { expect } from 'chai';
import { setTimeout as sleep } from 'node:timers/promises';
import { Gathering } from '../../lib/server/engine/gathering';
import type { Answer, JobEvent } from '../../lib/server/engine/protocol';

type Told = [id: number, type: JobEvent['type'], ids?: number[]];

const token = (id: number): JobEvent => ({ type: 'tokens', tokens: [{ sample: 0, text: '', id }] });

function toldOf(answer: Answer): Told[] {
  if (!('batch' in answer)) throw new Error('a batch was expected');
  return answer.batch.map(({ id, event }) =>
    event.type === 'tokens' ? [id, event.type, event.tokens.map((each) => each.id)] : [id, event.type],
  );
}

describe('server: what a model says', () => {
  it('crosses after a while, the tokens of a request in one event and all in their order', async () => {
    const said: Told[][] = [];
    const gathering = new Gathering((answer) => said.push(toldOf(answer)));
    gathering.give(1, { type: 'read', prefix: {} as never });
    for (const each of [10, 11, 12]) for (const id of [1, 2]) gathering.give(id, token(each * id));
    expect(said).to.eql([]);
    while (said.length === 0) await sleep(1);
    expect(said).to.eql([
      [
        [1, 'read'],
        [1, 'tokens', [10, 11, 12]],
        [2, 'tokens', [20, 22, 24]],
      ],
    ]);
    gathering.give(2, token(30));
    gathering.give(1, token(31));
    gathering.give(2, { type: 'done' });
    const last: Told[] = [
      [2, 'tokens', [30]],
      [1, 'tokens', [31]],
      [2, 'done'],
    ];
    expect(said.slice(1)).to.eql([last]);
    await sleep(20);
    gathering.flush();
    expect(said).to.have.length(2);
  });
});
