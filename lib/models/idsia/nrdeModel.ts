// Fast weights driven by the log-signatures of windows, for long sequences (Irie, Faccio and Schmidhuber 2022; spec 2.6.3).
import {
  argumentError,
  checkInteger,
  checkOptions,
  formatShape,
  type OptionNames,
  scope,
  type Tensor,
} from '../../core';
import { Linear } from '../../nn';
import { checkFloat, type TensorOptions, toFloat32 } from '../../ops';
import { type FieldOptions, odeParts, type SolverOptions } from '../../rules';
import { checkSizes, type ContinuousSizes, SIZES } from './odeModel';
import { checkHeads, QueriedFastWeights, VectorField } from './vectorField';

const { checkField, FIELD, integrate, SOLVER, solverOf } = odeParts;

/**
 * The configuration of an `NrdeModel`: sizes, of which `inputChannels` are those of a log-signature, field ('dxOnly', 'delta'
 * with `postTanh` and, in 'dxOnly', `valueLayerNorm`, 8 heads by default) and solver ('rk4' by default, a step for a window).
 */
export interface NrdeModelOptions extends ContinuousSizes, FieldOptions<'dxOnly' | 'ode'>, SolverOptions {
  /** Channels of the first observation. */
  initialSize: number;
  /** Whether the last window drives the state twice, as the published time axis has it; true by default. */
  repeatLastWindow?: boolean;
  /** Whether the query is of the first observation and not of the last window; false by default. */
  queryFromInitial?: boolean;
}

const OPTIONS: OptionNames<NrdeModelOptions> = {
  ...SIZES,
  ...FIELD,
  ...SOLVER,
  initialSize: true,
  repeatLastWindow: 'flag',
  queryFromInitial: 'flag',
};

/**
 * The first observation and the log-signatures of windows (see `logSignature`) to answers [B, outputSize]: keys, values and
 * strengths come from the log-signature of the window that time is in, which takes 1 of it; the first state is the field at
 * `initial_network` of the first observation, without a state.
 */
export class NrdeModel extends QueriedFastWeights {
  /** [inputChannels, initialSize] */
  initial_network: Linear;
  /** [outputSize, hiddenSize] */
  final_linear: Linear;
  /** The options, complete but for those of the solver. */
  readonly config: Readonly<NrdeModelOptions>;

  constructor(options: NrdeModelOptions, place: TensorOptions = {}) {
    const where = 'NrdeModel';
    checkOptions<object>(where, options, OPTIONS);
    const sizes = checkSizes(where, options);
    const initialSize = checkInteger(where, 'initialSize', options.initialSize, 1);
    const { repeatLastWindow = true, queryFromInitial = false, family, postTanh, valueLayerNorm } = options;
    const own = {
      heads: 8,
      ...options,
      postTanh: postTanh ?? (options.learningRule ?? 'delta') === 'delta',
      valueLayerNorm: valueLayerNorm ?? family !== 'ode',
    };
    const settings = checkField(where, own, ['dxOnly', 'ode']);
    checkHeads(where, sizes.hiddenSize, settings.heads);
    const { inputChannels, hiddenSize } = sizes;
    super(new VectorField(settings, inputChannels, hiddenSize, place), sizes, place);
    this.initial_network = new Linear(initialSize, inputChannels, place);
    this.final_linear = new Linear(hiddenSize, sizes.outputSize, place);
    const { family: found } = own;
    this.config = { ...options, ...settings, ...sizes, family: found, initialSize, repeatLastWindow, queryFromInitial };
  }

  /** initial [B, initialSize], logSignatures [B, windows, inputChannels]: [B, outputSize]. */
  forward(initial: Tensor, logSignatures: Tensor): Tensor {
    const where = 'NrdeModel';
    checkFloat(where, 'initial', initial);
    checkFloat(where, 'logSignatures', logSignatures);
    const { initialSize, inputChannels, repeatLastWindow, queryFromInitial } = this.config;
    const [B, windows] = logSignatures.shape;
    if (logSignatures.ndim !== 3 || windows < 1 || logSignatures.shape[2] !== inputChannels) {
      const expected = `[B, at least 1 window, ${inputChannels}]`;
      throw argumentError('SHAPE', where, 'logSignatures', expected, formatShape(logSignatures.shape));
    }
    if (initial.ndim !== 2 || initial.shape[0] !== B || initial.shape[1] !== initialSize) {
      throw argumentError('SHAPE', where, 'initial', `[${B}, ${initialSize}]`, formatShape(initial.shape));
    }
    return scope(() => {
      const field = this.update_net;
      const first = toFloat32(this.initial_network.forward(initial));
      const windowAt = (t: number, all: Tensor): Tensor => all.select(1, Math.min(Math.floor(t), windows - 1));
      const drive = (t: number, state: Tensor, [all]: readonly Tensor[]): Tensor => {
        const control = windowAt(t, all);
        return field.forward(control, control, state);
      };
      const args = [toFloat32(logSignatures), ...field.parameters()];
      const solver = solverOf({ stepSize: 1, ...this.config }, args[0]);
      const ends = [0, repeatLastWindow ? windows + 1 : windows];
      const start = field.forward(first, first, null);
      const states = integrate(where, drive, start, ends, { ...solver, args, perturb: true }, 'initial');
      const input = queryFromInitial ? first : windowAt(windows, args[0]);
      return this.final_linear.forward(this.read(states.select(0, -1), input));
    });
  }
}
