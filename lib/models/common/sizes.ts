// The sizes that `createModel` takes, and which of them a family has.
import { argumentError } from '../../core';

/** The sizes that `createModel` takes, whatever a family's configuration calls them. */
export interface ModelSizes {
  /** Ids that the model knows, from 0 on; the only size without a default. */
  vocabSize: number;
  /** 256 by default. */
  hiddenSize?: number;
  /** 4 by default. */
  numLayers?: number;
  /** In families whose layers have heads: a divisor of the hidden size; 4 by default. */
  numHeads?: number;
  /** In families that have one: width of the feed-forward; 8/3 of the hidden size, rounded up to a multiple of 64, by default. */
  intermediateSize?: number;
}

/** The sizes of a new model with their defaults. */
export type FilledSizes = Required<Omit<ModelSizes, 'intermediateSize'>> & {
  /** As it was asked for. */
  intermediateSize?: number;
  /** Of a gated feed-forward: what was asked for, or the default. */
  feedForward: number;
  headDim: number;
};

/** The name of a size that `createModel` takes. */
export type SizeName = keyof ModelSizes;

type GivenSizes = Omit<FilledSizes, 'feedForward' | 'headDim'>;

/** The part of a family's definition that sizes are about. */
interface Sized {
  keys: object;
  configuration?(sizes: FilledSizes): object;
}

/** What a family takes of the sizes that says nothing of them: the keys of these names. */
function usualConfiguration({ keys }: Sized, sizes: FilledSizes): object {
  return {
    ...('numHeads' in keys && { numHeads: sizes.numHeads }),
    ...('intermediateSize' in keys && { intermediateSize: sizes.feedForward }),
  };
}

/**
 * What a family makes of sizes, and which ones it has: every model is as wide and as deep as is asked for, the others count
 * where the family reads them. What it does not read is not checked.
 */
export function configureSizes(definition: Sized, given: GivenSizes): { config: object; taken: SizeName[] } {
  const { vocabSize, hiddenSize, numLayers, numHeads, intermediateSize } = given;
  const taken = new Set<SizeName>(['vocabSize', 'hiddenSize', 'numLayers']);
  const headsOf = (): number => {
    taken.add('numHeads');
    if (hiddenSize % numHeads === 0) return numHeads;
    throw argumentError('INVALID_ARGUMENT', 'createModel', 'numHeads', `a divisor of ${hiddenSize}`, String(numHeads));
  };
  const sizes: FilledSizes = {
    vocabSize,
    hiddenSize,
    numLayers,
    get numHeads() {
      return headsOf();
    },
    get headDim() {
      return hiddenSize / headsOf();
    },
    get intermediateSize() {
      taken.add('intermediateSize');
      return intermediateSize;
    },
    get feedForward() {
      taken.add('intermediateSize');
      return intermediateSize ?? 64 * Math.ceil(hiddenSize / 24);
    },
  };
  const config = definition.configuration?.(sizes) ?? usualConfiguration(definition, sizes);
  return { config, taken: [...taken] };
}
