// The hybrid quadratic-linear Transformer as a language model (Irie et al. 2025; spec 2.11).
import type { TensorOptions } from '../../../ops';
import { CausalLM } from '../../common/causalLM';
import type { PublishedConfiguration } from '../../common/configuration';
import type { EitherSpelling } from '../../common/keys';
import type { ModelDefinition } from '../../common/registry';
import { FlaDecoder } from '../../fla/skeleton';
import { HYBRID_QLT_KEYS, type HybridQLTConfiguration, type HybridQLTKeys, readHybridQlt } from './configuration';
import { HybridQLT } from './layer';

/**
 * Language model of `HybridQLT` layers under the weight names of the published program, `model_type` 'hybrid_qlt'; 24 layers
 * of width 2048 by default. Made by `createModel` it is the published synchronous one: a gate between the two memories,
 * rotary positions, no convolutions.
 */
export class HybridQLTForCausalLM extends CausalLM<HybridQLTConfiguration> {
  constructor(input: EitherSpelling<HybridQLTKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readHybridQlt(input, hybridQltFamily);
    super(config, new FlaDecoder(config, () => new HybridQLT(config, options), options), options);
  }
}

export const hybridQltFamily: ModelDefinition<HybridQLTKeys, 'hqlt'> = {
  modelType: 'hybrid_qlt',
  name: 'hqlt',
  architecture: 'HybridQLTForCausalLM',
  description: 'softmax attention over a window beside the delta rule (Irie et al. 2025)',
  keys: HYBRID_QLT_KEYS,
  configuration: ({ numHeads, feedForward, headDim }) => ({
    numHeads,
    intermediateSize: feedForward,
    expandK: 1,
    expandV: 1,
    attnMode: 'sync_chunk',
    useGate: false,
    allowNegEigval: false,
    useShortConv: false,
    useLocalPosEncoding: headDim % 2 === 0,
    useMemoryGate: true,
  }),
  model: HybridQLTForCausalLM,
};
