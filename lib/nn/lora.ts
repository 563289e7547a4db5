// Low-rank adapters of linear layers (Hu et al. 2021), with the meaning that peft gives them.
import {
  argumentError,
  checkInstance,
  checkInteger,
  checkNumber,
  checkOptions,
  type DType,
  FastWeightsError,
  type OptionNames,
  scope,
  type Tensor,
} from '../core';
import { noGrad } from '../autograd';
import { Dropout } from './activations';
import { constant_ } from './init';
import { Linear, type LinearAdapter } from './layers';
import { checkModule, Module } from './module';
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
  /** While it is merged: the layer's weight without it, and what tells whether another was written there since. */
  private base: { weight: Tensor; version: number; dtype: DType } | null = null;

  constructor(
    /** r */
    readonly rank: number,
    /** As it was given; the factor is `scale`. */
    readonly alpha: number,
    p: number,
    layer: Linear,
    /** What the result is multiplied by. */
    readonly scale: number = alpha / rank,
  ) {
    super();
    checkInstance('LoraAdapter', 'layer', layer, Linear);
    const { outFeatures, inFeatures, device, dtype } = layer;
    const where = { bias: false, device, dtype };
    this.lora_A = new Linear(inFeatures, rank, where).keepWhole();
    this.lora_B = new Linear(rank, outFeatures, where).keepWhole();
    constant_(this.lora_B.weight, 0);
    this.dropout = new Dropout(p);
  }

  protected override get isAdapter(): boolean {
    return true;
  }

  /** Whether the layer's weight does not hold it already. */
  get active(): boolean {
    return this.base === null;
  }

  /** x [..., in] to [..., out]. */
  forward(x: Tensor): Tensor {
    return scope(() => this.lora_B.forward(this.lora_A.forward(this.dropout.forward(x))).mul(this.scale));
  }

  /** What it adds to the layer's weight, [out, in]. */
  private product(): Tensor {
    return this.lora_B.weight.matmul(this.lora_A.weight).mul(this.scale);
  }

  /** @internal Adds it to the layer's weight, which is kept. */
  merge({ weight }: Linear): void {
    if (this.base) return;
    noGrad(() => {
      const kept = weight.clone().persist();
      scope(() => weight.add_(this.product()));
      this.base = { weight: kept, version: weight.storage.version, dtype: weight.dtype };
    });
  }

  /** @internal Gives the layer its weight back, or takes the adapter out of what was written there while it was merged. */
  unmerge({ weight }: Linear): void {
    const { base } = this;
    if (!base) return;
    // A cast counts as a change of the storage, and changes nothing here.
    const version = base.version + Number(base.dtype !== weight.dtype);
    noGrad(() =>
      scope(() => {
        if (weight.storage.version === version) weight.copy_(base.weight.to(weight.device).to(weight.dtype));
        else weight.sub_(this.product());
      }),
    );
    this.forget();
  }

  /** Forgets the weight without it. */
  private forget(): void {
    this.base?.weight.dispose();
    this.base = null;
  }

  override dispose(): void {
    this.forget();
    super.dispose();
  }
}

/** The layers of a model that have an adapter, by name. */
export function loraLayers(where: string, model: Module): Map<string, { layer: Linear; lora: LoraAdapter }> {
  checkModule(where, 'model', model);
  const found = new Map<string, { layer: Linear; lora: LoraAdapter }>();
  for (const [path, layer] of model.namedModules()) {
    if (layer instanceof Linear && layer.adapter instanceof LoraAdapter)
      found.set(path, { layer, lora: layer.adapter });
  }
  return found;
}

/** @internal Whether a model has adapters that its weights do not hold already. */
export function activeLora(model: Module): boolean {
  return [...loraLayers('activeLora', model).values()].some(({ lora }) => lora.active);
}

/** The linear layers that may have one. */
function linearLayers(where: string, model: Module): Map<string, Linear> {
  const inside = new Set<Module>();
  for (const { lora } of loraLayers(where, model).values())
    for (const [, part] of lora.namedModules()) inside.add(part);
  const found = new Map<string, Linear>();
  for (const [path, module] of model.namedModules()) {
    if (module instanceof Linear && !inside.has(module)) found.set(path, module);
  }
  return found;
}

/** @internal Gives layers their adapters. Everything else of the model is frozen, other adapters stay as they are. */
export function attachLora(model: Module, adapters: ReadonlyMap<Linear, () => LoraAdapter>): void {
  const trained = [...loraLayers('addLora', model).values()].flatMap(({ lora }) =>
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
  const layers = linearLayers(where, model);
  const names =
    targets === 'all-linear'
      ? [...layers.keys()].filter((name) => !/(^|\.)lm_head$/.test(name))
      : matching(where, 'targets', targets, [...layers.keys()], 'end');
  if (names.length === 0) throw argumentError('INVALID_ARGUMENT', where, 'model', 'one with linear layers', 'none');
  const quantized = names.find((name) => layers.get(name)!.quantized);
  if (quantized !== undefined) {
    const message = `${where}: ${quantized} is quantised and lets no gradients through; add adapters to the model as it was`;
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'model', found: 'quantised weights' });
  }
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
  const layers = loraLayers(where, model);
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

/**
 * Gives merged layers their weights back, bit for bit, so that the adapters are trained again. Where a weight was changed
 * since, by `loadStateDict` for instance or by casts there and back, it becomes what it is now minus the adapter.
 */
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
