// Turns: several loops that rest together hold the thread no longer than one.
import { expect } from 'chai';
import { Pace } from '../../lib/platform';

describe('a pace', () => {
  it('lets others have a turn after each loop, not after all of them', async () => {
    const [loops, steps] = [5, 4];
    let turns = 0;
    let done = false;
    const count = (): void => {
      turns++;
      if (!done) setImmediate(count);
    };
    setImmediate(count);
    const order: number[] = [];
    const loop = async (name: number): Promise<void> => {
      const pace = new Pace();
      for (let i = 0; i < steps; i++) {
        for (const end = performance.now() + 5; performance.now() < end;);
        await pace.rest();
        order.push(name);
      }
    };
    await Promise.all(Array.from({ length: loops }, (_, i) => loop(i)));
    done = true;
    expect(turns).to.be.at.least(loops * (steps - 1));
    expect(order).to.deep.equal(Array.from({ length: loops * steps }, (_, i) => i % loops));
  });

  it('does not rest where there was a turn just now', async () => {
    const pace = new Pace(1000);
    let turned = false;
    setImmediate(() => (turned = true));
    for (let i = 0; i < 100; i++) await pace.rest();
    expect(turned).to.equal(false);
  });
});
