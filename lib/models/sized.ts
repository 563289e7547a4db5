// Sizes of a model of about so many parameters, for comparisons: as wide as others of that many, as deep as it then must be.
import { checkChoice, checkInteger, FastWeightsError } from '../core';
import { withBlankWeights } from '../nn';
import { Decoder } from './common/block';
import { Recurrent } from './common/mixer';
import { findModel } from './common/registry';
import { createModel } from './create';
import { modelFamilies, type ModelName } from './families';

/** What `sizesFor` finds: sizes for `createModel`, and how many parameters the model has with them. */
export interface FoundSizes {
  /** Width, `numHeads` times a multiple of 8. */
  hiddenSize: number;
  /** Blocks. */
  numLayers: number;
  /** Heads of a layer, in families that have any. */
  numHeads: number;
  /** Where the family has a feed-forward and its usual width is too far off. */
  intermediateSize?: number;
  /** What `parameterCount` of the model says; no size, so left out of what `createModel` is given. */
  parameters: number;
}

type Sizes = Omit<FoundSizes, 'parameters'>;

/** Width over depth, and width of a head, of published models of this size. */
const USUAL = 64;
/** Widths of heads are multiples of it, as kernels like them. */
const STEP = 8;
/** Of the feed-forward in families that refuse others. */
const COARSE = 32;
/** A share of the parameters that is not worth a further search. */
const NEAR = 0.01;

/**
 * Width and depth of a Transformer of 12 D^2 parameters per layer, D about 64 times its depth and that `least` or more, two
 * tables of tokens beside it.
 */
function usualShape(parameters: number, vocabSize: number, least: number): { width: number; depth: number } {
  const widthAt = (depth: number): number =>
    (Math.sqrt(vocabSize ** 2 + 12 * depth * parameters) - vocabSize) / (12 * depth);
  let depth = least;
  const miss = (L: number): number => Math.abs(Math.log(widthAt(L) / (USUAL * L)));
  while (miss(depth + 1) < miss(depth)) depth++;
  return { width: widthAt(depth), depth };
}

/** Layers of a default model that is small: hybrids have each of their kinds in so many. */
const SEVERAL = 4;

/**
 * The kinds of parts that carry a state, in a model of so many layers; undefined where the family refuses that number. The
 * decoder's own list tells of layers that hold no weights themselves.
 */
function kindsOf(name: ModelName, numLayers: number): Set<unknown> | undefined {
  try {
    using model = withBlankWeights(() =>
      createModel(name, { hiddenSize: USUAL, numHeads: 1, numLayers, vocabSize: 2, device: 'js' }),
    );
    const layers = model.model instanceof Decoder ? model.model.layers : [];
    const parts = [...model.namedModules()].map(([, part]) => part).filter((part) => part instanceof Recurrent);
    parts.push(...layers);
    return new Set(parts.map((part) => part.constructor));
  } catch (error) {
    if (error instanceof FastWeightsError && error.code !== 'OUT_OF_MEMORY') return undefined;
    throw error;
  }
}

/** The fewest layers that have every kind which several have: in hybrids fast weights, and attention beside them. */
function fewestLayers(name: ModelName): number {
  const all = kindsOf(name, SEVERAL)?.size ?? 0;
  let layers = 1;
  while (layers < SEVERAL && (kindsOf(name, layers)?.size ?? 0) < all) layers++;
  return layers;
}

/**
 * Widths around `width` that heads of a multiple of STEP make, each with the heads nearest to the usual width; further down than
 * up, where a feed-forward of a multiple of 256 takes more than its share.
 */
function widthsAround(width: number): { hiddenSize: number; numHeads: number }[] {
  const found = new Map<number, number>();
  const most = Math.ceil((2 * width) / USUAL) + 1;
  for (let heads = 1; heads <= most; heads++) {
    for (let head = STEP; head <= 2 * USUAL; head += STEP) {
      const total = heads * head;
      if (total < width / 4 || total > 2 * width) continue;
      const before = found.get(total);
      const off = (n: number): number => Math.abs(Math.log(total / n / USUAL));
      if (before === undefined || off(heads) < off(before)) found.set(total, heads);
    }
  }
  return [...found]
    .map(([hiddenSize, numHeads]) => ({ hiddenSize, numHeads }))
    .sort((a, b) => a.hiddenSize - b.hiddenSize);
}

/**
 * Width, layers, heads and where need be the feed-forward of a model of a family that has about so many parameters: the
 * width is about that of a Transformer of as many, the depth what it then takes, enough for a layer of every kind that the family
 * has, and the rest is evened out by the feed-forward or the width. What a family refuses is passed over; UNSUPPORTED where nothing is left. How near it comes
 * stands in the result.
 */
export function sizesFor(name: ModelName, parameters: number, vocabSize: number): FoundSizes {
  const where = 'sizesFor';
  const names = modelFamilies.map((family) => family.name);
  const family = checkChoice(where, 'name', findModel(name)?.name ?? name, names);
  checkInteger(where, 'parameters', parameters, 1);
  checkInteger(where, 'vocabSize', vocabSize, 1);
  const search = new Search(family, parameters, vocabSize);
  const least = fewestLayers(family);
  const { width, depth } = usualShape(parameters, vocabSize, least);
  const numHeads = Math.max(1, Math.round(width / USUAL));
  const unit = STEP * numHeads;
  const shape = { hiddenSize: unit * Math.max(1, Math.round(width / unit)), numHeads };
  const numLayers = Math.max(least, search.depthOf(shape, depth));
  search.evenOut({ ...shape, numLayers });
  for (const layers of [numLayers, numLayers + 1, numLayers - 1]) {
    if (!search.isNear && layers >= least) search.fitWidth(widthsAround(width), layers);
  }
  if (!search.isNear && search.best) {
    const { parameters: _, ...sizes } = search.best;
    search.evenOut(sizes);
  }
  if (search.best) return search.best;
  const message = `${where}: ${family} has no sizes of about ${parameters} parameters`;
  throw new FastWeightsError('UNSUPPORTED', message, { argument: 'parameters', found: String(parameters) });
}

/** Tries sizes and keeps the nearest. */
class Search {
  best: FoundSizes | undefined;

  constructor(
    private readonly name: ModelName,
    private readonly wanted: number,
    private readonly vocabSize: number,
  ) {}

  get isNear(): boolean {
    return this.best !== undefined && this.off(this.best) <= NEAR;
  }

  /** How many layers of a shape there must be, reckoned from those of two depths. */
  depthOf(shape: Omit<Sizes, 'numLayers'>, depth: number): number {
    const [shallow, deep] = [depth, 2 * depth].map((numLayers) => this.count({ ...shape, numLayers }));
    if (shallow === undefined || deep === undefined || deep <= shallow) return depth;
    return Math.max(1, Math.round(depth + ((this.wanted - shallow) * depth) / (deep - shallow)));
  }

  /** Lets the feed-forward, if there is one, take what is over or missing. */
  evenOut(sizes: Sizes): void {
    const usual = this.try(sizes);
    if (usual === undefined || this.isNear) return;
    const width = 64 * Math.ceil(sizes.hiddenSize / 24);
    for (const step of [STEP, COARSE]) {
      const wider = this.try({ ...sizes, intermediateSize: width + step });
      if (wider === undefined || wider <= usual) continue;
      const intermediateSize = width + step * Math.round((this.wanted - usual) / (wider - usual));
      if (intermediateSize >= width / 2) this.try({ ...sizes, intermediateSize });
      return;
    }
  }

  /** Halves the widths that are left until none is. */
  fitWidth(widths: readonly Omit<Sizes, 'numLayers'>[], numLayers: number): void {
    let [low, high] = [0, widths.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.try({ ...widths[middle], numLayers });
      if (found !== undefined && found > this.wanted) high = middle - 1;
      else low = middle + 1;
    }
  }

  private off({ parameters }: Pick<FoundSizes, 'parameters'>): number {
    return Math.abs(parameters / this.wanted - 1);
  }

  private try(sizes: Sizes): number | undefined {
    const parameters = this.count(sizes);
    if (parameters === undefined) return undefined;
    if (!this.best || this.off({ parameters }) < this.off(this.best)) this.best = { ...sizes, parameters };
    return parameters;
  }

  /** Undefined where the family refuses such sizes. */
  private count(sizes: Sizes): number | undefined {
    const { name, vocabSize } = this;
    try {
      using model = withBlankWeights(() => createModel(name, { ...sizes, vocabSize, device: 'js' }));
      return model.parameterCount;
    } catch (error) {
      if (error instanceof FastWeightsError && error.code !== 'OUT_OF_MEMORY') return undefined;
      throw error;
    }
  }
}
