// Recurrent layers with plastic connections: differentiable plasticity and Backpropamine.
import { argumentError, checkInteger, checkOptions, type OptionNames, type Shape, type Tensor } from '../core';
import { full, rand, randn, TENSOR_OPTIONS, type TensorOptions } from '../ops';
import { plasticity, type PlasticityOptions, plasticLayer, type PlasticLayerOptions } from '../rules';
import { Linear } from './layers';
import { parameter } from './module';
import { type NoStates, RuleLayer } from './ruleLayer';

/** Options of `PlasticRnn`. */
export interface PlasticRnnOptions extends PlasticityOptions, TensorOptions {
  /** Whether a `Linear` brings x to the width of the units; without one x is added as it is. true by default. */
  project?: boolean;
}

const OPTIONS: OptionNames<PlasticRnnOptions> = {
  ...TENSOR_OPTIONS,
  rule: true,
  clip: true,
  modulator: true,
  fanout: 'flag',
  project: 'flag',
};

/** The states of a `PlasticRnn`. */
type PlasticStates = { hidden: 'B D'; state: 'B D D' };

/** With the rule 'retroactive' what is eligible, too. */
type Eligible = { trace: 'B D D' };

/**
 * A recurrent layer with plastic connections: the rule `plasticity`, whose options it takes, with parameters named as in
 * the authors' programs. Differentiable plasticity (Miconi, Stanley, Clune 2018, `simple.py`; 'hebb' and 'oja'): w and
 * alpha begin as 0.01 N(0, 1). Backpropamine (Miconi et al. 2019, `simplemaze/maze.py`; the other rules): 0.001 times
 * uniform numbers in [0, 1). eta begins at 0.01; `i2h`, `h2mod` and `modfanout` as any `Linear`. Spec 2.10.
 * forward: x [B, T, inputSize] to output [B, T, hiddenSize], states hidden [B, D], `state` [B, D, D] (the traces) and with
 * the rule 'retroactive' `trace` [B, D, D] (what is eligible).
 */
export class PlasticRnn extends RuleLayer<PlasticStates, Eligible> {
  /** From x to the units, or null. */
  i2h: Linear | null;
  /** [hiddenSize, hiddenSize], rows pre-synaptic. */
  w: Tensor;
  /** [hiddenSize, hiddenSize]: how plastic every connection is. */
  alpha: Tensor;
  /** [1], or null with 'modulated', where the modulator takes its place. */
  eta: Tensor | null;
  /** From the units to the modulator, or null. */
  h2mod: Linear | null;
  /** From the modulator to every unit, or null. */
  modfanout: Linear | null;
  protected readonly rule = plasticity;
  protected readonly settings: PlasticityOptions;

  constructor(
    /** Width of x. */
    readonly inputSize: number,
    /** D: units. */
    readonly hiddenSize: number,
    options: PlasticRnnOptions = {},
  ) {
    super();
    const name = 'PlasticRnn';
    checkOptions(name, options, OPTIONS);
    checkInteger(name, 'inputSize', inputSize, 1);
    checkInteger(name, 'hiddenSize', hiddenSize, 1);
    const { rule = 'hebb', clip, modulator, fanout = false, project = true, ...where } = options;
    if (!project && inputSize !== hiddenSize) {
      const expected = `hiddenSize ${hiddenSize} with project false`;
      throw argumentError('INVALID_ARGUMENT', name, 'inputSize', expected, String(inputSize));
    }
    this.settings = { rule, clip, modulator, fanout };
    const modulated = rule === 'modulated' || rule === 'retroactive';
    const shape = [hiddenSize, hiddenSize];
    const draw = (): Tensor =>
      rule === 'hebb' || rule === 'oja'
        ? randn(shape, { ...where, std: 0.01 })
        : rand(shape, { ...where, high: 0.001 });
    this.i2h = project ? new Linear(inputSize, hiddenSize, where) : null;
    this.w = parameter(draw());
    this.alpha = parameter(draw());
    this.eta = rule === 'modulated' ? null : parameter(full([1], 0.01, where));
    this.h2mod = modulated ? new Linear(hiddenSize, 1, where) : null;
    this.modfanout = fanout ? new Linear(1, hiddenSize, where) : null;
  }

  protected get stateShapes(): { hidden: Shape; state: Shape; trace?: Shape } {
    const D = this.hiddenSize;
    const shapes = { hidden: [D], state: [D, D] };
    return this.settings.rule === 'retroactive' ? { ...shapes, trace: [D, D] } : shapes;
  }

  protected get reference(): Tensor {
    return this.w;
  }

  protected inputs(x: Tensor): object {
    const { i2h, w, alpha, eta, h2mod, modfanout, hiddenSize } = this;
    return {
      input: i2h ? i2h.forward(x) : x,
      weight: w,
      alpha,
      eta,
      ...(h2mod && { modulatorWeight: h2mod.weight.reshape(hiddenSize), modulatorBias: h2mod.bias }),
      ...(modfanout && { fanoutWeight: modfanout.weight.reshape(hiddenSize), fanoutBias: modfanout.bias }),
    };
  }
}

/** Options of `PlasticLayer`. */
export interface PlasticLayerModuleOptions extends PlasticLayerOptions, TensorOptions {}

/** The states of a `PlasticLayer`. */
type PlasticLayerStates = { state: 'B N M' };

const LAYER: OptionNames<PlasticLayerModuleOptions> = {
  ...TENSOR_OPTIONS,
  rule: true,
  activation: true,
  labelGain: true,
};

/**
 * The plastic layer at the end of a few-shot classifier (Miconi, Stanley, Clune 2018, `omniglot.py`; spec 2.10, 3.12): the
 * rule `plasticLayer`, whose options it takes, with w 0.01 N(0, 1), alpha 0.01 times uniform numbers in [0, 1) and eta 0.01
 * at first. forward: x [B, T, inFeatures] and `label` [B, T, outFeatures] among the options to output
 * [B, T, outFeatures], `state` [B, inFeatures, outFeatures].
 */
export class PlasticLayer extends RuleLayer<PlasticLayerStates, NoStates, { label?: Tensor | null }> {
  /** [inFeatures, outFeatures] */
  w: Tensor;
  /** [inFeatures, outFeatures] */
  alpha: Tensor;
  /** [1] */
  eta: Tensor;
  protected readonly rule = plasticLayer;
  protected readonly settings: PlasticLayerOptions;

  constructor(
    /** Width of x. */
    readonly inFeatures: number,
    /** Width of the output. */
    readonly outFeatures: number,
    options: PlasticLayerModuleOptions = {},
  ) {
    super();
    checkOptions('PlasticLayer', options, LAYER);
    checkInteger('PlasticLayer', 'inFeatures', inFeatures, 1);
    checkInteger('PlasticLayer', 'outFeatures', outFeatures, 1);
    const { rule, activation, labelGain, ...where } = options;
    this.settings = { rule, activation, labelGain };
    this.w = parameter(randn([inFeatures, outFeatures], { ...where, std: 0.01 }));
    this.alpha = parameter(rand([inFeatures, outFeatures], { ...where, high: 0.01 }));
    this.eta = parameter(full([1], 0.01, where));
  }

  protected get stateShapes(): { state: Shape } {
    return { state: [this.inFeatures, this.outFeatures] };
  }

  protected get reference(): Tensor {
    return this.w;
  }

  protected inputs(x: Tensor): object {
    const { w: weight, alpha, eta } = this;
    return { x, weight, alpha, eta };
  }
}
