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
      if (!(layer instanceof Linear) || !layer.mayQuantize || layer.quantized) continue;
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

/** Models in which an error came after some projections had been packed, and the format of these. */
const unfinished = new WeakMap<Module, WeightFormat>();

/** @internal Quantises all projections of a model at once, or those that an error left. */
export function quantizeModel(where: string, model: Module, format: WeightFormat): void {
  checkModule(where, 'model', model);
  if (unfinished.get(model) !== format) refuseQuantized(where, model);
  const quantizer = new Quantizer(where, model, format);
  const { tensors } = quantizer;
  try {
    for (const weight of tensors) for (const _ of quantizer.pack(weight));
  } catch (error) {
    const left = quantizer.tensors.length;
    if (left < tensors.length) unfinished.set(model, format);
    throw unfinished.has(model) ? partly(error, format, left) : error;
  }
  unfinished.delete(model);
  quantizer.finish();
}

/** Says what an error has left of a model. */
function partly(error: unknown, format: WeightFormat, left: number): unknown {
  if (!(error instanceof FastWeightsError)) return error;
  const { code, argument, expected, found } = error;
  const message =
    `${error.message}; the model computes with ${left} weights of projections as they were and with the others in ${format}: ` +
    `quantise to ${format} again for the rest, or load it anew`;
  return new FastWeightsError(code, message, { argument, expected, found, cause: error });
}

function refuseQuantized(where: string, model: Module): void {
  for (const [name, layer] of model.namedModules()) {
    if (!(layer instanceof Linear) || !layer.quantized) continue;
    const message = `${where}: ${name} is in ${layer.quantized.format} already; quantise the model as it was loaded`;
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'model', expected: 'float32', found: 'quantised' });
  }
}
