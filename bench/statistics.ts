// Medians and quartiles.

/** The value below which a share `p` of the sorted numbers lies, interpolated. */
export function quantile(sorted: readonly number[], p: number): number {
  const at = p * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}

export interface Summary {
  median: number;
  /** The middle half of the samples lies between them. */
  quartiles: [number, number];
  samples: number;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    quartiles: [quantile(sorted, 0.25), quantile(sorted, 0.75)],
    samples: sorted.length,
  };
}

export function median(values: readonly number[]): number {
  return summarize(values).median;
}
