// Quantising the projections of a model, for inference.
import { argumentError, bytesPerElement, checkChoice, FastWeightsError, type Tensor } from '../core';
import { getBackend, WEIGHT_FORMATS, type WeightFormat } from '../backends';
import { packing } from '../ops';
import { Linear } from './layers';
import { checkModule, type Module } from './module';
import { QuantizedWeight } from './quantized';

/** What is freed beyond it goes back to the system: kept, it would serve weights of half the size. */
const KEPT_BYTES = 2 ** 21;

/**
 * @internal Quantises the projections of a model one by one. `tensors` are their weights; `pack` replaces one of them
 * wherever it is a projection's, and frees it unless something else of the model holds it, as an embedding does whose
 * matrix is the head's, too.
 */
export class Quantizer {
  private readonly layers = new Map<Tensor, { name: string; layer: Linear }[]>();
  private readonly held: ReadonlySet<Tensor>;
  /** Bytes that were freed and not given back yet. */
  private freed = 0;

  constructor(
    private readonly where: string,
    private readonly model: Module,
    private readonly format: WeightFormat,
  ) {
    checkModule(where, 'model', model);
    checkChoice(where, 'weights', format, WEIGHT_FORMATS);
    for (const [name, layer] of model.namedModules()) {
      if (!(layer instanceof Linear) || !layer.mayQuantize) continue;
      const { weight } = layer;
      if (weight.dtype !== 'float32') {
        throw argumentError('DTYPE', where, name ? `${name}.weight` : 'weight', 'float32', weight.dtype);
      }
      this.layers.set(weight, [...(this.layers.get(weight) ?? []), { name, layer }]);
    }
    const places = model.namedParameters({ removeDuplicate: false });
    const projections = new Set(
      [...this.layers.values()].flat().map(({ name }) => (name ? `${name}.weight` : 'weight')),
    );
    this.held = new Set(places.filter(([name]) => !projections.has(name)).map(([, t]) => t));
  }

  /** The weights that are still to be packed. */
  get tensors(): Tensor[] {
    return [...this.layers.keys()];
  }

  /** Yields between panels. */
  *pack(weight: Tensor): Generator<void, void> {
    const layers = this.layers.get(weight);
    if (!layers) return;
    const [{ name }] = layers;
    const argument = name ? `${name}.weight` : 'weight';
    const packed = new QuantizedWeight(yield* packing(this.where, weight, this.format, argument));
    for (const { layer } of layers) layer.quantize(packed);
    this.layers.delete(weight);
    if (this.held.has(weight)) return;
    const { device } = weight;
    this.freed += weight.size * bytesPerElement(weight.dtype);
    weight.dispose();
    if (this.freed < KEPT_BYTES) return;
    getBackend(device).trimMemory();
    this.freed = 0;
  }

  /** Call it at the end: nothing of the model is trained any more. */
  finish(): void {
    for (const t of this.model.parameters()) t.requiresGrad = false;
  }
}

/** @internal Quantises all projections of a model at once. */
export function quantizeModel(where: string, model: Module, format: WeightFormat): void {
  refuseQuantized(where, model);
  const quantizer = new Quantizer(where, model, format);
  for (const weight of quantizer.tensors) for (const _ of quantizer.pack(weight));
  quantizer.finish();
}

function refuseQuantized(where: string, model: Module): void {
  checkModule(where, 'model', model);
  for (const [name, layer] of model.namedModules()) {
    if (!(layer instanceof Linear) || !layer.quantized) continue;
    const message = `${where}: ${name} is in ${layer.quantized.format} already; quantise the model as it was loaded`;
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'model', expected: 'float32', found: 'quantised' });
  }
}
