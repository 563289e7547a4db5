// The maze: its walls, what is seen and paid, and that the same number is the same episode.
import { expect } from 'chai';
import { data } from '../../lib';
import { expectError } from '../support/errors';

const { GridMaze } = data;
const [UP, DOWN, LEFT, RIGHT] = [0, 1, 2, 3];

/** Moves of one walker that go on until a reward is found, through rows of a 5 x 5 maze. */
const SWEEP = [UP, LEFT, DOWN, DOWN, RIGHT, RIGHT, UP, UP];

describe('GridMaze', () => {
  it('has walls around and pillars between, but for the middle', () => {
    const rows = (size: number): string[] => {
      const maze = new GridMaze({ size });
      return Array.from({ length: size }, (_, row) =>
        Array.from({ length: size }, (__, column) => (maze.isWall(row * size + column) ? '#' : '.')).join(''),
      );
    };
    expect(rows(5)).to.deep.equal(['#####', '#...#', '#...#', '#...#', '#####']);
    expect(rows(7)).to.deep.equal(['#######', '#.....#', '#.#.#.#', '#.....#', '#.#.#.#', '#.....#', '#######']);
  });

  it('shows the cells around, the last move and reward, and the time', () => {
    const maze = new GridMaze({ size: 7, batchSize: 1, steps: 4 });
    expect([...maze.reset(3)]).to.deep.equal([1, 0, 1, 0, 0, 0, 1, 0, 1, ...[0, 0, 0, 0], 0, 0]);
    const goal = maze.cells.goals[0];
    // From the middle (row 3, column 3) to the left of it: pillars above and below.
    const { observations, rewards } = maze.step([LEFT]);
    const found = goal === 23;
    expect([...rewards]).to.deep.equal([Number(found)]);
    expect([...observations.subarray(9)]).to.deep.equal([0, 0, 1, 0, Number(found), 0.25]);
    if (!found) expect([...observations.subarray(0, 9)]).to.deep.equal([0, 1, 0, 0, 0, 0, 0, 1, 0]);
  });

  it('keeps walkers out of walls', () => {
    const maze = new GridMaze({ size: 5, batchSize: 40, steps: 100 });
    for (let step = 0; step < 100; step++) {
      maze.step(Array.from({ length: 40 }, (_, b) => (b + Math.floor(step / 5)) % 4));
      for (const place of maze.cells.places) expect(maze.isWall(place)).to.equal(false);
    }
  });

  it('pays where the reward lies, which stays there, and puts who found it elsewhere', () => {
    const maze = new GridMaze({ size: 5, batchSize: 64, seed: 2 });
    maze.reset(0);
    const { goals, places } = maze.cells;
    expect(new Set(goals).size).to.equal(8);
    expect([...goals]).to.not.include(12);
    expect([...new Set(places)]).to.deep.equal([12]);
    const paid = new Float32Array(64);
    const landed = new Set<number>();
    for (const move of SWEEP) {
      const { rewards } = maze.step(new Array<number>(64).fill(move));
      const now = maze.cells;
      expect(now.goals).to.deep.equal(goals);
      rewards.forEach((reward, b) => {
        paid[b] += reward;
        if (reward > 0) landed.add(now.places[b]);
        expect(now.places[b]).to.not.equal(goals[b]);
      });
    }
    expect(paid.every((reward) => reward >= 1)).to.equal(true);
    expect(landed.size).to.be.above(5);
  });

  it('is the same for the same seed and episode, and other in evaluation', () => {
    const of = (seed: number, episode: number, evaluation = false): number[] => {
      const maze = new GridMaze({ seed, size: 9, batchSize: 8 });
      maze.reset(episode, evaluation);
      return [...maze.cells.goals];
    };
    expect(of(1, 5)).to.deep.equal(of(1, 5));
    const others = [of(2, 5), of(1, 6), of(1, 5, true)];
    for (const other of others) expect(other).to.not.deep.equal(of(1, 5));
  });

  it('refuses sizes and moves that cannot be', () => {
    expectError('INVALID_ARGUMENT', /size must be odd, got 6/, () => new GridMaze({ size: 6 }));
    expectError('INVALID_ARGUMENT', /size must be/, () => new GridMaze({ size: 3 }));
    const maze = new GridMaze({ batchSize: 2 });
    expectError('SHAPE', /moves must be 2 numbers, got 1/, () => maze.step([0]));
    expectError('INVALID_ARGUMENT', /moves\[1\] must be/, () => maze.step([0, 4]));
    expectError('INVALID_ARGUMENT', /episode must be/, () => maze.reset(-1));
  });
});
