// The layer of short-term plasticity neurons.
import { checkChoice, checkInteger, checkOptions, type OptionNames, type Shape, type Tensor } from '../core';
import { rand } from '../ops';
import { stpn, type StpnOptions } from '../rules';
import { BIAS, type BiasOptions } from './layers';
import { parameter } from './module';
import { RuleLayer } from './ruleLayer';

/** Options of `Stpn`; with a bias by default. */
export interface StpnLayerOptions extends StpnOptions, BiasOptions {}

const OPTIONS: OptionNames<StpnLayerOptions> = {
  ...BIAS,
  recurrent: 'flag',
  rule: true,
  plastic: true,
  weightNorm: 'flag',
  activation: true,
  scalarRates: 'flag',
};

/** The states of a `Stpn`. */
type StpnStates = { state: 'B D P' };

/** Of one that is recurrent. */
type Recurrent = { hidden: 'B D' };

/**
 * Short-term plasticity neurons (Rodriguez, Guo, Moraitis 2022; spec 2.10): the rule `stpn`, whose options it takes, with
 * parameters named and initialised as in the authors' programs: weight [D, I + D] and bias uniform in +-1/sqrt(D), decays
 * in [0, 1), rates in +-0.001/sqrt(D). Published runs have `weightNorm`. forward: x [B, T, inputSize] to output
 * [B, T, hiddenSize], states hidden [B, D] (where it is recurrent) and F, `state` [B, D, P].
 */
export class Stpn extends RuleLayer<StpnStates, Recurrent> {
  /** [D, I + D], or [D, I] of a layer that is not recurrent. */
  weight: Tensor;
  /** [D], or null. */
  bias: Tensor | null;
  /** Decays [D, P] of the P plastic columns, or [1]. */
  weight_lambda: Tensor;
  /** Rates [D, P], or [1]. */
  weight_gamma: Tensor;
  protected readonly rule = stpn;
  protected readonly settings: StpnOptions;
  private readonly plasticColumns: number;

  constructor(
    /** I: width of x. */
    readonly inputSize: number,
    /** D: units. */
    readonly hiddenSize: number,
    options: StpnLayerOptions = {},
  ) {
    super();
    checkOptions('Stpn', options, OPTIONS);
    checkInteger('Stpn', 'inputSize', inputSize, 1);
    checkInteger('Stpn', 'hiddenSize', hiddenSize, 1);
    const { bias = true, device, dtype, requiresGrad, ...settings } = options;
    const { recurrent = true, scalarRates = false } = settings;
    const plastic = checkChoice('Stpn', 'plastic', settings.plastic ?? 'all', ['all', 'hidden', 'input']);
    const columns = inputSize + (recurrent ? hiddenSize : 0);
    this.plasticColumns = { all: columns, hidden: hiddenSize, input: inputSize }[plastic];
    this.settings = settings;
    const bound = hiddenSize ** -0.5;
    const draw = (shape: number[], low: number, high: number): Tensor =>
      parameter(rand(shape, { device, dtype, requiresGrad, low, high }));
    const rates = scalarRates ? [1] : [hiddenSize, this.plasticColumns];
    this.weight = draw([hiddenSize, columns], -bound, bound);
    this.bias = bias ? draw([hiddenSize], -bound, bound) : null;
    this.weight_lambda = draw(rates, 0, 1);
    this.weight_gamma = draw(rates, -0.001 * bound, 0.001 * bound);
  }

  protected get stateShapes(): { hidden?: Shape; state: Shape } {
    const state = [this.hiddenSize, this.plasticColumns];
    return (this.settings.recurrent ?? true) ? { hidden: [this.hiddenSize], state } : { state };
  }

  protected get reference(): Tensor {
    return this.weight;
  }

  protected inputs(x: Tensor): object {
    const { weight, bias, weight_lambda: lambda, weight_gamma: gamma } = this;
    return { x, weight, bias, lambda, gamma };
  }
}
