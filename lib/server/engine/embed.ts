// Texts as vectors: the mean of the hidden vectors of their tokens, under the head.
import { noGrad } from '../../autograd';
import { FastWeightsError, scope } from '../../core';
import type { State } from '../../inference';
import { disposeState, persistState } from '../../inference';
import type { CausalLM } from '../../models';
import { tensor } from '../../ops';
import type { Pace } from '../../platform';

/** Tokens that are read at once. */
const SLICE = 512;

/** The mean over all tokens [hiddenSize]; other work gets its turn between slices. */
export async function embed(
  model: CausalLM,
  ids: readonly number[],
  pace: Pace,
  signal: AbortSignal,
): Promise<Float32Array> {
  const sum = new Float64Array(model.config.hiddenSize);
  let state: State = null;
  try {
    for (let at = 0; at < ids.length; at += SLICE) {
      await pace.rest();
      if (signal.aborted) throw new FastWeightsError('ABORTED', 'embed: aborted', { cause: signal.reason });
      const slice = ids.slice(at, at + SLICE);
      const before: State = state;
      const [total, after] = noGrad(() =>
        scope(() => {
          const input = tensor(slice, { shape: [1, slice.length], dtype: 'int32', device: model.device });
          const read = model.model.forward(input, { state: before, outputState: true });
          return [read.output.sum(1).persist(), persistState(read.state ?? null)] as const;
        }),
      );
      state = after;
      disposeState(before);
      const values = await total.data();
      total.dispose();
      for (let i = 0; i < sum.length; i++) sum[i] += Number(values[i]);
    }
  } finally {
    disposeState(state);
  }
  return Float32Array.from(sum, (value) => value / ids.length);
}
