// Memories that solve for their answers, for the tests that every sequential rule has.
import type { SequentialCase } from './sequentialCases';

export const SOLVED: SequentialCase[] = [
  {
    name: 'mesa',
    title: 'exact',
    inputs: {
      k: 'B T H D',
      q: 'B T H D',
      v: 'B T H V',
      gate: ['B T H', -1, 0],
      beta: ['B T H', 0, 1],
      lambda: ['H D', 0.5, 1.5],
    },
    states: { initialKeyState: ['B H D D', 0.02], initialState: 'B H D V' },
    stepNames: { initialKeyState: 'keyState', initialState: 'state' },
    symmetric: ['initialKeyState'],
    sizes: [
      { B: 1, T: 1 },
      { T: 2, V: 3 },
      { T: 130, D: 5, H: 3 },
      { T: 65, D: 32, V: 16 },
      { D: 1 },
      { D: 0 },
      { V: 0 },
    ],
  },
];
