// A model with a state of any size that adds up its ids: every number of the state and every logit is their sum.
import * as fw from '../../lib';

export function bigState(device: fw.Device, size: number): fw.RecurrentModel {
  const vocabSize = 8;
  const logits = (sums: fw.Tensor, batch: number): fw.Tensor =>
    sums.slice(1, 0, vocabSize).reshape([batch, vocabSize]).clone();
  const sumOf = (ids: fw.Tensor, batch: number): fw.Tensor =>
    ids.to('float32').reshape([batch, -1]).sum(1).reshape([batch, 1]);
  return {
    vocabSize,
    device,
    stopTokens: [],
    initialState: (batch) => ({ sums: fw.zeros([batch, size], { device }) }),
    prefill: (ids, state) => {
      const { sums } = state as { sums: fw.Tensor };
      const [batch] = ids.shape;
      const after = sums.add(sumOf(ids, batch).expand([batch, size]));
      return { logits: logits(after, batch), state: { sums: after } };
    },
    step: (ids, state) => {
      const { sums } = state as { sums: fw.Tensor };
      const [batch] = ids.shape;
      sums.add_(sumOf(ids, batch).expand([batch, size]));
      return logits(sums, batch);
    },
  };
}
