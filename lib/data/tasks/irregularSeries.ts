// Classification of series that are observed at irregular times (the kind of data of spec 3.9): noisy points that turn.
import { checkInteger, checkNumber, checkOptions, type HostRandom, type OptionNames } from '../../core';
import { evaluationRandom, MAX_STEP, trainingRandom } from '../dataset';

/** Options of `irregularSeries`. */
export interface IrregularSeriesOptions {
  /** Default 0. */
  seed?: number;
  /** Speeds of turning, each in both directions: 2 default; there are twice as many classes. */
  speeds?: number;
  /** Times of a batch, default 16. */
  length?: number;
  /** How probable it is that a value is missing, from 0 to 0.9: 0.3 by default. */
  missing?: number;
  /** The standard deviation of what is added to every value, 0.1 by default. */
  noise?: number;
  /** Series in the evaluation set, default 256. */
  evaluationSize?: number;
}

/** Series that share the times of a batch, as a spline takes them. */
export interface SeriesBatch {
  /** [L], increasing from 0 to 1, random between. */
  times: Float64Array;
  /** [B, L, 3]: the time, and the two coordinates, NaN where they are missing. */
  values: Float32Array;
  /** The position of each series' last observation, [B]. */
  finalIndex: Int32Array;
  /** [B] */
  labels: Int32Array;
}

/** Batches of series with labels. */
export interface SeriesDataset {
  /** The number of classes. */
  readonly classes: number;
  /** Values at a time: the time itself and two coordinates. */
  readonly channels: number;
  /** Series in the evaluation set. */
  readonly evaluationSize: number;
  /** The training batch of a step; the same (seed, step, batchSize) gives the same batch in every process. */
  batch(step: number, batchSize: number): SeriesBatch;
  /** The evaluation set, the same whatever the size of its batches, which share their times. */
  evaluation(batchSize: number): Iterable<SeriesBatch>;
}

const OPTIONS: OptionNames<IrregularSeriesOptions> = {
  seed: true,
  speeds: true,
  length: true,
  missing: true,
  noise: true,
  evaluationSize: true,
};

const normal = (random: HostRandom): number =>
  Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());

/**
 * Points that turn around the origin at one of some speeds, in one of two directions, from a random start; they are seen at
 * random times until a random one after the middle, now one coordinate, now both, with noise. The class is 2 speed +
 * direction.
 */
export function irregularSeries(options: IrregularSeriesOptions = {}): SeriesDataset {
  const where = 'irregularSeries';
  checkOptions(where, options, OPTIONS);
  const seed = checkInteger(where, 'seed', options.seed ?? 0);
  const speeds = checkInteger(where, 'speeds', options.speeds ?? 2, 1);
  const L = checkInteger(where, 'length', options.length ?? 16, 4);
  const missing = checkNumber(where, 'missing', options.missing ?? 0.3, 0, 0.9);
  const noise = checkNumber(where, 'noise', options.noise ?? 0.1, 0, 1e3);
  const evaluationSize = checkInteger(where, 'evaluationSize', options.evaluationSize ?? 256, 1, MAX_STEP);

  const make = (size: number, ofTimes: HostRandom, ofSeries: (b: number) => HostRandom): SeriesBatch => {
    // No gap is shorter than a quarter of the mean one: solvers step by the shortest.
    const gaps = Array.from({ length: L - 1 }, () => 0.25 + 1.5 * ofTimes.next());
    const whole = gaps.reduce((sum, gap) => sum + gap, 0);
    const times = new Float64Array(L);
    gaps.forEach((gap, i) => (times[i + 1] = times[i] + gap / whole));
    times[L - 1] = 1;
    const values = new Float32Array(size * L * 3);
    const [finalIndex, labels] = [new Int32Array(size), new Int32Array(size)];
    for (let b = 0; b < size; b++) {
      const random = ofSeries(b);
      labels[b] = random.below(2 * speeds);
      finalIndex[b] = Math.floor(L / 2) + random.below(L - Math.floor(L / 2));
      const turns = (1 + Math.floor(labels[b] / 2)) * (labels[b] % 2 === 0 ? 1 : -1);
      const start = 2 * Math.PI * random.next();
      times.forEach((t, i) => {
        const angle = start + 2 * Math.PI * turns * t;
        const place = (b * L + i) * 3;
        values[place] = t;
        [Math.cos(angle), Math.sin(angle)].forEach((value, c) => {
          const [error, seen] = [noise * normal(random), random.next() >= missing];
          values[place + 1 + c] = seen && i <= finalIndex[b] ? value + error : NaN;
        });
      });
    }
    return { times, values, finalIndex, labels };
  };

  return {
    classes: 2 * speeds,
    channels: 3,
    evaluationSize,
    batch(step, batchSize) {
      const random = trainingRandom(seed, checkInteger(where, 'step', step, 0, MAX_STEP - 1));
      return make(checkInteger(where, 'batchSize', batchSize, 1), random, () => random);
    },
    *evaluation(batchSize) {
      checkInteger(where, 'batchSize', batchSize, 1);
      for (let first = 0; first < evaluationSize; first += batchSize) {
        const size = Math.min(batchSize, evaluationSize - first);
        yield make(size, evaluationRandom(seed, 0), (b) => evaluationRandom(seed, 1 + first + b));
      }
    },
  };
}
