// The tasks of Schmidhuber 1992 (spec 3.1): endless streams of events, read once from the beginning.
import { checkInteger, checkNumber, checkOptions, type HostRandom, type OptionNames } from '../../core';
import { trainingRandom } from '../dataset';

/** The next steps of a stream, row by row. */
export interface StreamSteps {
  /** T */
  steps: number;
  /** What the slow net sees [T, slowSize]. */
  slow: Float32Array;
  /** What the fast net sees [T, fastSize]. */
  fast: Float32Array;
  /** What the fast net is to give out [T, outputSize]. */
  targets: Float32Array;
}

/** Events without an end. */
export interface EventStream {
  /** One word. */
  readonly name: string;
  /** Inputs of the slow net. */
  readonly slowSize: number;
  /** Inputs of the fast net. */
  readonly fastSize: number;
  /** Outputs of the fast net. */
  readonly outputSize: number;
  /** The next steps, from where the last ones ended; the same seed gives the same stream in every process. */
  next(steps: number): StreamSteps;
}

/** Options of `flipFlopStream`. */
export interface FlipFlopOptions {
  /** Default 0. */
  seed?: number;
  /** How probable an event is in a step; the three are equally so. 0.75 by default. */
  events?: number;
}

/** Options of `parkingStream`. */
export interface ParkingOptions {
  /** Default 0. */
  seed?: number;
  /** Where the car may stand: 3 by default. */
  slots?: number;
  /** Random binary inputs that mean nothing: 3 by default. */
  distractors?: number;
  /** How probable it is in a step that driving ends: 0.25 by default. */
  stop?: number;
  /** How probable it is in a step that the business ends and the car is wanted: 0.25 by default. */
  end?: number;
}

const FLIP_FLOP: OptionNames<FlipFlopOptions> = { seed: true, events: true };
const PARKING: OptionNames<ParkingOptions> = { seed: true, slots: true, distractors: true, stop: true, end: true };

type Draw = (random: HostRandom, slow: Float32Array, fast: Float32Array, target: Float32Array) => void;

function stream(sizes: Omit<EventStream, 'next'>, seed: number, draw: Draw): EventStream {
  const { name, slowSize, fastSize, outputSize } = sizes;
  const random = trainingRandom(seed, 0);
  return {
    ...sizes,
    next(steps) {
      checkInteger(name, 'steps', steps, 0);
      const [slow, fast, targets] = [slowSize, fastSize, outputSize].map((size) => new Float32Array(steps * size));
      const row = (all: Float32Array, t: number): Float32Array =>
        all.subarray((t * all.length) / steps, ((t + 1) * all.length) / steps);
      for (let t = 0; t < steps; t++) draw(random, row(slow, t), row(fast, t), row(targets, t));
      return { steps, slow, fast, targets };
    },
  };
}

/**
 * Events A, B and C, one-hot for both nets, or none, at random; the output is to be 1 at the first B after an A, else 0
 * (Schmidhuber 1992, the flip-flop with unknown delays).
 */
export function flipFlopStream(options: FlipFlopOptions = {}): EventStream {
  const name = 'flipFlopStream';
  checkOptions(name, options, FLIP_FLOP);
  const seed = checkInteger(name, 'seed', options.seed ?? 0);
  const events = checkNumber(name, 'events', options.events ?? 0.75, 0, 1);
  let waiting = false;
  return stream({ name, slowSize: 3, fastSize: 3, outputSize: 1 }, seed, (random, slow, fast, target) => {
    if (random.next() >= events) return;
    const event = random.below(3);
    slow[event] = fast[event] = 1;
    if (event === 1 && waiting) target[0] = 1;
    if (event !== 2) waiting = event === 0;
  });
}

/**
 * A car drives, until it is parked in a random slot, and stands until it is wanted. The slow net sees the slot while
 * parking, and distractors always; the fast net sees 1 when the car is wanted, and is to give out the slot, one-hot, then
 * and 0 at all other times (Schmidhuber 1992, "where did I park my car?").
 */
export function parkingStream(options: ParkingOptions = {}): EventStream {
  const name = 'parkingStream';
  checkOptions(name, options, PARKING);
  const seed = checkInteger(name, 'seed', options.seed ?? 0);
  const slots = checkInteger(name, 'slots', options.slots ?? 3, 1);
  const distractors = checkInteger(name, 'distractors', options.distractors ?? 3, 0);
  const stop = checkNumber(name, 'stop', options.stop ?? 0.25, 0, 1);
  const end = checkNumber(name, 'end', options.end ?? 0.25, 0, 1);
  let parked = -1;
  const sizes = { name, slowSize: slots + distractors, fastSize: 1, outputSize: slots };
  return stream(sizes, seed, (random, slow, fast, target) => {
    for (let i = 0; i < distractors; i++) slow[slots + i] = random.below(2);
    if (parked < 0) {
      if (random.next() >= stop) return;
      parked = random.below(slots);
      slow[parked] = 1;
    } else if (random.next() < end) {
      fast[0] = target[parked] = 1;
      parked = -1;
    }
  });
}
