// The streams of 1992: targets against a plain reading of the events.
import { expect } from 'chai';
import { flipFlopStream, parkingStream } from '../../lib/data';
import { expectError } from '../support/errors';

const rowsOf = (all: Float32Array, size: number): number[][] =>
  Array.from({ length: all.length / size }, (_, t) => [...all.subarray(t * size, (t + 1) * size)]);

describe('streams of events', () => {
  it('ask for the first B after an A', () => {
    const { slow, fast, targets } = flipFlopStream({ seed: 3 }).next(4000);
    expect(slow).to.eql(fast);
    const text = rowsOf(slow, 3)
      .map((row) => (row.includes(1) ? 'ABC'[row.indexOf(1)] : '.'))
      .join('');
    const wanted = [...text].map((event, t) => Number(event === 'B' && /A[^B]*$/.test(text.slice(0, t))));
    expect([...targets]).to.eql(wanted);
    for (const event of 'ABC.') expect([...text].filter((one) => one === event).length).to.be.within(900, 1100);
  });

  it('ask where the car stands, and only when it is wanted', () => {
    const { slow, fast, targets } = parkingStream({ seed: 3 }).next(4000);
    let [slot, wanted] = [-1, 0];
    rowsOf(slow, 6).forEach((row, t) => {
      const target = [...targets.subarray(3 * t, 3 * t + 3)];
      const seen = row.slice(0, 3).indexOf(1);
      if (fast[t] === 1) {
        expect(slot).to.be.at.least(0);
        expect(target).to.eql([0, 1, 2].map((i) => Number(i === slot)));
        [slot, wanted] = [-1, wanted + 1];
      } else {
        expect(target).to.eql([0, 0, 0]);
      }
      if (seen >= 0) {
        expect(slot).to.equal(-1);
        slot = seen;
      }
    });
    expect(wanted).to.be.within(400, 600);
    const noise = rowsOf(slow, 6).flatMap((row) => row.slice(3));
    expect(noise.reduce((a, b) => a + b) / noise.length).to.be.closeTo(0.5, 0.03);
  });

  it('go on where they ended, the same for the same seed', () => {
    for (const make of [flipFlopStream, parkingStream]) {
      const [whole, parts] = [make({ seed: 5 }), make({ seed: 5 })];
      const { slow, targets } = whole.next(50);
      const [first, empty, second] = [parts.next(20), parts.next(0), parts.next(30)];
      expect(empty.slow.length).to.equal(0);
      expect([...first.slow, ...second.slow]).to.eql([...slow]);
      expect([...first.targets, ...second.targets]).to.eql([...targets]);
      expect(make({ seed: 6 }).next(50).slow).not.to.eql(slow);
    }
  });

  it('refuse what they do not know', () => {
    expectError('INVALID_ARGUMENT', /events/, () => flipFlopStream({ events: 2 }));
    expectError('INVALID_ARGUMENT', /slots/, () => parkingStream({ slots: 0 }));
    expectError('INVALID_ARGUMENT', /slot;/, () => parkingStream({ slot: 1 } as never));
    expectError('INVALID_ARGUMENT', /steps/, () => parkingStream().next(-1));
  });
});
