// Glyphs of random strokes, drawn again and again by an unsteady hand, as a stand-in for sets of characters (spec 3.7, 3.10).
import { checkInteger, checkNumber, checkOptions, type HostRandom, type OptionNames } from '../../core';
import { evaluationRandom, MAX_STEP, trainingRandom } from '../dataset';

/** Options of `glyphEpisodes`. */
export interface GlyphEpisodesOptions {
  /** Classes of an episode, 5 by default. */
  ways?: number;
  /** Labelled drawings of each, 1 by default. */
  shots?: number;
  /** Width and height of a drawing, 8 by default. */
  size?: number;
  /** How far the hand strays, in widths of a drawing: 0.04 by default. */
  jitter?: number;
  /** Default 0. */
  seed?: number;
  /** Episodes in the evaluation set, default 256. */
  evaluationSize?: number;
}

/** Episodes: labelled drawings in random order, and one to be classified. */
export interface GlyphBatch {
  /** B */
  batchSize: number;
  /** T = ways shots + 1; the last drawing is the query. */
  length: number;
  /** [B, T, size size], from 0 to 1. */
  images: Float32Array;
  /** [B, T]; 0 at the query. */
  labels: Int32Array;
  /** [B]: the class of the query. */
  targets: Int32Array;
}

/** Batches of episodes; no `Dataset`, since its inputs are drawings. */
export interface GlyphEpisodes {
  /** Always `glyphEpisodes`. */
  readonly name: string;
  /** A line for people. */
  readonly description: string;
  /** Classes of an episode. */
  readonly ways: number;
  /** T */
  readonly length: number;
  /** Pixels of a drawing. */
  readonly pixels: number;
  /** The training batch of a step; the same (seed, step, batchSize) gives the same batch in every process. */
  batch(step: number, batchSize: number): GlyphBatch;
  /** The fixed evaluation set. */
  evaluation(): GlyphBatch;
}

const OPTIONS: OptionNames<GlyphEpisodesOptions> = {
  ways: true,
  shots: true,
  size: true,
  jitter: true,
  seed: true,
  evaluationSize: true,
};

const STROKES = 3;
/** The deviation of ink across a stroke, in widths of a drawing. */
const PEN = 0.07;

type Point = readonly [x: number, y: number];

/** Ends of its strokes, one after the other. */
export type Glyph = readonly Point[];

/** A glyph of three strokes, some of which hang together. */
function randomGlyph(random: HostRandom): Glyph {
  const anywhere = (): Point => [0.15 + 0.7 * random.next(), 0.15 + 0.7 * random.next()];
  const points: Point[] = [];
  for (let i = 0; i < STROKES; i++)
    points.push(i > 0 && random.below(2) > 0 ? points[points.length - 1] : anywhere(), anywhere());
  return points;
}

/** Draws it [size, size], from 0 to 1; each end strays by up to `jitter` in both directions, all of it by as much. */
function drawGlyph(glyph: Glyph, size: number, random: HostRandom, jitter: number, out: Float32Array): void {
  const stray = (): number => jitter * (2 * random.next() - 1);
  const [dx, dy] = [stray(), stray()];
  const ends = glyph.map(([x, y]) => [x + dx + stray(), y + dy + stray()] as const);
  const strokes = Array.from({ length: ends.length / 2 }, (_, s) => {
    const [[ax, ay], [bx, by]] = [ends[2 * s], ends[2 * s + 1]];
    const [ux, uy] = [bx - ax, by - ay];
    return { ax, ay, ux, uy, square: ux * ux + uy * uy + 1e-12 };
  });
  for (let i = 0; i < size; i++) {
    const y = (i + 0.5) / size;
    for (let j = 0; j < size; j++) {
      const x = (j + 0.5) / size;
      let nearest = Infinity;
      for (const { ax, ay, ux, uy, square } of strokes) {
        const along = Math.min(1, Math.max(0, ((x - ax) * ux + (y - ay) * uy) / square));
        const [wx, wy] = [x - ax - along * ux, y - ay - along * uy];
        nearest = Math.min(nearest, wx * wx + wy * wy);
      }
      out[i * size + j] = Math.exp(-nearest / (2 * PEN * PEN));
    }
  }
}

/**
 * Episodes of few-shot classification with synchronous labels: `ways` new glyphs, `shots` drawings of each with its
 * label, in random order, then one more drawing of one of them (Irie, Schlag, Csordas, Schmidhuber 2022 have Omniglot
 * there).
 */
export function glyphEpisodes(options: GlyphEpisodesOptions = {}): GlyphEpisodes {
  const name = 'glyphEpisodes';
  checkOptions(name, options, OPTIONS);
  const ways = checkInteger(name, 'ways', options.ways ?? 5, 1);
  const shots = checkInteger(name, 'shots', options.shots ?? 1, 1);
  const size = checkInteger(name, 'size', options.size ?? 8, 1);
  const jitter = checkNumber(name, 'jitter', options.jitter ?? 0.04, 0, 1);
  const seed = checkInteger(name, 'seed', options.seed ?? 0);
  const evaluationSize = checkInteger(name, 'evaluationSize', options.evaluationSize ?? 256, 1, MAX_STEP);
  const [length, pixels] = [ways * shots + 1, size * size];

  const collect = (batchSize: number, randomOf: (b: number) => HostRandom): GlyphBatch => {
    const images = new Float32Array(batchSize * length * pixels);
    const labels = new Int32Array(batchSize * length);
    const targets = new Int32Array(batchSize);
    for (let b = 0; b < batchSize; b++) {
      const random = randomOf(b);
      const glyphs = Array.from({ length: ways }, () => randomGlyph(random));
      targets[b] = random.below(ways);
      const order = random.shuffle(Array.from({ length: length - 1 }, (_, i) => i % ways));
      [...order, targets[b]].forEach((label, t) => {
        const at = b * length + t;
        if (t < length - 1) labels[at] = label;
        drawGlyph(glyphs[label], size, random, jitter, images.subarray(at * pixels, (at + 1) * pixels));
      });
    }
    return { batchSize, length, images, labels, targets };
  };

  return {
    name,
    description: `${shots} drawings of each of ${ways} glyphs, and one more`,
    ways,
    length,
    pixels,
    batch(step, batchSize) {
      const random = trainingRandom(seed, checkInteger(name, 'step', step, 0, MAX_STEP - 1));
      return collect(checkInteger(name, 'batchSize', batchSize, 1), () => random);
    },
    evaluation: () => collect(evaluationSize, (b) => evaluationRandom(seed, b)),
  };
}
