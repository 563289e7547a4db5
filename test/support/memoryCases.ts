// Newer memories, as the tests of every sequential rule draw them.
import type { SequentialCase } from './sequentialCases';

const PRECONDITIONER = {
  preconditionerGate: ['B T H', -1, 0],
  preconditionerBeta: ['B T H', 0, 1],
  preconditionerCenter: 'H',
} satisfies SequentialCase['inputs'];

const GROWING = { initialKeys: 'keys', initialValues: 'values', initialDecays: 'decays' };

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
  {
    name: 'forgettingAttention',
    title: 'two query heads for a key head',
    inputs: { k: 'B T H D', q: 'B T 2H D', v: 'B T H V', gate: ['B T 2H', -2, 0] },
    states: { initialKeys: 'B S H D', initialValues: 'B S H V', initialDecays: ['B S 2H', -2, 0] },
    stepNames: GROWING,
    grows: true,
    sizes: [
      { B: 1, T: 1 },
      { T: 130, D: 5 },
      { T: 65, S: 0 },
    ],
  },
  {
    name: 'forgettingAttention',
    title: 'a window, strong gates',
    inputs: { k: 'B T H D', q: 'B T H D', v: 'B T H V', gate: ['B T H', -22, 0] },
    states: { initialKeys: 'B S H D', initialValues: 'B S H V', initialDecays: ['B S H', -2, 0] },
    stepNames: GROWING,
    options: { windowSize: 30, scale: 1 },
    grows: true,
    sizes: [{ T: 140 }],
  },
  {
    name: 'pathAttention',
    title: 'gated, two query heads for a key head',
    inputs: {
      k: 'B T H D',
      q: 'B T 2H D',
      v: 'B T H V',
      w: ['B T H D', 0.5],
      beta: ['B T H', 0, 1],
      gate: ['B T 2H', -1, 0],
    },
    states: { initialKeys: 'B S H D', initialValues: 'B S H V', initialDecays: ['B S 2H', -2, 0] },
    stepNames: GROWING,
    grows: true,
    sizes: [
      { B: 1, T: 1 },
      { T: 130, D: 5 },
      { T: 65, S: 0 },
    ],
  },
  {
    name: 'pathAttention',
    title: 'without a gate',
    inputs: { k: 'B T H D', q: 'B T H D', v: 'B T H V', w: ['B T H D', 0.5], beta: ['B T H', 0, 2] },
    states: { initialKeys: 'B S H D', initialValues: 'B S H V' },
    stepNames: { initialKeys: 'keys', initialValues: 'values' },
    grows: true,
    sizes: [{ T: 140 }],
  },
  {
    name: 'deltaFormer',
    title: 'with strengths',
    inputs: { k: 'B T H D', q: 'B T H D', v: 'B T H V', beta: ['B T H', 0, 1] },
    states: { initialKeys: 'B S H D', initialValues: 'B S H V' },
    stepNames: { initialKeys: 'keys', initialValues: 'values' },
    grows: true,
    sizes: [
      { B: 1, T: 1 },
      { T: 130, D: 5 },
      { T: 65, S: 0 },
    ],
  },
];
