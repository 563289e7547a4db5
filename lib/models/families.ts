// The published families, in the order of lists.
import { elstmFamily } from './baselines/elstm';
import { llamaFamily } from './baselines/llama';
import { lstmFamily } from './baselines/lstm';
import { rnnFamily } from './baselines/rnn';
import type { CommonKeys, EitherSpelling, FileKeys } from './common/keys';
import { type ModelDefinition, type RegisteredModel, registeredModels, registerModel } from './common/registry';
import { abcFamily } from './fla/abcAttention';
import { combaFamily } from './fla/comba';
import { cyclicFlowFamily } from './fla/cyclicFlow';
import { deltaFormerFamily } from './fla/deltaFormer';
import { deltaNetFamily } from './fla/deltaNet';
import { forgettingTransformerFamily } from './fla/forgettingTransformer';
import { gatedDeltaNetFamily } from './fla/gatedDeltaNet';
import { gatedDeltaProductFamily } from './fla/gatedDeltaProduct';
import { glaFamily } from './fla/gatedLinearAttention';
import { gsaFamily } from './fla/gatedSlotAttention';
import { hgrnFamily } from './fla/hgrn';
import { hgrn2Family } from './fla/hgrn2';
import { kdaFamily } from './fla/kimiDeltaAttention';
import { lightNetFamily } from './fla/lightNet';
import { linearTransformerFamily } from './fla/linearAttention';
import { mesaNetFamily } from './fla/mesaNet';
import { mlaFamily } from './fla/mla';
import { momFamily } from './fla/mom';
import { pathAttentionFamily } from './fla/pathAttention';
import { precondGatedDeltaNetFamily } from './fla/preconditionedGatedDeltaNet';
import { precondKdaFamily } from './fla/preconditionedKimiDelta';
import { ravenFamily } from './fla/raven';
import { retNetFamily } from './fla/retention';
import { rodimusFamily } from './fla/rodimus';
import { transformerFamily } from './fla/transformer';
import { yocoFamily } from './fla/yoco';
import { bambaFamily } from './mamba/bamba';
import { falconH1Family } from './mamba/falconH1';
import { logLinearMamba2Family } from './mamba/logLinearMamba2';
import { mambaFamily } from './mamba/mamba';
import { mamba2Family } from './mamba/mamba2';
import { mamba2FlaFamily } from './mamba/mamba2Fla';
import { mamba3Family } from './mamba/mamba3';
import { sambaFamily } from './mamba/samba';
import { deltaNet2021Family } from './idsia/deltaNet2021';
import { deltaLstmFamily, deltaRnnFamily, recurrentDeltaFamily, srwmFamily } from './idsia/fastWeightLanguage';
import { fastWeightMemoryFamily } from './idsia/fastWeightMemoryLanguage';
import { kimiLinearFamily } from './hybrid/kimiLinear';
import { minimaxFamily } from './hybrid/minimax';
import { olmoHybridFamily } from './hybrid/olmoHybrid';
import { qwen35Family, qwen35MoeFamily } from './hybrid/qwen35';
import { qwen3NextFamily } from './hybrid/qwen3Next';
import { hybridQltFamily } from './idsia/hqlt/model';
import { rwkv4Family } from './rwkv/rwkv4';
import { rwkv6Family } from './rwkv/rwkv6';
import { rwkv7Family } from './rwkv/rwkv7';
import { lactFamily } from './testTime/lact';
import { titansFamily } from './testTime/titans';
import { tttFamily } from './testTime/ttt';
import { xlstmFamily } from './xlstm/model';

const FAMILIES = [
  linearTransformerFamily,
  retNetFamily,
  glaFamily,
  hgrnFamily,
  hgrn2Family,
  lightNetFamily,
  rodimusFamily,
  abcFamily,
  gsaFamily,
  ravenFamily,
  cyclicFlowFamily,
  deltaNetFamily,
  deltaNet2021Family,
  deltaRnnFamily,
  deltaLstmFamily,
  recurrentDeltaFamily,
  srwmFamily,
  fastWeightMemoryFamily,
  gatedDeltaNetFamily,
  gatedDeltaProductFamily,
  combaFamily,
  kdaFamily,
  precondGatedDeltaNetFamily,
  precondKdaFamily,
  mesaNetFamily,
  momFamily,
  forgettingTransformerFamily,
  pathAttentionFamily,
  deltaFormerFamily,
  mlaFamily,
  yocoFamily,
  rwkv4Family,
  rwkv6Family,
  rwkv7Family,
  mambaFamily,
  mamba2Family,
  mamba2FlaFamily,
  mamba3Family,
  logLinearMamba2Family,
  sambaFamily,
  bambaFamily,
  falconH1Family,
  xlstmFamily,
  tttFamily,
  titansFamily,
  lactFamily,
  hybridQltFamily,
  qwen3NextFamily,
  qwen35Family,
  qwen35MoeFamily,
  olmoHybridFamily,
  minimaxFamily,
  kimiLinearFamily,
  llamaFamily,
  // Behind the family that has its model_type for a name.
  transformerFamily,
  lstmFamily,
  rnnFamily,
  elstmFamily,
] as const;

FAMILIES.forEach((family) => registerModel(family as ModelDefinition));

type Published = (typeof FAMILIES)[number];
type NameOf<F> = F extends ModelDefinition<CommonKeys, infer N> ? N : never;
type KeysIn<F> = F extends ModelDefinition<infer K> ? K : never;
type PublishedFamilies = { [F in Published as NameOf<F>]: KeysIn<F> };

/**
 * The keys of each family's configuration, by the family's name. A program adds its own:
 * `declare module 'fast-weights' { interface ModelFamilies { 'my-model': MyKeys } }`.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type
export interface ModelFamilies extends PublishedFamilies {}

type FamilyName = keyof ModelFamilies;
type TypeOf<N extends FamilyName> = NonNullable<ModelFamilies[N]['modelType']>;

/** The keys of each family, by its `model_type`. */
export type KeysByType = { [N in FamilyName as TypeOf<N>]: ModelFamilies[N] };

/** `model_type` of a configuration. */
export type ModelType = keyof KeysByType;

/** An entry of the registry. */
export interface ModelFamily extends RegisteredModel {
  /** What `createModel` and the command line call it: 'gated-deltanet'. */
  readonly name: FamilyName;
  /** What config.json calls it: 'gated_deltanet'. `createModel` takes it, too. */
  readonly modelType: ModelType;
}

/** What models there are, in the order in which they were registered; it grows with each `registerModel`. */
export const modelFamilies = registeredModels as readonly ModelFamily[];

/** What `createModel` and the command line call a family: its name or its `model_type`. */
export type ModelName = FamilyName | ModelType;

/** The keys of a family, whatever it is called. */
export type KeysOf<N extends ModelName> = N extends FamilyName
  ? ModelFamilies[N]
  : N extends ModelType
    ? KeysByType[N]
    : never;

/** The configuration of a family, for programs. */
export type ConfigurationOf<T extends ModelType> = EitherSpelling<KeysByType[T]>;

/** The configuration of any family: its type, and the family's keys. */
export type ConfigurationInput = {
  [N in FamilyName]:
    | (Omit<ModelFamilies[N], 'modelType'> & { modelType: N | TypeOf<N> })
    | (Omit<FileKeys<ModelFamilies[N]>, 'model_type'> & { model_type: N | TypeOf<N> });
}[FamilyName];
