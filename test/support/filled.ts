// Weights that other programs can be given, too, without a file: numbers by a formula.
import * as fw from '../../lib';

/**
 * Fills the k-th parameter by name with sin(1.7 i + k) / 2 at place i, and 1 more in the weights of norms; rounded to float32, so
 * that other dtypes have the same numbers.
 */
export function filled<T extends fw.models.CausalLM>(model: T): T {
  const parameters = [...model.namedParameters()].sort(([a], [b]) => (a < b ? -1 : 1));
  fw.noGrad(() =>
    parameters.forEach(([name, p], k) => {
      const added = name.includes('norm') && name.endsWith('weight') ? 1 : 0;
      const data = Float64Array.from({ length: p.size }, (_, i) => Math.fround(Math.sin(1.7 * i + k) / 2 + added));
      p.copy_(fw.tensor(data, { shape: [...p.shape], dtype: p.dtype as 'float32', device: p.device }));
    }),
  );
  return model;
}

/** Ids below 5. */
export const IDS: readonly number[] = Array.from({ length: 24 }, (_, t) => (t * t * 7 + 3 * t) % 5);

/** The logits after the first so many of `IDS`. */
export function logitsAfter(model: fw.models.CausalLM, tokens: number): number[] {
  const ids = fw.tensor([IDS.slice(0, tokens)], { dtype: 'int32', device: model.device });
  return Array.from(fw.noGrad(() => model.forward(ids).logits.slice(1, -1).dataSync()));
}
