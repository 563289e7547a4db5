// Fast-weight rules: the general recurrence, and one small file per named rule. What the package exports of this room.
export { defineRule, type Lowering, type Rule, type RuleDefinition } from './recurrence/define';
export type { LayeredInputs, LayeredOptions, LayeredRule } from './baselines/layers';
export type { LstmOptions } from './baselines/lstm';
export type { RnnOptions } from './baselines/rnn';
export {
  composeFastWeights,
  type FastNet,
  type FastWeightComposition,
  type FastWeightParts,
  type Program,
  type SlowNet,
  type UpdateRule,
} from './early/compose';
export type { FromTo1992Options } from './early/fromTo1992';
export type { OuterProduct1991Options } from './early/outerProduct1991';
export {
  deltaUpdate,
  type Instruction,
  linearFastNet,
  type LinearFastNetOptions,
  linearSlowNet,
  type LinearSlowNetOptions,
  type SquashName,
  type SquashOptions,
  sumUpdate,
} from './early/parts';
export type { SlowFastCompositionOptions } from './early/slowFastComposition';
export type { Mamba2ScanOptions } from './decay/mamba2Scan';
export type { Mamba3ScanOptions } from './decay/mamba3Scan';
export type { TimeStepOptions } from './decay/timeSteps';
export type { AbcOptions } from './attention/abc';
export type { GsaOptions } from './attention/gsa';
export type { CyclicFlowOptions } from './attention/cyclicFlow';
export type { MesaOptions } from './testTime/mesa';
export type { DeltaProductGates, DeltaProductOptions } from './delta/deltaProduct';
export type { DeltaGates } from './delta/deltaRule';
export type { EflaGates } from './delta/efla';
export type { KaczmarzGates } from './delta/kaczmarzAttention';
export type { MixtureOfMemoriesOptions } from './delta/mixtureOfMemories';
export type { MomentumDeltaOptions } from './delta/momentumDeltaRule';
export type { QDeltaGates } from './delta/qDeltaRule';
export type { RodimusGates } from './decay/rodimus';
export type { LightNetOptions } from './decay/lightNet';
export type { GatedDelta2Gates } from './delta/gatedDeltaRule2';
export type { GeneralizedDeltaGates } from './delta/generalizedDeltaRule';
export type { PreconditionedDeltaOptions } from './delta/preconditionedDeltaRule';
export type { PolynomialOptions, PolynomialRule, PolynomialStepOptions } from './additive/polynomial';
export type { MlstmGates, MlstmOptions, MlstmResult, MlstmStepOptions } from './decay/mlstm';
export type { NormalizedResult, NormalizedRule, NormalizeOptions, NormalizeStepOptions } from './recurrence/normalized';
export { type MemoryCall, observeMemories } from './observe';
export type { CommonOptions, RecurrenceInputs, RecurrenceKind, RuleResult, TokenOptions } from './recurrence/operands';
export type { SelfModifyingTitansOptions } from './selfReferential/selfModifyingTitans';
export type { SelfReferentialOptions } from './selfReferential/selfReferential';
export type { DeltaFormerOptions } from './attention/deltaFormer';
export type { PathOptions } from './attention/pathAttention';
export type { ForgettingOptions } from './attention/forgettingAttention';
export type { InPlaceTttOptions } from './testTime/inPlaceTtt';
export type { LactOptions } from './testTime/lact';
export type { LonghornOptions } from './testTime/longhorn';
export type { DeltaLstmOptions } from './feedback/deltaLstm';
export type { DeltaRnnOptions } from './feedback/deltaRnn';
export type { RecurrentDeltaOptions } from './feedback/recurrentDelta';
export type { QkvRule } from './sequential/qkv';
export type { DctRnnOptions } from './feedback/dctRnn';
export type { FastWeightMemoryOptions } from './feedback/fastWeightMemory';
export type { GatedFastWeights2017Options } from './feedback/gatedFastWeights2017';
export type { PainterInputs, PainterOptions, PainterStepOptions, PainterStrokes } from './delta/fastWeightPainter';
export type { LogLinearOptions } from './logLinear/rule';
export type { SlstmOptions } from './feedback/slstm';
export type { FastRnnOptions } from './feedback/fastRnn';
export {
  type Abcd,
  ABCD_RULES,
  type AbcdInputs,
  type AbcdOptions,
  type AbcdResult,
  type AbcdRule,
  abcdTerms,
} from './plasticity/abcd';
export { hopfield, type HopfieldInputs, type HopfieldOptions, type HopfieldResult } from './plasticity/hopfield';
export type { Position } from './testTime/chunks';
export type { PositionOptions, TestTimeRule } from './testTime/define';
export type { MirasOptions } from './testTime/miras';
export type { OmegaOptions } from './testTime/omega';
export type { TitansMlpOptions, TitansOptions } from './testTime/titans';
export type { TitansFlaOptions } from './testTime/titansFla';
export type { TttOptions } from './testTime/ttt';
export type { PlasticityOptions } from './plasticity/plasticity';
export type { PlasticLayerOptions } from './plasticity/plasticLayer';
export type { StpnOptions } from './plasticity/stpn';
export {
  cdeFastWeights,
  type ContinuousInputs,
  type ContinuousOptions,
  type ContinuousResult,
  type FieldOptions,
  odeFastWeights,
} from './continuous/fastWeights';
export type { FieldFamily, LearningRule } from './continuous/field';
export { evaluateSpline } from './continuous/control';
export { logSignature, type LogSignatureOptions } from './continuous/logSignature';
export { odeint, type OdeField, type OdeintOptions, type SolverOptions } from './continuous/odeint';
export { odeRecurrentFastWeights, type OdeRecurrentInputs, type OdeRecurrentOptions } from './continuous/recurrent';
export { type NaturalCubicSpline, naturalCubicSpline, type SplineOptions } from './continuous/spline';
export type { OdeMethod } from './continuous/tableaus';
export type { RecurrenceOptions } from './recurrence/general';
export * from './named';
export { getRule, registerRule, type RuleName, ruleNames, type Rules } from './registry';
export type { StepOptions } from './recurrence/step';
export { defineSequential } from './sequential/define';
export type {
  FinalStates,
  InitialStates,
  Ran,
  Run,
  SequentialDefinition,
  SequentialOptions,
  SequentialResult,
  SequentialRule,
  States,
} from './sequential/types';
export { overTime } from './sequential/overTime';
export { inSegments, type Loop, type Token } from './sequential/segments';
export type { Given, Shapes, Sizes } from './sequential/shapes';
export type { VariantRule } from './sequential/variants';
