// Whole layers of IDSIA's programs: the module of each, with the parameters and carried states of the file.
import * as fw from '../../lib';
import type { CaseRunner, Inputs } from '../support/runCase';
import { withParameters } from './line';

type Options = Record<string, unknown>;

/** What a case asks of its layer. */
interface Case {
  hiddenSize: number;
  heads: number;
  options: Options;
  /** Arrangement, scale, device and dtype. */
  shared: { arrangement: fw.models.Arrangement; scale?: number } & fw.TensorOptions;
  omega: fw.Tensor | undefined;
}

/** The language-modelling programs call some parts otherwise. */
const OWN_NAMES: Record<string, string> = {
  qkvb_net: 'slow_net',
  qkv_net: 'slow_net',
  o_net: 'out_linear',
  out_proj: 'out_linear',
};
const ownName = (name: string): string => {
  const [first, ...rest] = name.split('.');
  return [OWN_NAMES[first] ?? first, ...rest].join('.');
};

/** State names of the files that the layers have others for. */
const STATES: Record<string, string> = { keySum: 'normalizer' };
const FILE_STATES: Record<string, string> = { normalizer: 'keySum' };

function arrangementOf(
  { preLayerNorm, residual, residualOfNormed }: Options,
  parameters: Inputs,
): fw.models.Arrangement {
  if (residual === 'layerNorm(x)') return 'residualNormed';
  if (!('layer_norm.weight' in parameters)) return 'none';
  if (!preLayerNorm) return 'post';
  return (residualOfNormed ?? 'o_net.weight' in parameters) ? 'preNormed' : 'pre';
}

const deltaNet = ({ hiddenSize, heads, options, shared, omega }: Case): fw.models.Sublayer => {
  const layer = new fw.models.DeltaNetLayer(hiddenSize, heads, {
    ...shared,
    updateRule: options.layer === 'deltaNet2021' ? 'delta' : 'sum',
    featureMap: options.featureMap as 'elu1',
    nu: (options.nu as number) || 1,
    directions: omega?.shape[1],
    featureEps: options.featureEps as number,
    sumNorm: options.sumNorm as boolean,
    normalize: options.normalize as boolean,
    normalizeRetrieval: options.normalizeRetrieval as boolean,
    normalizeEps: options.eps as number,
  });
  if (omega) fw.noGrad(() => layer.omega!.copy_(omega));
  return layer;
};

const selfReferential =
  (deltaMemory: boolean) =>
  ({ hiddenSize, heads, options, shared: { scale: _, ...shared } }: Case): fw.models.Sublayer =>
    new fw.models.SelfReferentialLayer(hiddenSize, heads, {
      ...shared,
      inputSoftmax: options.inputSoftmax as boolean,
      deltaMemory,
    });

/** By `layer` in the options. */
const LAYERS: Readonly<Record<string, (given: Case) => fw.models.Sublayer>> = {
  deltaNet2021: deltaNet,
  linearTransformer2021: deltaNet,
  linearAttentionRaw: deltaNet,
  deltaDelta: ({ hiddenSize, heads, options, shared: { scale: _, ...shared } }) =>
    new fw.models.DeltaDeltaLayer(hiddenSize, heads, { ...shared, baseWeights: options.baseWeights as boolean }),
  deltaMlp: ({ hiddenSize, heads, options, shared: { scale: _, ...shared } }) =>
    new fw.models.DeltaMlpLayer(hiddenSize, heads, { ...shared, depth: options.depth as number }),
  slowLstm: ({ hiddenSize, heads, shared }) => new fw.models.SlowLstmLayer(hiddenSize, heads, shared),
  deltaRnn: ({ hiddenSize, heads, options, shared }) =>
    new fw.models.DeltaRnnLayer(hiddenSize, heads, { ...shared, version: options.version as 1 }),
  deltaLstm: ({ hiddenSize, heads, options, shared }) =>
    new fw.models.DeltaLstmLayer(hiddenSize, heads, { ...shared, version: options.version as 1 }),
  recurrentDelta: ({ hiddenSize, heads, shared }) => new fw.models.RecurrentDeltaLayer(hiddenSize, heads, shared),
  srwm: selfReferential(false),
  srDelta: selfReferential(true),
  fakeSr: ({ hiddenSize, heads, shared: { scale: _, ...shared } }) =>
    new fw.models.FakeSelfReferentialLayer(hiddenSize, heads, shared),
};

const CARRIED = /^(initial|shift)[A-Z]/;

const layer: CaseRunner = ({ x, omega, ...inputs }, options) => {
  const name = options.layer as string;
  const make = LAYERS[name];
  if (!make) throw new Error(`unknown layer ${name}`);
  const given = Object.entries(inputs).filter(([key]) => !CARRIED.test(key));
  const arrangement = arrangementOf(options, Object.fromEntries(given));
  const place = { device: x.device, dtype: x.dtype };
  const hiddenSize = x.shape[2];
  const shared = { arrangement, scale: options.scale as number, ...place };
  const module = make({ hiddenSize, heads: options.heads as number, options, shared, omega });
  const parameters = Object.fromEntries(given.map(([key, t]) => [ownName(key), t]));
  if (options.outputProjection === false) parameters['out_linear.weight'] = fw.eye(hiddenSize, place);
  const carried = Object.entries(inputs).flatMap(([key, t]) => {
    if (!CARRIED.test(key)) return [];
    const state = key.startsWith('initial') ? key[7].toLowerCase() + key.slice(8) : key;
    return [[STATES[state] ?? state, t] as const];
  });
  const { output, state } = withParameters(module, parameters).forward(x, {
    state: carried.length > 0 ? Object.fromEntries(carried) : null,
    outputState: true,
  });
  const finals = Object.entries(state!).map(([own, t]) => {
    const key = FILE_STATES[own] ?? own;
    return [`final${key[0].toUpperCase()}${key.slice(1)}`, t] as const;
  });
  return { output, ...Object.fromEntries(finals) };
};

/** A memory and a feed-forward, parameters 0.* and 1.*. */
const block: CaseRunner = ({ x, ...parameters }, options, file) => {
  const part = (n: number): Inputs =>
    Object.fromEntries(
      Object.entries(parameters).flatMap(([key, t]) => (key.startsWith(`${n}.`) ? [[key.slice(2), t] as const] : [])),
    );
  const { output } = layer({ x, ...part(0) }, { ...options, layer: 'deltaNet2021' }, file);
  const feedForward = new fw.models.FeedForwardSublayer(x.shape[2], options.ffDim as number, {
    device: x.device,
    dtype: x.dtype,
  });
  return { output: withParameters(feedForward, part(1)).forward(output!) };
};

/** The cells, without the output gate of the module. */
const eLstm: CaseRunner = ({ x, ...given }) => {
  const vector = (name: string): fw.Tensor => given[name].squeeze(0);
  const [peepholeZ, peepholeF, biasZ, biasF] = ['wv_z', 'wv_f', 'bias_z', 'bias_f'].map(vector);
  const inputs = { x, weightZ: given.wm_z, weightF: given.wm_f, peepholeZ, peepholeF, biasZ, biasF };
  return { output: fw.elstm(inputs).output };
};

const OTHERS: Readonly<Record<string, CaseRunner>> = { deltaNet2021Block: block, eLstm };

export const fwpLayer: CaseRunner = (inputs, options, file) =>
  (OTHERS[options.layer as string] ?? layer)(inputs, options, file);
