// Single tokens read by making the calls of an earlier one again. A step of a model makes the same calls for every token so long
// as the tensors of its state stay where they are and its numbers do not change: then only the id is another.
import { noGrad } from '../autograd';
import { getBackend, type Recording } from '../backends';
import { scope, type Tensor } from '../core';
import type { KeptSettings } from '../ops';
import type { RecurrentModel } from './model';
import { idsOf } from './ids';
import { countToken, type Form, formOf, isSameForm, type State } from './state';

/** Tokens whose state stayed in place, before a step is recorded. */
const STEADY = 2;

/** A step that can be made again. */
interface Step {
  readonly recording: Recording;
  readonly ids: Tensor;
  readonly logits: Tensor;
}

/** The single tokens of one generation. */
export class Repetition {
  private form: Form | null = null;
  private steady = 0;
  private step: Step | null = null;
  /** Whether a step was recorded in vain. */
  private refused = false;

  constructor(
    private readonly model: RecurrentModel,
    private readonly settings: KeptSettings,
  ) {}

  /**
   * Reads ids [B], one token each, into a state that changes in place: the logits [B, vocabulary], which are the caller's; null
   * where the model is to be asked as always.
   */
  read(state: State, ids: Int32Array): Tensor | null {
    const { model } = this;
    const backend = getBackend(model.device);
    if (this.refused || !backend.record || !model.repeatsSteps) return this.leave();
    const form = formOf(state);
    const same = this.form !== null && isSameForm(this.form, form);
    this.form = form;
    if (same && this.step?.recording.holds) return this.again(ids);
    this.dispose();
    this.steady = same ? this.steady + 1 : 0;
    return this.steady < STEADY ? null : this.settings(() => this.record(state, ids));
  }

  private leave(): null {
    this.dispose();
    return null;
  }

  private again(ids: Int32Array): Tensor {
    const { recording, ids: given, logits } = this.step!;
    const { storage } = given;
    storage.memory.write(storage.handle, 0, ids);
    recording.again();
    for (const written of this.form!.storages) written.version++;
    for (const counter of this.form!.counters) countToken(counter, false);
    return noGrad(() => logits.clone());
  }

  private record(state: State, ids: Int32Array): Tensor {
    const { model } = this;
    const given = idsOf(model, ids, [ids.length]).persist();
    try {
      const step = (): Tensor => noGrad(() => scope(() => model.step(given, state)));
      const { value: logits, recording } = getBackend(model.device).record!(step);
      if (recording) {
        this.step = { recording, ids: given, logits: logits.persist() };
        return noGrad(() => logits.clone());
      }
      this.refused = true;
      return logits;
    } finally {
      if (!this.step) given.dispose();
    }
  }

  /** Gives the memory of a recorded step back. */
  dispose(): void {
    this.step?.recording.dispose();
    this.step?.ids.dispose();
    this.step?.logits.dispose();
    this.step = null;
  }
}
