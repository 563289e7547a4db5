// Raven: gated slot attention whose tokens reach only the slots that a router chooses, in the layout of flash-linear-attention
// (2026).
import { argumentError } from '../../core';
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { FLA_KEYS, type FlaKeys, HEAD_KEYS, type HeadKeys } from './keys';
import { RavenAttention, type RavenShape } from './ravenAttention';
import { type FlaConfiguration, FlaDecoder, readFla, readHeads } from './skeleton';

export interface RavenKeys extends FlaKeys<'raven'>, HeadKeys {
  numSlots?: Count;
  /** Slots that a token reaches, numSlots at most; 32 by default. */
  topk?: Count;
  featureMap?: Name<'swish' | 'relu' | 't2r'>;
  useOutputGate?: Flag;
  decayType?: Name<'Mamba2' | 'GLA'>;
  gateLogitNormalizer?: Count;
  biasRmm?: Flag;
  /** Whether a router in training chooses by chance, as its scores say; true by default, but false of `createModel`. */
  addGumbelNoise?: Flag;
  routerScore?: Name<'sigmoid' | 'softmax'>;
  routerType?: Name<'lin' | 'mlp'>;
  useRope?: Flag;
  ropeTheta?: Count;
}

/** What `RavenForCausalLM` reads from its keys, with the defaults filled in. */
export interface RavenConfiguration extends FlaConfiguration, RavenShape {}

function readConfiguration(input: object): RavenConfiguration {
  const reader = ConfigurationReader.of(input, ravenFamily);
  const base = readFla(reader, ravenFamily);
  const heads = readHeads(reader, base.hiddenSize, { expandK: 1, expandV: 1 });
  const derived = reader.source.num_slots === null;
  const numSlots = derived ? heads.keyDim : reader.size('num_slots', 64);
  const perToken = reader.size('topk', 32);
  if (!derived && perToken > numSlots) {
    throw argumentError('INVALID_ARGUMENT', base.modelType, 'topk', `at most ${numSlots} (num_slots)`, `${perToken}`);
  }
  const theta = reader.positive('rope_theta', 10000);
  const rotary = reader.flag('use_rope', false) ? theta : null;
  if (rotary !== null && heads.keyDim % 2 !== 0) {
    const expected = 'heads of an even width, which rotary positions turn in pairs';
    throw argumentError('INVALID_ARGUMENT', base.modelType, 'expand_k', expected, `width ${heads.keyDim}`);
  }
  return {
    ...base,
    ...heads,
    numSlots,
    perToken: Math.min(perToken, numSlots),
    featureMap: reader.supported('feature_map', 'swish', ['swish', 'relu', 't2r']),
    outputGate: reader.flag('use_output_gate', false),
    slotDecays: reader.choice('decay_type', 'Mamba2', ['Mamba2', 'GLA']) === 'GLA',
    gateNormalizer: reader.positive('gate_logit_normalizer', 8),
    correctionBias: reader.flag('bias_rmm', false),
    noise: reader.flag('add_gumbel_noise', true),
    scores: reader.choice('router_score', 'sigmoid', ['sigmoid', 'softmax']),
    deepRouter: reader.choice('router_type', 'lin', ['lin', 'mlp']) === 'mlp',
    rotary,
  };
}

/**
 * Language model of `RavenAttention` layers under the weight names of flash-linear-attention's RavenForCausalLM, `model_type`
 * 'raven'; 24 layers of width 2048 with 4 heads of 64 slots, 32 for a token, by default.
 */
export class RavenForCausalLM extends CausalLM<RavenConfiguration> {
  constructor(input: EitherSpelling<RavenKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new RavenAttention(config, options), options), options);
  }

  override get repeatsSteps(): boolean {
    return super.repeatsSteps && !(this.training && this.config.noise);
  }
}

export const ravenFamily: ModelDefinition<RavenKeys, 'raven'> = {
  modelType: 'raven',
  name: 'raven',
  architecture: 'RavenForCausalLM',
  description: 'Raven: gated slot attention whose tokens reach only slots that a router chooses (2026)',
  keys: {
    ...FLA_KEYS,
    ...HEAD_KEYS,
    numSlots: true,
    topk: true,
    featureMap: true,
    useOutputGate: 'flag',
    decayType: true,
    gateLogitNormalizer: true,
    biasRmm: 'flag',
    addGumbelNoise: 'flag',
    routerScore: true,
    routerType: true,
    useRope: 'flag',
    ropeTheta: true,
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    numSlots: headDim,
    topk: Math.ceil(headDim / 2),
    addGumbelNoise: false,
    intermediateSize: feedForward,
  }),
  model: RavenForCausalLM,
};
