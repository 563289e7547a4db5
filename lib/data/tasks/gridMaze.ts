// A maze for meta-learning (spec 3.12; Miconi et al. 2019): where the reward lies is to be found and remembered.
import { argumentError, checkInteger, checkOptions, type HostRandom, type OptionNames } from '../../core';
import { evaluationRandom, MAX_STEP, trainingRandom } from '../dataset';

/** Options of `GridMaze`. */
export interface GridMazeOptions {
  /** Default 0. */
  seed?: number;
  /** Cells on a side, those of the wall among them: odd, 9 by default. */
  size?: number;
  /** B: mazes that are walked at the same time, 16 by default. */
  batchSize?: number;
  /** Steps of an episode, 200 by default. */
  steps?: number;
}

const OPTIONS: OptionNames<GridMazeOptions> = { seed: true, size: true, batchSize: true, steps: true };

/** Up, down, left, right. */
const MOVES = [
  [-1, 0],
  [1, 0],
  [0, -1],
  [0, 1],
] as const;

/**
 * B grids within walls, with a pillar wherever row and column are even, but for the middle, where a walker starts. In every
 * episode the reward, which cannot be seen, lies in another free cell, not in the middle; who comes there is paid 1 and put
 * into a free cell at random. Walls cannot be entered. Who walks sees the 3 x 3 cells around (1 for a wall), the last move
 * as one of 4, the last reward and the share of the episode that is over.
 */
export class GridMaze {
  /** Numbers of an observation. */
  readonly inputSize = 15;
  /** Moves to choose from: up, down, left, right. */
  readonly actions = MOVES.length;
  /** Cells on a side. */
  readonly size: number;
  /** Mazes that are walked at the same time. */
  readonly batchSize: number;
  /** Steps of an episode. */
  readonly steps: number;
  private readonly seed: number;
  /** Free cells but for the middle. */
  private readonly free: number[] = [];
  private random!: HostRandom;
  private time = 0;
  private readonly places: Int32Array;
  private readonly goals: Int32Array;
  private readonly moves: Int32Array;
  private readonly rewards: Float32Array;

  constructor(options: GridMazeOptions = {}) {
    const where = 'GridMaze';
    checkOptions(where, options, OPTIONS);
    this.seed = checkInteger(where, 'seed', options.seed ?? 0);
    this.size = checkInteger(where, 'size', options.size ?? 9, 5, 99);
    if (this.size % 2 === 0) throw argumentError('INVALID_ARGUMENT', where, 'size', 'odd', String(this.size));
    this.batchSize = checkInteger(where, 'batchSize', options.batchSize ?? 16, 1);
    this.steps = checkInteger(where, 'steps', options.steps ?? 200, 1);
    for (let cell = 0; cell < this.size ** 2; cell++) {
      if (!this.isWall(cell) && cell !== this.middle) this.free.push(cell);
    }
    const B = this.batchSize;
    [this.places, this.goals, this.moves] = [new Int32Array(B), new Int32Array(B), new Int32Array(B)];
    this.rewards = new Float32Array(B);
    this.reset(0);
  }

  private get middle(): number {
    return (this.size ** 2 - 1) / 2;
  }

  /** Whether a cell, row size + column, is wall or pillar. */
  isWall(cell: number): boolean {
    const [row, column, last] = [Math.floor(cell / this.size), cell % this.size, this.size - 1];
    if (row === 0 || column === 0 || row === last || column === last) return true;
    return row % 2 === 0 && column % 2 === 0 && cell !== this.middle;
  }

  /** The cells in which the walkers stand, and those in which the rewards lie. */
  get cells(): { places: Int32Array; goals: Int32Array } {
    return { places: this.places.slice(), goals: this.goals.slice() };
  }

  /** Begins the episode of a number, the same for the same seed, or one for evaluation; the first observations [B, 15]. */
  reset(episode: number, evaluation = false): Float32Array {
    const at = checkInteger('GridMaze.reset', 'episode', episode, 0, MAX_STEP - 1);
    this.random = evaluation ? evaluationRandom(this.seed, at) : trainingRandom(this.seed, at);
    this.time = 0;
    this.places.fill(this.middle);
    for (let b = 0; b < this.batchSize; b++) this.goals[b] = this.free[this.random.below(this.free.length)];
    this.moves.fill(-1);
    this.rewards.fill(0);
    return this.observe();
  }

  /** A move [B] of every walker, from 0 to 3; the next observations [B, 15] and what each was paid [B]. */
  step(moves: ArrayLike<number>): { observations: Float32Array; rewards: Float32Array } {
    const where = 'GridMaze.step';
    if (moves.length !== this.batchSize) {
      throw argumentError('SHAPE', where, 'moves', `${this.batchSize} numbers`, String(moves.length));
    }
    for (let b = 0; b < this.batchSize; b++) {
      const move = checkInteger(where, `moves[${b}]`, moves[b], 0, MOVES.length - 1);
      const [down, right] = MOVES[move];
      const next = this.places[b] + down * this.size + right;
      if (!this.isWall(next)) this.places[b] = next;
      this.moves[b] = move;
      const found = this.places[b] === this.goals[b];
      this.rewards[b] = found ? 1 : 0;
      if (found) this.places[b] = this.anywhereBut(this.goals[b]);
    }
    this.time++;
    return { observations: this.observe(), rewards: this.rewards.slice() };
  }

  private anywhereBut(goal: number): number {
    const at = this.random.below(this.free.length);
    return this.free[at] === goal ? this.middle : this.free[at];
  }

  private observe(): Float32Array {
    const { inputSize: I, size } = this;
    const seen = new Float32Array(this.batchSize * I);
    for (let b = 0; b < this.batchSize; b++) {
      for (let i = 0; i < 9; i++) {
        const cell = this.places[b] + (Math.floor(i / 3) - 1) * size + (i % 3) - 1;
        seen[b * I + i] = this.isWall(cell) ? 1 : 0;
      }
      if (this.moves[b] >= 0) seen[b * I + 9 + this.moves[b]] = 1;
      seen[b * I + 13] = this.rewards[b];
      seen[b * I + 14] = this.time / this.steps;
    }
    return seen;
  }
}
