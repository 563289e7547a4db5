// Newer memories, as the tests of every sequential rule draw them.
import type { SequentialCase } from './sequentialCases';

const PRECONDITIONER = {
  preconditionerGate: ['B T H', -1, 0],
  preconditionerBeta: ['B T H', 0, 1],
  preconditionerCenter: 'H',
} satisfies SequentialCase['inputs'];

export const MEMORIES: SequentialCase[] = [
  {
    name: 'preconditionedDeltaRule',
    title: 'a gate per head, two value heads for a key head',
    inputs: {
      k: 'B T H D',
      q: 'B T H D',
      v: 'B T 2H V',
      gate: ['B T 2H', -1, 0],
      beta: ['B T 2H', 0, 1],
      ...PRECONDITIONER,
    },
    states: { initialState: 'B 2H D V', initialPreconditioner: ['B H D', 0, 1] },
    stepNames: { initialState: 'state', initialPreconditioner: 'preconditioner' },
    sizes: [{ B: 1, T: 1 }, { T: 65, D: 5 }, { V: 0 }],
  },
  {
    name: 'preconditionedDeltaRule',
    title: 'a gate per channel, no strength',
    inputs: { k: ['B T H D', 0.3], q: 'B T H D', v: 'B T H V', gate: ['B T H D', -3, 0], ...PRECONDITIONER },
    states: { initialState: 'B H D V', initialPreconditioner: ['B H D', 0, 1] },
    stepNames: { initialState: 'state', initialPreconditioner: 'preconditioner' },
    options: { base: 2, eps: 1e-3, scale: 1 },
    sizes: [{ T: 130, V: 3 }, { D: 0 }],
  },
  {
    name: 'longhorn',
    title: 'diagonal',
    inputs: { x: 'B T D', betaLogit: 'B T D', q: 'B T I', k: 'B T I', d: 'D', z: 'B T D' },
    states: { initialState: 'B D I' },
    stepNames: { initialState: 'state' },
    sizes: [{ B: 1, T: 1 }, { T: 65, I: 5 }, { I: 0 }],
  },
  {
    name: 'longhorn',
    title: 'exact',
    inputs: { x: 'B T D', betaLogit: 'B T D', q: 'B T I', k: 'B T I' },
    states: { initialState: 'B D I' },
    stepNames: { initialState: 'state' },
    options: { diagonal: false },
    sizes: [
      { B: 1, T: 1 },
      { T: 65, I: 5 },
    ],
  },
];
