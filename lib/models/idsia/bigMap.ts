// The direct-map baseline of continuous-time fast weights (Irie, Faccio and Schmidhuber 2022; spec 2.6.2).
import { checkInteger, checkOptions, type OptionNames, scope, type Tensor } from '../../core';
import { Dropout, Linear, Module } from '../../nn';
import type { TensorOptions } from '../../ops';
import { odeParts, type SolverOptions } from '../../rules';
import {
  checkSizes,
  type ContinuousSizes,
  driven,
  type OdeForwardOptions,
  ownControls,
  ownStates,
  SIZES,
} from './odeModel';
import { layersIn, ResidualFeedForward } from './vectorField';

const { controlAt, packSpline, SOLVER } = odeParts;

/** The configuration of a `BigMapModel`: sizes, the network of the map, and the solver ('rk4' by default). */
export interface BigMapOptions extends ContinuousSizes, SolverOptions {
  /** Linear layers of the map, 1 by default. */
  layers?: number;
  /** The width between them, which more than one need. */
  mapSize?: number | null;
}

const OPTIONS: OptionNames<BigMapOptions> = { ...SIZES, ...SOLVER, layers: true, mapSize: true };

/** tanh of a network of relu layers: from the weights to the matrix that their change is of the control's derivative. */
class DirectMap extends Module {
  /** relu between them. */
  big_net_layers: Linear[];

  constructor(weights: number, channels: number, layers: number, mapSize: number, options: TensorOptions) {
    super();
    const width = (i: number): number => (i === 0 ? weights : i === layers ? weights * channels : mapSize);
    this.big_net_layers = Array.from({ length: layers }, (_, i) => new Linear(width(i), width(i + 1), options));
  }

  /** The derivative dx [B, C] of the control and the weights [B, N]: [B, N]. */
  forward(dx: Tensor, weights: Tensor): Tensor {
    const layers = layersIn(this);
    const map = this.big_net_layers.reduce((y, _, i) => layers(`big_net_layers.${i}`, i === 0 ? y : y.relu()), weights);
    const [B, C] = dx.shape;
    return map.tanh().reshape(B, weights.shape[1], C).matmul(dx.unsqueeze(2)).squeeze(2);
  }
}

/**
 * As `OdeModel`, but no learning rule: vec(W)' = tanh(net(vec(W))) x' with W [hiddenSize, inputChannels], first W a linear
 * map of x at the first time, and the answer is of W x at the last of all times.
 */
export class BigMapModel extends Module {
  /** [hiddenSize inputChannels, inputChannels] */
  initial_network: Linear;
  /** The map. */
  update_net: DirectMap;
  /** Behind what is read, while training. */
  drop: Dropout;
  /** Behind the dropout. */
  ff_block: ResidualFeedForward;
  /** [outputSize, hiddenSize] */
  linear: Linear;
  /** The options, complete but for those of the solver. */
  readonly config: Readonly<BigMapOptions>;

  constructor(options: BigMapOptions, place: TensorOptions = {}) {
    super();
    const where = 'BigMapModel';
    checkOptions<object>(where, options, OPTIONS);
    const sizes = checkSizes(where, options);
    const layers = checkInteger(where, 'layers', options.layers ?? 1, 1);
    const mapSize = options.mapSize ?? null;
    if (layers > 1 || mapSize !== null) checkInteger(where, 'mapSize', mapSize, 1);
    const { inputChannels: C, hiddenSize: D, outputSize, ffDim, dropout } = sizes;
    this.initial_network = new Linear(C, C * D, place);
    this.update_net = new DirectMap(C * D, C, layers, mapSize ?? 1, place);
    this.drop = new Dropout(dropout);
    this.ff_block = new ResidualFeedForward(D, ffDim, dropout, place);
    this.linear = new Linear(D, outputSize, place);
    this.config = { ...options, ...sizes, layers, mapSize };
  }

  /** x [B, L, C] with NaN where it is missing, L times that increase: [B, outputSize]. */
  forward(x: Tensor, times: Tensor | readonly number[], options: Omit<OdeForwardOptions, 'initialState'> = {}): Tensor {
    checkOptions<object>('BigMapModel', options, { finalIndex: true, observed: true });
    return scope(() => {
      const sequence = driven('BigMapModel', x, times, options, this.config);
      const { times: knots, spline, ends } = sequence;
      const { update_net: map, config } = this;
      const packed = packSpline(spline);
      const start = layersIn(this)('initial_network', controlAt(knots, packed, knots[0]).x);
      const field = (t: number, y: Tensor, [own]: readonly Tensor[]): Tensor =>
        map.forward(controlAt(knots, own, t).dx, y);
      const weights = ownStates('BigMapModel', sequence, field, start, [packed, ...map.parameters()]);
      const { values } = ownControls(
        spline,
        ends.map(() => knots[knots.length - 1]),
      );
      const matrix = weights.reshape(ends.length, config.hiddenSize, config.inputChannels);
      const read = matrix.matmul(values.unsqueeze(2)).squeeze(2).to(this.linear.dtype);
      return this.linear.forward(this.ff_block.forward(this.drop.forward(read)));
    });
  }
}
