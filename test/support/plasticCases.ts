// Sequential rules whose synapses change by rates of their own, as the tests draw them.
import type { SequentialCase } from './sequentialCases';

/** Some of their kinds: others, and what options change, stand in the vectors and in the tests of the layers. */
export const PLASTIC: SequentialCase[] = [
  {
    name: 'plasticity',
    title: 'retroactive',
    inputs: {
      input: 'B T D',
      weight: ['D D', 0.3],
      alpha: ['D D', 0.3],
      eta: ['1', 0.3],
      modulatorWeight: 'D',
      modulatorBias: '1',
    },
    states: { initialHidden: 'B D', initialState: ['B D D', 0.3], initialTrace: ['B D D', 0.3] },
    stepNames: { initialHidden: 'hidden', initialState: 'state', initialTrace: 'trace' },
    options: { rule: 'retroactive', modulator: 'linear', clip: 2 },
    sizes: [{ D: 13 }],
  },
  {
    name: 'stpn',
    title: 'with the norm',
    inputs: { x: 'B T I', weight: ['D I+D', 0.4], bias: 'D', lambda: ['D I+D', 0.8], gamma: ['D I+D', 0.2] },
    states: { initialHidden: 'B D', initialState: ['B D I+D', 0.3] },
    stepNames: { initialHidden: 'hidden', initialState: 'state' },
    options: { weightNorm: true, rule: 'oja', activation: 'none' },
    sizes: [{ T: 1 }],
  },
  {
    name: 'abcd',
    title: 'two layers',
    inputs: { x: 'B T I', coefficients1: ['I D 5', 0.3], coefficients2: ['D 3 5', 0.3] },
    states: { weight1: 'B I D', weight2: 'B D 3' },
    stepNames: { weight1: 'weight1', weight2: 'weight2' },
    options: { rule: 'ABCD_lr', normalise: true, outputActivation: 'tanh' },
    sizes: [{ T: 1 }],
  },
];
