// The layer of Ba et al. 2016: a recurrent network with fast weights to the recent past.
import { checkInteger, checkOptions, type OptionNames, type Shape, type Tensor } from '../core';
import { noGrad } from '../autograd';
import { eye, rand, zeros } from '../ops';
import { fastRnn, type FastRnnOptions } from '../rules';
import { BIAS, type BiasOptions, LayerNorm } from './layers';
import { parameter } from './module';
import { RuleLayer } from './ruleLayer';

/** Options of `FastRnn`; with a bias by default. */
export interface FastRnnLayerOptions extends FastRnnOptions, BiasOptions {}

const OPTIONS: OptionNames<FastRnnLayerOptions> = {
  ...BIAS,
  decay: true,
  rate: true,
  innerSteps: true,
  activation: true,
  norm: 'flag',
  normEps: true,
  preliminaryNorm: 'flag',
};

/** The states of a `FastRnn`. */
type FastRnnStates = { hidden: 'B D'; state: 'B D D' };

/**
 * Fast weights that attend to the recent past (Ba, Hinton, Mnih, Leibo, Ionescu 2016; spec 2.9): the rule `fastRnn`, whose
 * options it takes, with its weights. As in the paper `weight_hh` begins as 0.05 times the identity; `weight_ih` is
 * uniform in +-1/sqrt(inputSize), the bias 0. forward: x [B, T, inputSize] to output [B, T, hiddenSize], states hidden
 * [B, D] and A, `state` [B, D, D].
 */
export class FastRnn extends RuleLayer<FastRnnStates> {
  /** C [hiddenSize, inputSize] */
  weight_ih: Tensor;
  /** W [hiddenSize, hiddenSize] */
  weight_hh: Tensor;
  /** [hiddenSize], or null. */
  bias: Tensor | null;
  /** LN, or null without. */
  layer_norm: LayerNorm | null;
  protected readonly rule = fastRnn;
  protected readonly settings: FastRnnOptions;

  constructor(
    /** Width of x. */
    readonly inputSize: number,
    /** D: units. */
    readonly hiddenSize: number,
    options: FastRnnLayerOptions = {},
  ) {
    super();
    checkOptions('FastRnn', options, OPTIONS);
    checkInteger('FastRnn', 'inputSize', inputSize, 1);
    checkInteger('FastRnn', 'hiddenSize', hiddenSize, 1);
    const { bias = true, device, dtype, requiresGrad, ...settings } = options;
    const where = { device, dtype, requiresGrad };
    const bound = inputSize ** -0.5;
    this.settings = settings;
    this.weight_ih = parameter(rand([hiddenSize, inputSize], { ...where, low: -bound, high: bound }));
    this.weight_hh = parameter(noGrad(() => eye(hiddenSize, { device, dtype }).mul(0.05)));
    this.bias = bias ? parameter(zeros([hiddenSize], where)) : null;
    const normed = (settings.norm ?? true) || (settings.preliminaryNorm ?? false);
    this.layer_norm = normed ? new LayerNorm(hiddenSize, { ...where, eps: settings.normEps ?? 1e-5 }) : null;
  }

  protected get stateShapes(): { hidden: Shape; state: Shape } {
    const D = this.hiddenSize;
    return { hidden: [D], state: [D, D] };
  }

  protected get reference(): Tensor {
    return this.weight_ih;
  }

  protected inputs(x: Tensor): object {
    const { weight_ih: weightIh, weight_hh: weightHh, bias, layer_norm: norm } = this;
    return { x, weightIh, weightHh, bias, normWeight: norm?.weight, normBias: norm?.bias };
  }
}
