// ODE-RFWP: fast weights at observations, a differential equation of a latent state between them (Irie, Faccio and
// Schmidhuber 2022, appendix; spec 2.6.4).
import {
  argumentError,
  checkInteger,
  checkOptions,
  formatShape,
  type OptionNames,
  scope,
  type Tensor,
} from '../../core';
import { LayerNorm, Linear, Module, Sequential, Tanh } from '../../nn';
import { checkFloat, checkShapesByName, type TensorOptions, toFloat32, zeros } from '../../ops';
import { odeParts, type OdeRecurrentOptions, overTime } from '../../rules';
import { checkHeads, layersIn, ResidualFeedForward } from './vectorField';

const { checkObservation, observe, OBSERVATION } = odeParts;

/** The configuration of an `OdeRecurrentFastWeights`: sizes, and what `odeRecurrentFastWeights` takes. */
export interface OdeRecurrentSizes extends Omit<OdeRecurrentOptions, 'outputFinalState'> {
  /** Channels of an observation. */
  inputChannels: number;
  /** The width of all heads together, and of the latent state. */
  hiddenSize: number;
  /** The width between the two layers of the feed-forward block, 4 hiddenSize by default. */
  ffDim?: number;
  /** The widths between the layers of the latent field, [hiddenSize] by default. */
  netSizes?: readonly number[];
}

const OPTIONS: OptionNames<OdeRecurrentSizes> = (({ outputFinalState: _, ...known }) => ({
  ...known,
  inputChannels: true as const,
  hiddenSize: true as const,
  netSizes: true as const,
}))(OBSERVATION);

/** The states between observations. */
export interface OdeRecurrentState {
  /** [B, hiddenSize] */
  latent: Tensor;
  /** The fast weights [B, H, K, V]. */
  state: Tensor;
}

/** The slow net of the fast weights, from an observation and the latent state. */
class ObservationUpdate extends Module {
  input_proj: Linear;
  input_layer_norm: LayerNorm;
  merge_layer: Linear;
  kvb_net: Linear;

  constructor(channels: number, hiddenSize: number, heads: number, options: TensorOptions) {
    super();
    this.input_proj = new Linear(channels, hiddenSize, options);
    this.input_layer_norm = new LayerNorm(hiddenSize, options);
    this.merge_layer = new Linear(2 * hiddenSize, hiddenSize, options);
    this.kvb_net = new Linear(hiddenSize, 2 * hiddenSize + heads, options);
  }
}

/** The field of the latent state, under its published name. */
class LatentSolver extends Module {
  ode_func: { net: Sequential };

  constructor(widths: readonly number[], options: TensorOptions) {
    super();
    const layers = widths.slice(1).map((width, i) => new Linear(widths[i], width, options));
    this.ode_func = { net: new Sequential(...layers.flatMap((layer, i) => (i === 0 ? [layer] : [new Tanh(), layer]))) };
  }
}

/**
 * Sequences of observations with the times between them to latent states; see `odeRecurrentFastWeights`. States are zero at
 * first; `step` takes one observation.
 */
export class OdeRecurrentFastWeights extends Module {
  /** The slow net of what is written. */
  update_layer: ObservationUpdate;
  /** Of the query, [hiddenSize, inputChannels]. */
  input_proj: Linear;
  /** Behind `input_proj`. */
  input_layer_norm: LayerNorm;
  /** Behind the norm, [hiddenSize, hiddenSize]; softmax of it is the query. */
  query_net: Linear;
  /** Of what is read, [hiddenSize, hiddenSize]. */
  out_proj: Linear;
  /** Behind `out_proj`: its result is the latent state. */
  ff_block: ResidualFeedForward;
  /** The latent field: linear layers with tanh between them. */
  diffeq_solver: LatentSolver;
  /** The options, complete but for those of the solver. */
  readonly config: Readonly<OdeRecurrentSizes>;
  private readonly settings: odeParts.ObservationSettings;

  constructor(options: OdeRecurrentSizes, place: TensorOptions = {}) {
    super();
    const where = 'OdeRecurrentFastWeights';
    checkOptions<object>(where, options, OPTIONS);
    const { inputChannels, hiddenSize, netSizes = [hiddenSize], ffDim = 4 * hiddenSize, ...rest } = options;
    checkInteger(where, 'inputChannels', inputChannels, 1);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    checkInteger(where, 'ffDim', ffDim, 1);
    netSizes.forEach((size, i) => checkInteger(where, `netSizes[${i}]`, size, 1));
    const { solver, ...settings } = checkObservation(where, { heads: 8, ...rest });
    checkHeads(where, hiddenSize, settings.heads);
    this.update_layer = new ObservationUpdate(inputChannels, hiddenSize, settings.heads, place);
    this.input_proj = new Linear(inputChannels, hiddenSize, place);
    this.input_layer_norm = new LayerNorm(hiddenSize, place);
    this.query_net = new Linear(hiddenSize, hiddenSize, place);
    this.ff_block = new ResidualFeedForward(hiddenSize, ffDim, 0, place);
    this.out_proj = new Linear(hiddenSize, hiddenSize, place);
    this.diffeq_solver = new LatentSolver([hiddenSize, ...netSizes, hiddenSize], place);
    this.settings = { ...settings, solver };
    this.config = { ...options, ...settings, ffDim, netSizes };
  }

  /** Shapes of the states of B sequences. */
  private stateShapes(batch: number): Record<keyof OdeRecurrentState, number[]> {
    const { hiddenSize } = this.config;
    const { heads } = this.settings;
    const width = hiddenSize / heads;
    return { latent: [batch, hiddenSize], state: [batch, heads, width, width] };
  }

  /** The states of B sequences before their first observation. */
  initialState(batch: number): OdeRecurrentState {
    const { device, dtype } = this.query_net;
    const place = { device, dtype: dtype === 'bfloat16' ? ('float32' as const) : dtype };
    const { latent, state } = this.stateShapes(batch);
    return { latent: zeros(latent, place), state: zeros(state, place) };
  }

  /**
   * Observations x [B, T, C] and dt [B, T], the time before each or with `addDataFirst` after it: the latent states
   * [B, T, hiddenSize] and the states after the last observation.
   */
  forward(x: Tensor, dt: Tensor, before?: OdeRecurrentState | null): { output: Tensor; state: OdeRecurrentState } {
    const where = 'OdeRecurrentFastWeights';
    checkFloat(where, 'x', x);
    checkFloat(where, 'dt', dt);
    const [B, T] = x.shape;
    if (x.ndim !== 3 || T === 0 || x.shape[2] !== this.config.inputChannels) {
      const expected = `[B, at least 1, ${this.config.inputChannels}]`;
      throw argumentError('SHAPE', where, 'x', expected, formatShape(x.shape));
    }
    if (dt.ndim !== 2 || dt.shape[0] !== B || dt.shape[1] !== T) {
      throw argumentError('SHAPE', where, 'dt', formatShape([B, T]), formatShape(dt.shape));
    }
    if (before) checkShapesByName(where, 'before', before, this.stateShapes(B));
    return scope(() => {
      const states = { ...(before ?? this.initialState(B)) };
      const weights = Object.fromEntries(this.namedParameters());
      const loop = { tokens: { x, dt }, states, weights };
      const ran = overTime(loop, (token, own) => {
        const after = this.observe(where, token.x, token.dt, own);
        return { output: after.latent, states: { ...after } };
      });
      return { output: ran.output.to(x.dtype), state: ran.states };
    });
  }

  /** One observation x [B, C] and dt [B]: the latent state [B, hiddenSize] after it; the states change in place. Only inside noGrad. */
  step(x: Tensor, dt: Tensor, state: OdeRecurrentState): Tensor {
    const where = 'OdeRecurrentFastWeights.step';
    checkFloat(where, 'x', x);
    checkFloat(where, 'dt', dt);
    checkShapesByName(where, 'state', state, this.stateShapes(x.shape[0]));
    return scope(() => {
      const after = this.observe(where, x, dt, state);
      state.latent.copy_(after.latent);
      state.state.copy_(after.state);
      return after.latent.clone().to(x.dtype);
    });
  }

  private observe(where: string, x: Tensor, dt: Tensor, { latent, state }: OdeRecurrentState): OdeRecurrentState {
    const layers = layersIn(this);
    const { net } = this.diffeq_solver.ode_func;
    const { dtype } = this.query_net;
    const parts = {
      layers,
      feedForward: (y: Tensor) => toFloat32(this.ff_block.forward(y.to(dtype))),
      latentField: (h: Tensor) => toFloat32(net.forward(h.to(dtype))),
      args: net.parameters(),
    };
    return observe(where, this.settings, parts, { x: toFloat32(x), latent, state, dt: toFloat32(dt) });
  }
}
