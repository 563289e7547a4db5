// A model written by hand whose state is a number: it says how many tokens there were.
import * as fw from '../../../lib';

const VOCABULARY = 17;

type Count = { position: number };

/** Its step throws at texts of `failsAt` tokens and more. */
export function stepByHand(): fw.RecurrentModel & { failsAt: number } {
  const logits = (count: number): fw.Tensor => {
    if (count >= model.failsAt) throw new fw.FastWeightsError('UNSUPPORTED', 'too long a text');
    return fw.tensor(
      Float32Array.from({ length: VOCABULARY }, (_, i) => Number(i === count % VOCABULARY)),
      {
        shape: [1, VOCABULARY],
        device: 'js',
      },
    );
  };
  const model = {
    vocabSize: VOCABULARY,
    device: 'js' as const,
    stopTokens: [],
    failsAt: Infinity,
    initialState: (): fw.State => ({ position: 0 }),
    prefill: (ids: fw.Tensor, state: fw.State) => {
      const position = (state as Count).position + ids.shape[1];
      return { logits: logits(position), state: { position } };
    },
    step: (_: fw.Tensor, state: fw.State) => logits(++(state as Count).position),
  };
  return model;
}
