// What layers refuse of the objects that say what they are made of: each wrong value by its name, and names that nobody knows.
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const { models } = fw;
const where = { device: 'js' } as const;

const DELTA = { hiddenSize: 8, numHeads: 2, numValueHeads: 2, keyDim: 4, valueDim: 4, convSize: 2, normEps: 1e-5 };
const CURVED = { ...DELTA, allowNegEigval: true, squash: 1.5, squashEps: 1e-6, newCenter: -0.2, leastRate: 0 };
const LATENT = { hiddenSize: 8, numHeads: 2, rank: 4, ownDim: 4, sharedDim: 2, valueDim: 4 };
const RAVEN = {
  hiddenSize: 8,
  numHeads: 2,
  numKvHeads: 1,
  keyDim: 3,
  valueDim: 4,
  normEps: 1e-5,
  numSlots: 4,
  perToken: 2,
  featureMap: 'swish',
  outputGate: false,
  slotDecays: false,
  gateNormalizer: 8,
  correctionBias: false,
  noise: false,
  scores: 'sigmoid',
  deepRouter: false,
  rotary: null,
};
const CYCLIC = {
  hiddenSize: 8,
  numHeads: 2,
  keyDim: 4,
  valueDim: 4,
  numSlots: 5,
  convSize: 2,
  convBias: true,
  normEps: 0,
};
const RETENTION = { hiddenSize: 8, numHeads: 2, frequencies: [1, 0.1], gateNormalizer: 16, normEps: 1e-5 };

type Layer = new (shape: never, options: object) => object;

/** A layer, a shape that it takes, and what it refuses instead: [name of the error, values in place of the shape's]. */
const LAYERS: [Layer: Layer, shape: object, wrong: [name: string, given: object][]][] = [
  [
    models.RavenAttention,
    RAVEN,
    [
      ['featureMap', { featureMap: 'foo' }],
      ['scores', { scores: 'foo' }],
      ['numSlot', { numSlot: 4 }],
      ['perToken', { perToken: 9 }],
      ['numKvHeads', { numKvHeads: 3 }],
      ['noise', { noise: 1 }],
      ['rotary', { rotary: undefined }],
      ['rotary', { rotary: 0 }],
      ['keyDim', { rotary: 10000 }],
      ['gateNormalizer', { gateNormalizer: 0 }],
    ],
  ],
  [
    models.CyclicFlowAttention,
    CYCLIC,
    [
      ['numSlots', { numSlots: 4 }],
      ['numHeads', { numHeads: '2' }],
      ['convSize', { convSize: undefined }],
      ['convBias', { convBias: 'yes' }],
      ['windw', { windw: 4 }],
    ],
  ],
  [
    models.MultiheadLatentAttention,
    { ...LATENT, ropeTheta: 10000 },
    [
      ['sharedDim', { sharedDim: 3 }],
      ['ropeTheta', { ropeTheta: undefined }],
      ['windw', { windw: 4 }],
      ['window', { window: 0 }],
      ['queryRank', { queryRank: 1.5 }],
      ['numHeads', { numHeads: '2' }],
    ],
  ],
  [
    models.LatentAttention,
    LATENT,
    [
      ['bias', { bias: 1 }],
      ['rank', { rank: 0 }],
      ['ropeTheta', { ropeTheta: 10000 }],
    ],
  ],
  [
    models.GatedRetention,
    RETENTION,
    [
      ['frequencies', { frequencies: undefined }],
      ['frequencies[1]', { frequencies: [1, '2'] }],
      ['frequencies', { frequencies: [1, 1, 1] }],
      ['normEps', { normEps: undefined }],
      ['numHeads', { numHeads: 3 }],
      ['gateNormaliser', { gateNormaliser: 16 }],
    ],
  ],
  [
    models.PreconditionedGatedDeltaNet,
    { ...CURVED, useGate: true },
    [
      ['useGate', { useGate: undefined }],
      ['numValueHeads', { numValueHeads: 3 }],
      ['squash', { squash: 0 }],
      ['squashEps', { squashEps: 0 }],
      ['newCenter', { newCenter: NaN }],
      ['leastRate', { leastRate: 17 }],
      ['lowerBound', { lowerBound: -5 }],
    ],
  ],
  [
    models.PreconditionedKimiDelta,
    { ...CURVED, lowerBound: null },
    [
      ['lowerBound', { lowerBound: undefined }],
      ['lowerBound', { lowerBound: 1 }],
      ['numValueHeads', { numValueHeads: 3 }],
      ['useGate', { useGate: true }],
    ],
  ],
];

describe('shapes of layers', () => {
  for (const [Layer, shape, wrong] of LAYERS) {
    it(`${Layer.name} refuses them by name`, () => {
      new Layer(shape as never, where);
      for (const [name, given] of wrong) {
        const error = expectError(
          'INVALID_ARGUMENT',
          new RegExp(`^${Layer.name}: `),
          () => new Layer({ ...shape, ...given } as never, where),
        );
        if (error.argument !== name) throw new Error(`${JSON.stringify(given)}: ${error.message}, expected ${name}`);
      }
    });
  }

  const configurations: [family: fw.ModelName, given: object, message: RegExp][] = [
    ['mamba', { timeStepMin: 0.2 }, /time_step_min must be a number from 0 to 0\.1, got 0\.2/],
    ['mamba2', { timeStepMin: 0.2 }, /time_step_min must be a number from 0 to 0\.1/],
    ['samba', { timeStepMin: 0.2 }, /time_step_min must be a number from 0 to 0\.1/],
    ['mamba3', { dtMin: 0.2 }, /dt_min must be a number from 0 to 0\.1/],
    ['samba', { hiddenRatio: 0 }, /hidden_ratio must be above 0/],
    ['transformer-fla', { hiddenRatio: 0 }, /hidden_ratio must be above 0/],
    ['rodimus', { hiddenRatio: 0 }, /hidden_ratio must be above 0/],
    ['precond-kda', { numHeads: 2, numVHeads: 3 }, /num_v_heads must be a multiple of 2 \(num_heads\), got 3/],
    ['precond-gated-deltanet', { numHeads: 2, numVHeads: 3 }, /num_v_heads must be a multiple of 2/],
    ['precond-kda', { squashEps: 0 }, /squash_eps must be a number from/],
  ];
  for (const [family, given, message] of configurations) {
    it(`${family} refuses ${JSON.stringify(given)}`, () => {
      expectError('INVALID_ARGUMENT', message, () =>
        fw.createModel(family, { vocabSize: 5, numLayers: 1, hiddenSize: 64, numHeads: 2, ...given, ...where }),
      );
    });
  }
});
