// Fast-weight rules: the general recurrence, and one small file per named rule.
export { comba } from './delta/comba';
export { defineRule, type Lowering, type Rule, type RuleDefinition } from './recurrence/define';
export { deltaProduct, type DeltaProductGates, type DeltaProductOptions } from './delta/deltaProduct';
export { deltaRule, type DeltaGates } from './delta/deltaRule';
export { gatedDeltaRule2, type GatedDelta2Gates } from './delta/gatedDeltaRule2';
export { gatedLinearAttention } from './decay/gatedLinearAttention';
export { generalizedDeltaRule, type GeneralizedDeltaGates } from './delta/generalizedDeltaRule';
export { linearAttention } from './additive/linearAttention';
export type { NormalizedResult, NormalizedRule, NormalizeOptions, NormalizeStepOptions } from './recurrence/normalized';
export { ojaRule } from './delta/ojaRule';
export type { CommonOptions, RecurrenceInputs, RecurrenceKind, RuleResult, TokenOptions } from './recurrence/operands';
export { recurrence, type RecurrenceOptions } from './recurrence/general';
export { retention } from './decay/retention';
export { rwkv6 } from './decay/rwkv6';
export type { StepOptions } from './recurrence/step';
