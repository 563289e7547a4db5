// Modules: the base class, containers, layers, initialisation, freezing and adapters.
export * from './activations';
export * from './attention';
export { drawsWeights, newWeight, withBlankWeights } from './blank';
export * from './containers';
export * from './convolution';
export * from './fastRnn';
export * from './feedForward';
export * from './hebbianNetwork';
export {
  hasForwardHooks,
  type ForwardArguments,
  type ForwardHook,
  type ForwardOutput,
  type ForwardPreHook,
} from './hooks';
export * from './hopfield';
export * as init from './init';
export * from './layers';
export { activeLora, addLora, LoraAdapter, mergeLora, removeLora, unmergeLora, type LoraOptions } from './lora';
export {
  hasLora,
  loadLora,
  LORA_CONFIG,
  LORA_WEIGHTS,
  readServedLora,
  saveLora,
  type SaveLoraOptions,
} from './loraFiles';
export * from './losses';
export * from './module';
export * from './norms';
export { freeze, unfreeze, type Pattern } from './patterns';
export * from './plasticRnn';
export * from './pooling';
export { QuantizedWeight } from './quantized';
export { quantizeModel, Quantizer } from './quantizer';
export * from './recurrent';
export { AdapterSlot, ofRow, ServedLora, underAdapters } from './servedLora';
export { type LayerStates, type NoStates, RuleLayer, type RuleLayerOptions } from './ruleLayer';
export * from './shortConvolution';
export * from './stpn';
