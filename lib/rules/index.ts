// Fast-weight rules: the general recurrence, and one small file per named rule.
export { comba } from './comba';
export { defineRule, type Lowering, type Rule, type RuleDefinition } from './define';
export { deltaProduct, type DeltaProductGates, type DeltaProductOptions } from './deltaProduct';
export { deltaRule, type DeltaGates } from './deltaRule';
export { gatedDeltaRule2, type GatedDelta2Gates } from './gatedDeltaRule2';
export { gatedLinearAttention } from './gatedLinearAttention';
export { generalizedDeltaRule, type GeneralizedDeltaGates } from './generalizedDeltaRule';
export { linearAttention } from './linearAttention';
export type { NormalizedResult, NormalizedRule, NormalizeOptions, NormalizeStepOptions } from './normalized';
export { ojaRule } from './ojaRule';
export type { CommonOptions, RecurrenceInputs, RecurrenceKind, RuleResult, TokenOptions } from './operands';
export { recurrence, type RecurrenceOptions } from './recurrence';
export { retention } from './retention';
export { rwkv6 } from './rwkv6';
export type { StepOptions } from './step';
