// What models of continuous-time fast weights are made of (Irie, Faccio and Schmidhuber 2022; spec 2.6.3).
import { argumentError, checkInstance, checkObject, describe, type Tensor } from '../../core';
import { Dropout, LayerNorm, Linear, Module, ReLU, Sequential } from '../../nn';
import { type TensorOptions, toFloat32 } from '../../ops';
import { odeParts } from '../../rules';

/** Requires heads that divide a width. */
export function checkHeads(where: string, hiddenSize: number, heads: number): number {
  if (hiddenSize % heads === 0) return hiddenSize / heads;
  throw argumentError('INVALID_ARGUMENT', where, 'heads', `a divisor of hiddenSize ${hiddenSize}`, describe(heads));
}

/** Layers that are members of a module, by their property names; states stay float32 where the weights are bfloat16. */
export function layersIn(module: object): odeParts.Layers {
  return (name, x) => {
    const layer = name.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], module);
    const { weight } = layer as Linear;
    return toFloat32((layer as Linear).forward(x.to(weight.dtype)));
  };
}

/** The slow net of a field: dS/dt of the fast weights from the control, under the published names. */
export class VectorField extends Module {
  /** [hiddenSize, channels] */
  input_proj: Linear;
  /** Behind `input_proj`. */
  input_layer_norm: LayerNorm;
  /** In 'ode': per head the rows of k, v and the strength. */
  kvb_net?: Linear;
  /** Elsewhere: per head the rows of k and the strength. */
  kb_net?: Linear;
  /** Values from the derivative of the control, in 'cde1' and Oja's rule of 'dxOnly'. */
  dx_dt_proj?: Linear;
  /** Values in the other families. */
  vs_proj?: Linear;
  /** Behind the values, with `valueLayerNorm`. */
  v_layer_norm?: LayerNorm;
  /** Behind that norm, [hiddenSize, hiddenSize]. */
  v_net?: Linear;

  constructor(
    /** What the field does. */
    readonly settings: odeParts.FieldSettings,
    channels: number,
    hiddenSize: number,
    options: TensorOptions = {},
  ) {
    super();
    checkObject('VectorField', 'settings', settings);
    const { family, heads, valueLayerNorm } = settings;
    this.input_proj = new Linear(channels, hiddenSize, options);
    this.input_layer_norm = new LayerNorm(hiddenSize, options);
    if (family === 'ode') {
      this.kvb_net = new Linear(hiddenSize, 2 * hiddenSize + heads, options);
      return;
    }
    this.kb_net = new Linear(hiddenSize, hiddenSize + heads, options);
    this[odeParts.valueLayer(settings)] = new Linear(channels, hiddenSize, options);
    if (!valueLayerNorm) return;
    this.v_layer_norm = new LayerNorm(hiddenSize, options);
    this.v_net = new Linear(hiddenSize, hiddenSize, options);
  }

  /** The control x and its derivative dx [B, C], the state [B, H, K, V] or null before there is one: [B, H, K, V]. */
  forward(x: Tensor, dx: Tensor, state: Tensor | null): Tensor {
    return odeParts.learningField(this.settings, layersIn(this), x, dx, state);
  }
}

/** x + W2 relu(W1 LN(x) + b1) + b2, with dropout behind each of the two. */
export class ResidualFeedForward extends Module {
  /** Linear, ReLU, Dropout, Linear, Dropout. */
  ff_layers: Sequential;
  /** In front of them. */
  layer_norm: LayerNorm;

  constructor(hiddenSize: number, ffDim: number, dropout: number, options: TensorOptions = {}) {
    super();
    const [up, down] = [new Linear(hiddenSize, ffDim, options), new Linear(ffDim, hiddenSize, options)];
    this.ff_layers = new Sequential(up, new ReLU(), new Dropout(dropout), down, new Dropout(dropout));
    this.layer_norm = new LayerNorm(hiddenSize, options);
  }

  /** x [..., hiddenSize] to the same shape. */
  forward(x: Tensor): Tensor {
    return this.ff_layers.forward(this.layer_norm.forward(x)).add(x);
  }
}

/** Sizes that all these models have. */
export interface ReadoutSizes {
  /** The width of all heads together. */
  hiddenSize: number;
  /** The width between the two layers of the feed-forward block. */
  ffDim: number;
  /** Probability while training. */
  dropout: number;
}

/** A model that reads its answer from the fast weights with one query. */
export abstract class QueriedFastWeights extends Module {
  /** The field of the fast weights. */
  update_net: VectorField;
  /** Of the query, behind the projection and the norm of `update_net`. */
  query_net: Linear;
  /** Of what is read, [hiddenSize, hiddenSize]. */
  out_proj: Linear;
  /** Behind `out_proj`, while training. */
  drop: Dropout;
  /** Behind that. */
  ff_block: ResidualFeedForward;

  constructor(update: VectorField, sizes: ReadoutSizes, options: TensorOptions) {
    super();
    checkInstance('QueriedFastWeights', 'update', update, VectorField);
    checkObject('QueriedFastWeights', 'sizes', sizes);
    const { hiddenSize, ffDim, dropout } = sizes;
    this.update_net = update;
    this.query_net = new Linear(hiddenSize, hiddenSize, options);
    this.out_proj = new Linear(hiddenSize, hiddenSize, options);
    this.drop = new Dropout(dropout);
    this.ff_block = new ResidualFeedForward(hiddenSize, ffDim, dropout, options);
  }

  /** What the query of an input [B, C] reads from the state [B, H, K, V], behind the feed-forward block: [B, hiddenSize]. */
  protected read(state: Tensor, input: Tensor): Tensor {
    const { update_net: field, query_net } = this;
    const own = layersIn({ ...field, query_net });
    const values = odeParts.readState(state, odeParts.queryOf(own, input, field.settings.heads));
    return this.ff_block.forward(this.drop.forward(this.out_proj.forward(values.to(this.out_proj.weight.dtype))));
  }
}
