// Continuous-time fast weights: operators and whole models.
import * as fw from '../../lib';
import type { CaseRunner, Inputs } from '../support/runCase';
import { giveParameters } from './parameters';

type Common = fw.models.NrdeModelOptions & fw.models.OdeModelOptions;

/** What both kinds of models are made of. */
function configurationOf(inputs: Inputs, { model: _, ...options }: Record<string, unknown>, answer: string): Common {
  const [hiddenSize, inputChannels] = inputs['update_net.input_proj.weight'].shape;
  return { ...options, hiddenSize, inputChannels, outputSize: inputs[answer].shape[0] } as unknown as Common;
}

/** By the rule in the file. */
export const CONTINUOUS: Readonly<Record<string, CaseRunner>> = {
  naturalCubicSpline({ times, x, observed, at }) {
    const spline = fw.naturalCubicSpline(times, x, { observed });
    const { a, b, twoC, threeD } = spline;
    return { a, b, twoC, threeD, ...fw.evaluateSpline(spline, at) };
  },
  logSignature: ({ x }, options) => ({ output: fw.logSignature(x, options as unknown as fw.LogSignatureOptions) }),
  odeModel({ x, times, finalIndex, ...weights }, options) {
    const { device, dtype } = x;
    const model = new fw.models.OdeModel(configurationOf(weights, options, 'linear.weight'), { device, dtype });
    return { output: giveParameters(model, weights).forward(x, times, { finalIndex }) };
  },
  nrdeModel({ initial, logSignatures, ...weights }, options) {
    const { device, dtype } = initial;
    const configuration = configurationOf(weights, options, 'final_linear.weight');
    const sizes = { ...configuration, initialSize: initial.shape[1] };
    const model = new fw.models.NrdeModel(sizes, { device, dtype });
    return { output: giveParameters(model, weights).forward(initial, logSignatures) };
  },
};
