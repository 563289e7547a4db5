// Layers of the line of Schlag, Irie and Schmidhuber beside the fast weight layers proper: painter, memory, cosine transform.
import * as fw from '../../lib';
import type { CaseRunner, Inputs } from '../support/runCase';

/** Puts the tensors of a file in the place of the parameters of their names; each must have one, and each parameter one. */
export function withParameters<M extends fw.nn.Module>(module: M, inputs: Inputs): M {
  const names = Object.keys(module.stateDict()).sort();
  const given = Object.keys(inputs).sort();
  if (String(names) !== String(given)) throw new Error(`parameters ${names.join(', ')}, given ${given.join(', ')}`);
  const owners = new Map(module.namedModules());
  for (const [name, t] of Object.entries(inputs)) {
    const dot = name.lastIndexOf('.');
    const owner = owners.get(name.slice(0, Math.max(0, dot))) as unknown as Record<string, fw.Tensor>;
    const key = name.slice(dot + 1);
    if (String(owner[key].shape) !== String(t.shape)) throw new Error(`${name} is [${owner[key].shape}]`);
    owner[key] = t;
  }
  return module;
}

const placeOf = ({ device, dtype }: fw.Tensor): fw.TensorOptions => ({ device, dtype });

const painterModel: CaseRunner = ({ z, ...parameters }, options) => {
  const learned = parameters['decoder_rnn.weight_hh_l0'];
  const inner = parameters['per_time_linear_input.weight'];
  const generator = new fw.models.PainterGenerator({
    ...options,
    channels: parameters.learned_init?.shape[0] ?? 3,
    latentSize: z.shape[1],
    hiddenSize: learned.shape[1],
    inputSize: inner?.shape[0],
    strokeLatentSize: inner?.shape[1],
    latentToInit: 'latent_to_init.weight' in parameters,
    ...placeOf(z),
  });
  return { output: withParameters(generator, parameters).forward(z) };
};

const fastWeightMemoryCell: CaseRunner = ({ x, ...parameters }, options) => {
  const [hiddenSize, memorySize] = parameters['linear.weight'].shape;
  const reads = parameters['W_read.weight'].shape[0];
  const cell = new fw.models.FastWeightMemoryCell(x.shape[2], hiddenSize, {
    ...options,
    memorySize,
    relationSize: (reads - memorySize) / (options.hops as number),
    ...placeOf(x),
  });
  const { output, state } = withParameters(cell, parameters).forward(x, { outputState: true });
  return { output, finalState: state!.memory };
};

const dctFastRnn: CaseRunner = ({ x, ...parameters }, options) => {
  const { inputDim, hiddenDim, inputDiagonal, hiddenDiagonal, coefficientScale } = options as Record<string, number>;
  const rnn = new fw.models.DctFastRnn(inputDim, hiddenDim, {
    inputDiagonal,
    hiddenDiagonal,
    coefficientScale: Boolean(coefficientScale),
    ...placeOf(x),
  });
  return { output: withParameters(rnn, parameters).forward(x).output };
};

const MODES = {
  synchronous: 'sync_chunk',
  synchronousLinear: 'sync_chunk_linear',
  delayedStream: 'delayed',
  delayedChunk: 'chunk',
} as const;

/** One layer of a model, which has the configuration's checks. */
const hybridQuadraticLinear: CaseRunner = ({ x, ...parameters }, options) => {
  const given = options as {
    mode: keyof typeof MODES;
    combine: 'sum' | 'gate' | 'gate2' | 'dynamic' | 'static';
  } & Record<string, number & boolean>;
  const model = new fw.models.HybridQLTForCausalLM(
    {
      vocabSize: 1,
      hiddenSize: x.shape[2],
      numHiddenLayers: 1,
      intermediateSize: 1,
      attnMode: MODES[given.mode],
      numHeads: given.heads,
      chunkSize: given.window,
      expandV: given.expandV,
      useShortConv: given.shortConv,
      useGate: given.outputGate,
      useLocalPosEncoding: given.rope,
      allowNegEigval: given.negativeEigenvalues,
      useMemoryGate: given.combine.startsWith('gate'),
      useMemoryGateSeparate: given.combine === 'gate2',
      useMemoryDynamicScaler: given.combine === 'dynamic',
      useMemoryScaler: given.combine === 'static',
      normEps: given.rmsNormEps,
    },
    placeOf(x),
  );
  const layer = new fw.models.HybridQLT(model.config, placeOf(x));
  return { output: withParameters(layer, parameters).forward(x).output };
};

/** By the rule in the file. */
export const LINE_LAYERS: Readonly<Record<string, CaseRunner>> = {
  painterModel,
  fastWeightMemoryCell,
  dctFastRnn,
  hybridQuadraticLinear,
};
