// The rules, a line each: all of them are in the registry under these names.
export { comba } from './delta/comba';
export { deltaProduct } from './delta/deltaProduct';
export { deltaLstm } from './feedback/deltaLstm';
export { deltaRnn } from './feedback/deltaRnn';
export { deltaRule } from './delta/deltaRule';
export { fastRnn } from './feedback/fastRnn';
export { gatedDeltaRule2 } from './delta/gatedDeltaRule2';
export { gatedLinearAttention } from './decay/gatedLinearAttention';
export { generalizedDeltaRule } from './delta/generalizedDeltaRule';
export { linearAttention } from './additive/linearAttention';
export { ojaRule } from './delta/ojaRule';
export { recurrence } from './recurrence/general';
export { recurrentDelta } from './feedback/recurrentDelta';
export { retention } from './decay/retention';
export { rwkv6 } from './decay/rwkv6';
export { selfReferential } from './selfReferential/selfReferential';
