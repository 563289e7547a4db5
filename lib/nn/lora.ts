// Low-rank adapters of linear layers (Hu et al. 2021), with the meaning that peft gives them.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  FastWeightsError,
  type OptionNames,
  scope,
  type Tensor,
} from '../core';
import { noGrad } from '../autograd';
import { Dropout } from './activations';
import { constant_ } from './init';
import { Linear, type LinearAdapter } from './layers';
import { Module } from './module';
import { freeze, matching, type Pattern } from './patterns';

/** What `addLora` adds, and where. */
export interface LoraOptions {
  /** Width r of the adapter. */
  rank: number;
  /** The adapter's result is multiplied by alpha / rank. */
  alpha: number;
  /**
   * The linear layers: the end of their name (`'q_proj'`, `'attn.*_proj'`) or a RegExp, one or several; 'all-linear' for
   * all but `lm_head`.
   */
  targets: Pattern | readonly Pattern[];
  /** Dropout in front of the adapter while training, 0 by default. */
  dropout?: number;
}

const OPTIONS: OptionNames<LoraOptions> = { rank: true, alpha: true, targets: true, dropout: true };

/** scale B A x beside a linear layer: A [r, in] like the weight of a new layer, B [out, r] zeros at first. */
export class LoraAdapter extends Module implements LinearAdapter {
  /** [rank, in] */
  lora_A: Linear;
  /** [out, rank], zeros at first. */
  lora_B: Linear;
  /** In front of it. */
  dropout: Dropout;
  /** The weight without the adapter while it is merged. */
  private base: Tensor | null = null;

  constructor(
    /** r */
    readonly rank: number,
    /** As it was given; the factor is `scale`. */
    readonly alpha: number,
    p: number,
    { weight }: Linear,
    /** What the result is multiplied by. */
    readonly scale: number = alpha / rank,
  ) {
    super();
    const [outFeatures, inFeatures] = weight.shape;
    const where = { bias: false, device: weight.device, dtype: weight.dtype };
    this.lora_A = new Linear(inFeatures, rank, where);
    this.lora_B = new Linear(rank, outFeatures, where);
    constant_(this.lora_B.weight, 0);
    this.dropout = new Dropout(p);
  }

  protected override get isAdapter(): boolean {
    return true;
  }

  protected override memberProperties(): Iterable<[string, unknown]> {
    return Object.entries(this).filter(([name]) => name !== 'base');
  }

  /** Whether the layer's weight does not hold it already. */
  get active(): boolean {
    return this.base === null;
  }

  /** x [..., in] to [..., out]. */
  forward(x: Tensor): Tensor {
    return scope(() => this.lora_B.forward(this.lora_A.forward(this.dropout.forward(x))).mul(this.scale));
  }

  /** @internal Adds it to the layer's weight, which is kept. */
  merge({ weight }: Linear): void {
    if (this.base) return;
    noGrad(() => {
      this.base = weight.clone().persist();
      scope(() => weight.add_(this.lora_B.weight.matmul(this.lora_A.weight).mul(this.scale)));
    });
  }

  /** @internal Gives the layer its weight back. */
  unmerge({ weight }: Linear): void {
    const { base } = this;
    if (!base) return;
    noGrad(() => scope(() => weight.copy_(base.to(weight.device).to(weight.dtype))));
    this.forget();
  }

  /** Forgets the weight without it. */
  private forget(): void {
    this.base?.dispose();
    this.base = null;
  }

  override dispose(): void {
    this.forget();
    super.dispose();
  }
}

/** The layers of a model that have an adapter, by name. */
export function loraLayers(model: Module): Map<string, { layer: Linear; lora: LoraAdapter }> {
  const found = new Map<string, { layer: Linear; lora: LoraAdapter }>();
  for (const [path, layer] of model.namedModules()) {
    if (layer instanceof Linear && layer.adapter instanceof LoraAdapter)
      found.set(path, { layer, lora: layer.adapter });
  }
  return found;
}

/** @internal Whether a model has adapters that its weights do not hold already. */
export function activeLora(model: Module): boolean {
  return [...loraLayers(model).values()].some(({ lora }) => lora.active);
}

/** The linear layers that may have one. */
function linearLayers(model: Module): Map<string, Linear> {
  const inside = new Set<Module>();
  for (const { lora } of loraLayers(model).values()) for (const [, part] of lora.namedModules()) inside.add(part);
  const found = new Map<string, Linear>();
  for (const [path, module] of model.namedModules()) {
    if (module instanceof Linear && !inside.has(module)) found.set(path, module);
  }
  return found;
}

/** @internal Gives layers their adapters. Everything else of the model is frozen, other adapters stay as they are. */
export function attachLora(model: Module, adapters: ReadonlyMap<Linear, () => LoraAdapter>): void {
  const trained = [...loraLayers(model).values()].flatMap(({ lora }) =>
    lora.parameters().filter((t) => t.requiresGrad),
  );
  freeze(model);
  for (const t of trained) t.requiresGrad = true;
  for (const [layer, make] of adapters) layer.adapter = make().train(layer.training);
}

/**
 * Adds low-rank adapters to linear layers and freezes everything else: a layer computes W x + b + alpha / rank B A x. B
 * begins at 0, so the model computes what it did before, but for rounding. Returns the names of the layers. The adapters are parameters of
 * the model (`<layer>.adapter.lora_A.weight`), so optimisers and the trainer find them; its state dictionary stays that of the
 * model without them. `saveLora` saves them in the layout of peft, `savePretrained` beside the model. A layer that has one
 * already is refused. A module that reads the weight of a layer instead of calling it does not see the adapter.
 */
export function addLora(model: Module, options: LoraOptions): string[] {
  const where = 'addLora';
  checkOptions(where, options, OPTIONS);
  const { rank, alpha, targets, dropout = 0 } = options;
  checkInteger(where, 'rank', rank, 1);
  checkNumber(where, 'alpha', alpha);
  checkNumber(where, 'dropout', dropout, 0, 1);
  const layers = linearLayers(model);
  const names =
    targets === 'all-linear'
      ? [...layers.keys()].filter((name) => !/(^|\.)lm_head$/.test(name))
      : matching(where, 'targets', targets, [...layers.keys()], 'end');
  const taken = names.find((name) => layers.get(name)!.adapter);
  if (taken !== undefined) {
    throw argumentError('INVALID_ARGUMENT', where, 'targets', 'layers without an adapter', `${taken}, which has one`);
  }
  attachLora(
    model,
    new Map(names.map((name) => [layers.get(name)!, () => new LoraAdapter(rank, alpha, dropout, layers.get(name)!)])),
  );
  return names;
}

function checkAny(where: string, model: Module): ReturnType<typeof loraLayers> {
  const layers = loraLayers(model);
  if (layers.size === 0) throw argumentError('INVALID_ARGUMENT', where, 'model', 'one with adapters', 'none');
  return layers;
}

/**
 * Adds the adapters to the weights of their layers, so that they cost nothing; gradients do not reach them then. The
 * weights from before are kept. A weight that another module shares cannot take one.
 */
export function mergeLora(model: Module): void {
  const layers = checkAny('mergeLora', model);
  const places = model.namedParameters({ removeDuplicate: false });
  for (const [name, { layer }] of layers) {
    const shared = places.filter(([, t]) => t === layer.weight).map(([place]) => place);
    if (shared.length > 1) {
      const message = `mergeLora: the weight of ${name} is shared (${shared.join(', ')}), and would change all of them`;
      throw new FastWeightsError('UNSUPPORTED', message, { argument: name });
    }
  }
  for (const { layer, lora } of layers.values()) lora.merge(layer);
}

/** Gives merged layers their weights back, bit for bit, so that the adapters are trained again. */
export function unmergeLora(model: Module): void {
  for (const { layer, lora } of checkAny('unmergeLora', model).values()) lora.unmerge(layer);
}

/**
 * Takes the adapters out and frees them. What they had learned is lost unless `merge` is true, which leaves it in the
 * weights; merged ones stay merged only then. The model stays frozen, see `unfreeze`.
 */
export function removeLora(model: Module, options: { merge?: boolean } = {}): void {
  checkOptions<{ merge?: boolean }>('removeLora', options, { merge: 'flag' });
  const layers = checkAny('removeLora', model);
  if (options.merge) mergeLora(model);
  else unmergeLora(model);
  for (const { layer, lora } of layers.values()) {
    layer.adapter = null;
    lora.dispose();
  }
}
