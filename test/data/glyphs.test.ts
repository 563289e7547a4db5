// Episodes of glyphs: what is drawn, how labels go with drawings, and that classes differ more than drawings of one.
import { expect } from 'chai';
import { type GlyphBatch, glyphEpisodes } from '../../lib/data';
import { expectError } from '../support/errors';

const drawing = ({ images, length }: GlyphBatch, b: number, t: number, pixels = 64): number[] => [
  ...images.subarray((b * length + t) * pixels, (b * length + t + 1) * pixels),
];

const distance = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0);

describe('episodes of glyphs', () => {
  it('show every class as often, and ask for one of them', () => {
    const data = glyphEpisodes({ ways: 4, shots: 3, seed: 1 });
    expect([data.length, data.pixels, data.ways]).to.eql([13, 64, 4]);
    const batch = data.batch(2, 50);
    const asked = new Array<number>(4).fill(0);
    for (let b = 0; b < 50; b++) {
      const labels = [...batch.labels.subarray(b * 13, b * 13 + 12)];
      expect(labels.sort()).to.eql([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
      expect(batch.labels[b * 13 + 12]).to.equal(0);
      asked[batch.targets[b]]++;
    }
    for (const count of asked) expect(count).to.be.within(3, 25);
    expect(batch.images.every((x) => x >= 0 && x <= 1)).to.equal(true);
    expect(data.batch(2, 50)).to.eql(glyphEpisodes({ ways: 4, shots: 3, seed: 1 }).batch(2, 50));
    expect(data.batch(3, 50).images).not.to.eql(batch.images);
    expect(data.evaluation()).to.eql(data.evaluation());
  });

  it('draw a class again much as before', () => {
    const batch = glyphEpisodes({ evaluationSize: 300 }).evaluation();
    let nearest = 0;
    for (let b = 0; b < 300; b++) {
      const query = drawing(batch, b, 5);
      const far = [0, 1, 2, 3, 4].map((t) => distance(query, drawing(batch, b, t)));
      nearest += Number(batch.labels[b * 6 + far.indexOf(Math.min(...far))] === batch.targets[b]);
    }
    expect(nearest / 300).to.be.within(0.85, 0.999);
    const still = glyphEpisodes({ ways: 1, jitter: 0 }).batch(0, 1);
    expect(drawing(still, 0, 0)).to.eql(drawing(still, 0, 1));
  });

  it('refuse what they do not know', () => {
    expectError('INVALID_ARGUMENT', /ways/, () => glyphEpisodes({ ways: 0 }));
    expectError('INVALID_ARGUMENT', /jitter/, () => glyphEpisodes({ jitter: -1 }));
    expectError('INVALID_ARGUMENT', /way;/, () => glyphEpisodes({ way: 3 } as never));
    expectError('INVALID_ARGUMENT', /step/, () => glyphEpisodes().batch(-1, 1));
  });
});
