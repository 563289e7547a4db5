// The scans of Mamba and what came after them, for the tests that every sequential rule has.
import type { SequentialCase } from './sequentialCases';

export const SCANS: SequentialCase[] = [
  {
    name: 'mamba2Scan',
    title: 'one group',
    inputs: { x: 'B T H V', dt: 'B T H', aLog: 'H', b: 'B T 1 I', c: 'B T 1 I', d: 'H', dtBias: 'H' },
    states: { initialState: 'B H I V' },
    stepNames: { initialState: 'state' },
    sizes: [{ B: 1, T: 1 }, { T: 2, V: 3 }, { T: 130, I: 5, H: 3 }, { T: 65, V: 32, I: 16 }, { I: 0 }, { V: 0 }],
  },
  {
    name: 'mamba2Scan',
    title: 'a group for every two heads, steps within limits',
    inputs: { x: 'B T 2H V', dt: 'B T 2H', aLog: '2H', b: 'B T H I', c: 'B T H I', d: '2H V' },
    states: { initialState: 'B 2H I V' },
    stepNames: { initialState: 'state' },
    options: { dtLimit: [0.5, 0.9], scale: 0.5 },
    sizes: [{ T: 70 }],
  },
  {
    name: 'selectiveScan',
    title: 'with its skip',
    inputs: { x: 'B T D', dt: 'B T D', aLog: 'D I', b: 'B T I', c: 'B T I', d: 'D', dtBias: 'D' },
    states: { initialState: 'B D I' },
    stepNames: { initialState: 'state' },
    sizes: [{ B: 1, T: 1 }, { T: 130, I: 16 }, { T: 65, D: 40 }, { I: 1 }, { D: 0 }, { I: 0 }],
  },
  {
    name: 'mamba3Scan',
    title: 'biases, three pairs that turn',
    inputs: {
      x: 'B T 2H V',
      dt: 'B T 2H',
      gate: 'B T 2H',
      trap: 'B T 2H',
      angles: 'B T 2H 3',
      b: 'B T H D',
      c: 'B T H D',
      bBias: '2H D',
      cBias: '2H D',
      d: '2H',
    },
    states: { initialState: 'B 2H D V', initialKey: 'B 2H D', initialValue: 'B 2H V', initialAngle: 'B 2H 3' },
    stepNames: { initialState: 'state', initialKey: 'key', initialValue: 'value', initialAngle: 'angle' },
    sizes: [
      { B: 1, T: 1 },
      { T: 70, D: 16 },
    ],
  },
];
