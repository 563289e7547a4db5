// One token of several texts.
import type { Tensor } from '../../core';
import { cat } from '../../ops';
import type { RecurrentModel } from '../model';
import { isRows } from '../ragged';
import type { State } from '../state';
import type { Stages } from '../turns';

/** The logits [B, vocabulary] after ids [B] of texts of these models, of which `model` is the one without adapters; the state, of texts that may differ in length, changes in place. */
export function* stepStages(
  model: RecurrentModel,
  ids: Tensor,
  state: State,
  models: readonly RecurrentModel[],
): Stages<Tensor> {
  if (models.some((each) => each !== model)) return (yield* model.mixedStages!(ids, state, models)).logits;

  if (isRows(state) && !model.raggedState) {
    // The model knows nothing of such states.
    const logits: Tensor[] = [];
    for (const [i, row] of state.rows.entries()) {
      logits.push(model.step(ids.slice(0, i, i + 1), row));
      yield logits;
    }
    return cat(logits);
  }
  if (!model.stages) return model.step(ids, state);
  const read = yield* model.stages(ids, state);
  return read.logits;
}
