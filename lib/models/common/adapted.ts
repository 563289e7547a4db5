// Models with adapters by name: one model in memory, and a view of it for each adapter.
import { noGrad } from '../../autograd';
import { argumentError, checkString, describe, type Device, FastWeightsError, scope, type Tensor } from '../../core';
import {
  atOnce,
  embed,
  type EmbedOptions,
  type HiddenRead,
  type Read,
  type RecurrentModel,
  type SamplingOptions,
  Session,
  type SessionOptions,
  type Stages,
  type State,
  type TokenIds,
} from '../../inference';
import { AdapterSlot, type Linear, LoraAdapter, readServedLora, type ServedLora, underAdapters } from '../../nn';
import type { Backbone } from './block';
import type { CausalLM } from './causalLM';
import { Experts } from './experts';
import type { SequenceOptions } from './mixer';

/**
 * A model with one of the adapters that `loadAdapter` gave it a name for. Its sessions, snapshots and embeddings are its own: a state that
 * came through another adapter, or through none, is refused. The weights are those of the model.
 */
export class AdaptedModel implements RecurrentModel {
  /** @internal */
  constructor(
    /** The model without the adapter. */
    readonly base: CausalLM,
    /** Of the adapter. */
    readonly adapter: string,
    private lora: ServedLora | null,
  ) {}

  /** @internal The adapter's numbers, so long as it is loaded. */
  get served(): ServedLora {
    if (this.lora) return this.lora;
    throw new FastWeightsError('DISPOSED', `the adapter '${this.adapter}' was unloaded`, { argument: 'adapter' });
  }

  /** That of the model. */
  get vocabSize(): number {
    return this.base.vocabSize;
  }

  /** That of the model. */
  get device(): Device {
    return this.base.device;
  }

  /** Those of the model. */
  get stopTokens(): readonly number[] {
    return this.base.stopTokens;
  }

  /** That of the model. */
  get sampling(): SamplingOptions {
    return this.base.sampling;
  }

  /** That of the model. */
  get promptSlice(): number {
    return this.base.promptSlice;
  }

  get divisibleLength(): number {
    return this.base.divisibleLength;
  }

  /** That of the model and the numbers of the adapter, whatever its name. */
  get identity(): string {
    return `${this.base.identity} with ${this.served.identity}`;
  }

  /** Those of the model. */
  parameters(): readonly Tensor[] {
    return this.base.parameters();
  }

  /** That of the model. */
  get repeatsSteps(): boolean {
    return this.base.repeatsSteps;
  }

  /** That of the model. */
  get revision(): number {
    return this.base.revision;
  }

  initialState(batch: number): State {
    return this.base.initialState(batch);
  }

  raggedState(batch: number): State {
    return this.base.raggedState(batch);
  }

  prefill(ids: Tensor, state: State): Read {
    return noGrad(() => scope(() => atOnce(this.stages(ids, state))));
  }

  step(ids: Tensor, state: State): Tensor {
    return noGrad(() => scope(() => atOnce(this.stages(ids, state)).logits));
  }

  stages(ids: Tensor, state: State): Stages<Read> {
    return this.under(this.base.stages(ids, state));
  }

  verifyStages(ids: Tensor, state: State, last: number): Stages<Read> {
    return this.under(this.base.verifyStages(ids, state, last));
  }

  hiddenStages(ids: Tensor, state: State): Stages<HiddenRead> {
    return this.under(this.base.hiddenStages(ids, state));
  }

  /** @internal `stages` of the model's layers alone, for ids [B, T]. */
  backboneStages(ids: Tensor, options: SequenceOptions): ReturnType<Backbone['stages']> {
    return this.under(this.base.model.stages(ids, options));
  }

  /** A conversation that goes through the adapter; `dispose` it when it is done. */
  createSession(options: SessionOptions = {}): Session {
    return new Session(this, options);
  }

  /** `embed` of the model, through the adapter. */
  embed(ids: TokenIds, options: EmbedOptions = {}): Promise<Float32Array> {
    return embed('embed', this, ids, options);
  }

  /** @internal */
  unload(): void {
    this.lora?.dispose();
    this.lora = null;
  }

  private under<R>(stages: Stages<R>): Stages<R> {
    return underAdapters([this.served], stages);
  }
}

/** Those of each model by name. */
const adapters = new WeakMap<CausalLM, Map<string, AdaptedModel>>();
/** How often some were loaded or unloaded. */
const changes = new WeakMap<CausalLM, number>();

/** Another number when the layers of the model have got or lost slots for adapters. */
export function adapterChanges(model: CausalLM): number {
  return changes.get(model) ?? 0;
}

function adaptersOf(model: CausalLM): Map<string, AdaptedModel> {
  const found = adapters.get(model) ?? new Map<string, AdaptedModel>();
  adapters.set(model, found);
  return found;
}

/** The names, in the order of loading. */
export function adapterNames(model: CausalLM): string[] {
  return [...adaptersOf(model).keys()];
}

/** The model with the adapter of a name. */
export function withAdapter(model: CausalLM, name: string): AdaptedModel {
  const found = adaptersOf(model).get(name);
  if (found) return found;
  const expected = `the name of an adapter (${adapterNames(model).join(', ') || 'none is loaded'})`;
  throw argumentError('INVALID_ARGUMENT', 'withAdapter', 'name', expected, describe(name));
}

/** Reads a folder of peft and gives it a name. */
export async function loadAdapter(model: CausalLM, name: string, dir: string): Promise<AdaptedModel> {
  const where = 'loadAdapter';
  checkString(where, 'name', name);
  checkString(where, 'dir', dir);
  const free = (): void => {
    if (name !== '' && !adaptersOf(model).has(name)) return;
    throw argumentError('INVALID_ARGUMENT', where, 'name', 'one that no other adapter has', describe(name));
  };
  free();
  const experts = [...model.namedModules()].flatMap(([path, module]) =>
    module instanceof Experts ? [`${path}.`] : [],
  );
  const lora = await readServedLora(model, dir, (path, layer) => {
    if (layer.adapter instanceof LoraAdapter) {
      const expected = 'without an adapter of its own; removeLora takes it out, or leaves it in the weights';
      throw argumentError('INVALID_ARGUMENT', where, path, expected, 'one with it');
    }
    // What is computed with such a layer is not one row for each text.
    if (!layer.mayQuantize || experts.some((prefix) => path.startsWith(prefix))) {
      throw new FastWeightsError('UNSUPPORTED', `${where}: ${path} cannot be adapted text by text`, { argument: path });
    }
  });
  try {
    free();
  } catch (error) {
    lora.dispose();
    throw error;
  }
  const layers = new Map(model.namedModules());
  for (const path of lora.layers.keys()) (layers.get(path) as Linear).adapter ??= new AdapterSlot(path);
  const adapted = new AdaptedModel(model, name, lora);
  adaptersOf(model).set(name, adapted);
  changes.set(model, adapterChanges(model) + 1);
  return adapted;
}

/** Frees an adapter, and the slots that no other one has a use for. */
export function unloadAdapter(model: CausalLM, name: string): void {
  withAdapter(model, name).unload();
  const left = adaptersOf(model);
  left.delete(name);
  changes.set(model, adapterChanges(model) + 1);
  for (const [path, module] of model.namedModules()) {
    const layer = module as Linear;
    if (!(layer.adapter instanceof AdapterSlot)) continue;
    if (![...left.values()].some(({ served }) => served.layers.has(path))) layer.adapter = null;
  }
}

/** One token of each of several texts, each with its own adapter or none. */
export function mixedStages(
  model: CausalLM,
  ids: Tensor,
  state: State,
  models: readonly RecurrentModel[],
): Stages<Read> {
  const loras = models.map((each) => (each instanceof AdaptedModel ? each.served : null));
  return underAdapters(loras, model.stages(ids, state));
}
