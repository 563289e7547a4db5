// Attention to slots, for the tests that every sequential rule has.
import type { SequentialCase } from './sequentialCases';

const STATES = { initialKeyState: 'B H D I', initialValueState: 'B H I V' } as const;
const STEP_NAMES = { initialKeyState: 'keyState', initialValueState: 'valueState' } as const;

export const SLOTS: SequentialCase[] = [
  {
    name: 'gsa',
    title: 'a memory for each query head',
    inputs: { k: 'B T H D', v: 'B T H V', q: 'B T H D', slots: ['B T H I', 0, 1], gate: ['B T H I', -1, 0] },
    states: STATES,
    stepNames: STEP_NAMES,
    sizes: [
      { B: 1, T: 1 },
      { T: 2, V: 3 },
      { T: 130, I: 5, H: 3 },
      { T: 65, I: 16, V: 32 },
      { I: 1 },
      { D: 0 },
      { V: 0 },
    ],
  },
  {
    name: 'gsa',
    title: 'a memory for every two query heads, strong gates',
    inputs: { k: 'B T H D', v: 'B T H V', q: 'B T 2H D', slots: ['B T H I', 0, 1], gate: ['B T H I', -20, -15] },
    states: STATES,
    stepNames: STEP_NAMES,
    options: { scale: 1 },
    sizes: [{ T: 70 }],
  },
  {
    name: 'abc',
    title: 'bounded memory',
    inputs: { slots: ['B T H I', 3], k: 'B T H D', v: 'B T H V', q: 'B T 2H D' },
    states: { ...STATES, initialLogSum: 'B H I' },
    stepNames: { ...STEP_NAMES, initialLogSum: 'logSum' },
    sizes: [{ B: 1, T: 1 }, { T: 130, I: 5 }, { I: 1 }],
  },
];
