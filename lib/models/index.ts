// Language models of published architectures: their layers, configurations, layouts of weights, and how to make them.
export { AutoModelForCausalLM, type PretrainedOptions } from './auto';
export {
  associativeRetrieval2021,
  AssociativeRetrieval2021,
  type AssociativeRetrieval2021Inputs,
  type AssociativeRetrieval2021Options,
  type AssociativeRetrieval2021Sizes,
} from './idsia/associativeRetrieval2021';
export { Attention, type AttentionShape, type KeyValueCache } from './common/attention';
export { Block, type BlockParts, Backbone, Decoder, Layer, type Pointwise, PreNormBlock } from './common/block';
export type { AdaptedModel } from './common/adapted';
export { CausalLM, type ForwardOptions, type ForwardResult } from './common/causalLM';
export { type Configuration, ConfigurationReader, type JsonObject } from './common/configuration';
export { createModel, type CreateOptions } from './create';
export { type FoundSizes, sizesFor } from './sized';
export * from './families';
export { Comba, CombaForCausalLM, type CombaConfiguration } from './fla/comba';
export { DeltaNet, DeltaNetForCausalLM, type DeltaNetConfiguration } from './fla/deltaNet';
export { DctFastRnn, type DctFastRnnOptions, type DctFastRnnState } from './idsia/dctRnn';
export { DeltaNet2021, DeltaNet2021ForCausalLM, type DeltaNet2021Configuration } from './idsia/deltaNet2021';
export {
  DeltaLstmForCausalLM,
  DeltaRnnForCausalLM,
  type FastWeightConfiguration,
  RecurrentDeltaForCausalLM,
  type SrwmConfiguration,
  SrwmForCausalLM,
} from './idsia/fastWeightLanguage';
export {
  DeltaLstmLayer,
  type DeltaLstmLayerOptions,
  DeltaRnnLayer,
  type DeltaRnnLayerOptions,
  RecurrentDeltaLayer,
  type RecurrentLayerOptions,
} from './idsia/recurrentLayers';
export { SelfModifyingTitansLayer, type SelfModifyingTitansLayerOptions } from './idsia/selfModifyingLayer';
export {
  FakeSelfReferentialLayer,
  SelfReferentialLayer,
  type SelfReferentialLayerOptions,
} from './idsia/selfReferentialLayer';
export {
  type Arrangement,
  FeedForwardSublayer,
  type MemoryState,
  Sublayer,
  type SublayerOptions,
} from './idsia/sublayer';
export { BigMapModel, type BigMapOptions } from './idsia/bigMap';
export { NrdeModel, type NrdeModelOptions } from './idsia/nrdeModel';
export {
  type ContinuousSizes,
  OdeModel,
  type OdeForwardOptions,
  type OdeModelFamily,
  type OdeModelOptions,
} from './idsia/odeModel';
export { OdeRecurrentFastWeights, type OdeRecurrentSizes, type OdeRecurrentState } from './idsia/odeRecurrent';
export { QueriedFastWeights, type ReadoutSizes, ResidualFeedForward, VectorField } from './idsia/vectorField';
export { DeltaNetLayer, type DeltaNetLayerOptions } from './idsia/deltaNetLayer';
export { DeltaDeltaLayer, type DeltaDeltaLayerOptions } from './idsia/deltaDeltaLayer';
export { DeltaMlpLayer, type DeltaMlpLayerOptions } from './idsia/deltaMlpLayer';
export { SlowLstmLayer } from './idsia/slowLstmLayer';
export {
  FastWeightMemoryCell,
  type FastWeightMemoryCellOptions,
  type FastWeightMemoryState,
} from './idsia/fastWeightMemory';
export { type FastWeightMemoryConfiguration, FastWeightMemoryForCausalLM } from './idsia/fastWeightMemoryLanguage';
export { FastWeightMixer, type FastWeightState, type MemorySizes, type RuleInputs } from './common/fastWeightMixer';
export { type FlaConfiguration, FlaDecoder, readFla, readHeads } from './fla/skeleton';
export { FLA_KEYS, type FlaKeys, HEAD_KEYS, type HeadKeys } from './fla/keys';
export { GatedDeltaNet, GatedDeltaNetForCausalLM, type GatedDeltaNetConfiguration } from './fla/gatedDeltaNet';
export {
  GatedDeltaProduct,
  GatedDeltaProductForCausalLM,
  type GatedDeltaProductConfiguration,
} from './fla/gatedDeltaProduct';
export { GatedLinearAttention, GLAForCausalLM, type GlaConfiguration } from './fla/gatedLinearAttention';
export { GatedSlotAttention, GSAForCausalLM, type GsaConfiguration } from './fla/gatedSlotAttention';
export { RavenForCausalLM, type RavenConfiguration } from './fla/raven';
export { RavenAttention, type RavenShape } from './fla/ravenAttention';
export {
  CyclicFlowAttention,
  CyclicFlowAttentionForCausalLM,
  type CyclicFlowConfiguration,
  type CyclicFlowShape,
} from './fla/cyclicFlow';
export { GatedRetention, type GatedRetentionShape } from './fla/gatedRetention';
export { YOCOForCausalLM, type YocoConfiguration } from './fla/yoco';
export { ForgettingTransformerForCausalLM, type ForgettingTransformerConfiguration } from './fla/forgettingTransformer';
export { PaTHAttentionForCausalLM, type PaTHAttentionConfiguration } from './fla/pathAttention';
export { ABCAttention, ABCForCausalLM, type AbcConfiguration } from './fla/abcAttention';
export { Hgrn, HGRNForCausalLM, type HgrnConfiguration } from './fla/hgrn';
export { Hgrn2, HGRN2ForCausalLM, type Hgrn2Configuration } from './fla/hgrn2';
export { KDAForCausalLM, KimiDeltaAttention, type KimiDeltaConfiguration } from './fla/kimiDeltaAttention';
export {
  PrecondGatedDeltaNetForCausalLM,
  type PreconditionedGatedDeltaConfiguration,
  PreconditionedGatedDeltaNet,
} from './fla/preconditionedGatedDeltaNet';
export {
  PrecondKDAForCausalLM,
  PreconditionedKimiDelta,
  type PreconditionedKimiDeltaConfiguration,
} from './fla/preconditionedKimiDelta';
export { LinearAttention, LinearAttentionForCausalLM, type LinearAttentionConfiguration } from './fla/linearAttention';
export { MesaNet, MesaNetForCausalLM, type MesaNetConfiguration } from './fla/mesaNet';
export type { HybridQLTConfiguration } from './idsia/hqlt/configuration';
export { BambaForCausalLM, type BambaConfiguration } from './mamba/bamba';
export { FalconH1ForCausalLM, type FalconH1Configuration } from './mamba/falconH1';
export type { HybridConfiguration } from './mamba/hybrid';
export { LogLinearMamba2ForCausalLM, LogLinearMamba2Mixer, type LogLinearState } from './mamba/logLinearMamba2';
export { MambaForCausalLM, type MambaConfiguration } from './mamba/mamba';
export { SambaForCausalLM, type SambaConfiguration } from './mamba/samba';
export { MambaMixer, type MambaShape, type MambaState } from './mamba/mambaMixer';
export { Mamba2ForCausalLM, type Mamba2Configuration } from './mamba/mamba2';
export { Mamba2FlaForCausalLM, type Mamba2FlaConfiguration } from './mamba/mamba2Fla';
export { Mamba3ForCausalLM, type Mamba3Configuration } from './mamba/mamba3';
export { Mamba3Mixer, type Mamba3Shape, type Mamba3State } from './mamba/mamba3Mixer';
export { Mamba2Mixer, type Mamba2Shape, type Mamba2State } from './mamba/mamba2Mixer';
export { HybridQLT } from './idsia/hqlt/layer';
export { HybridQLTForCausalLM } from './idsia/hqlt/model';
export type { HybridQLTState } from './idsia/hqlt/state';
export { Painter, type PainterSizes } from './idsia/painter/base';
export { PainterGenerator, type PainterGeneratorOptions } from './idsia/painter/lstm';
export { type PainterNetOptions, RecurrentDeltaPainter, TransformerPainter } from './idsia/painter/nets';
export { PainterUNet, type PainterUNetOptions } from './idsia/painter/unet';
export type { CommonKeys } from './common/keys';
export { LonghornLayer, type LonghornLayerOptions, type LonghornState } from './longhorn/longhornLayer';
export { LlamaForCausalLM, type LlamaConfiguration } from './baselines/llama';
export { ElstmForCausalLM } from './baselines/elstm';
export { LstmForCausalLM } from './baselines/lstm';
export { RnnForCausalLM, type RnnConfiguration } from './baselines/rnn';
export {
  type Beside,
  mergeHeads,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
} from './common/mixer';
export {
  findModel,
  knownModels,
  type FilledSizes,
  type ModelClass,
  type ModelDefinition,
  type ModelSizes,
  registerModel,
} from './common/registry';
export type { SaveOptions } from './common/pretrained';
export {
  DeltaFormerAttention,
  type DeltaFormerAttentionOptions,
  type DeltaFormerConfiguration,
  DeltaFormerForCausalLM,
} from './fla/deltaFormer';
export { DeltaVariant, type DeltaVariantOptions } from './fla/deltaVariants';
export {
  ForgettingAttention,
  type ForgettingAttentionOptions,
  PaTHAttention,
  type PaTHAttentionOptions,
} from './fla/growingAttention';
export { LightNetForCausalLM, type LightNetConfiguration } from './fla/lightNet';
export { LightNetAttention, type LightNetAttentionOptions } from './fla/lightNetAttention';
export {
  BasedLinearAttention,
  type PolynomialAttentionOptions,
  ReBasedLinearAttention,
} from './fla/polynomialAttention';
export {
  MixtureOfMemories,
  type MixtureOfMemoriesLayerOptions,
  type MixtureOfMemoriesState,
} from './fla/mixtureOfMemories';
export {
  MLAForCausalLM,
  type MlaConfiguration,
  MultiheadLatentAttention,
  type MultiheadLatentAttentionShape,
} from './fla/mla';
export { MomForCausalLM, type MomConfiguration } from './fla/mom';
export { MomentumDeltaNet, type MomentumDeltaNetOptions } from './fla/momentumDeltaNet';
export { RodimusForCausalLM, type RodimusConfiguration } from './fla/rodimus';
export { RodimusAttention, type RodimusAttentionOptions } from './fla/rodimusAttention';
export { TransformerForCausalLM, type TransformerConfiguration } from './fla/transformer';
export { Retention, RetNetForCausalLM, type RetNetConfiguration } from './fla/retention';
export { ChannelMix, RwkvBlock, type RwkvParts, type RwkvState } from './rwkv/block';
export { HeadNorm, LowRank } from './rwkv/parts';
export { RwkvForCausalLM } from './rwkv/rwkv4';
export { RWKV4Attention, RWKV4FeedForward, type Rwkv4Configuration } from './rwkv/rwkv4Layers';
export { LerpLinear, RWKV6Attention, RWKV6FeedForward, RWKV6ForCausalLM, type Rwkv6Configuration } from './rwkv/rwkv6';
export { RWKV7FeedForward, RWKV7ForCausalLM } from './rwkv/rwkv7';
export { RWKV7Attention } from './rwkv/rwkv7Attention';
export type { Rwkv7Configuration } from './rwkv/rwkv7Configuration';
export { type Experts, type ExpertRows, SeparateExperts, StackedExperts } from './common/experts';
export { MixtureOfExperts } from './common/mixtureOfExperts';
export { Router, type Routing, type RoutingShape } from './common/routing';
export { ZeroCentredRMSNorm } from './common/zeroCentredNorm';
export { LatentAttention, type UnturnedLatentAttentionShape } from './common/latentAttention';
export { type LatentAttentionShape, type LatentCache, LatentMixer } from './common/latentMixer';
export { KimiLinearForCausalLM } from './hybrid/kimiLinear';
export type { KimiLinearConfiguration } from './hybrid/kimiConfiguration';
export { MiniMaxForCausalLM, type MiniMaxConfiguration } from './hybrid/minimax';
export { OlmoHybridForCausalLM, type OlmoHybridConfiguration } from './hybrid/olmoHybrid';
export { Qwen3_5ForCausalLM, Qwen3_5MoeForCausalLM } from './hybrid/qwen35';
export { Qwen3NextForCausalLM } from './hybrid/qwen3Next';
export type { QwenConfiguration } from './hybrid/qwen';
export type { XlstmConfiguration } from './xlstm/configuration';
export { MlstmLayer, type MlstmState } from './xlstm/mlstmLayer';
export { SlstmLayer, type SlstmLayerOptions, type SlstmState } from './xlstm/slstmLayer';
export { xLSTMForCausalLM } from './xlstm/model';
export type { TestTimeState } from './testTime/mixer';
export { InPlaceTttFeedForward, type InPlaceTttFeedForwardOptions } from './testTime/inPlaceTttFeedForward';
export { TttLayer, type TttLayerOptions } from './testTime/tttLayer';
export { LactForCausalLM, type LactConfiguration } from './testTime/lact';
export { LactLayer, type LactLayerOptions } from './testTime/lactLayer';
export { TitansForCausalLM, type TitansConfiguration } from './testTime/titans';
export { TitansLayer, type TitansLayerOptions } from './testTime/titansLayer';
export { TTTForCausalLM, type TttConfiguration } from './testTime/ttt';
