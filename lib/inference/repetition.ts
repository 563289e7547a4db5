// Single tokens read by making the calls of an earlier one again. A step of a model makes the same calls for every token so long
// as the tensors of its state stay where they are and its numbers do not change: then only the ids are others.
import { noGrad } from '../autograd';
import { getBackend, type Recording } from '../backends';
import { scope, type Tensor } from '../core';
import type { KeptSettings } from '../ops';
import { stepStages } from './batching/step';
import { idsOf } from './ids';
import type { RecurrentModel } from './model';
import { advance, type Form, formOf, isSameForm, isSameList, type State } from './state';
import { atOnce } from './turns';

/** Tokens whose state stayed in place, before a step is recorded. */
const STEADY = 2;

/** So many texts that are read alone keep a step: those that recorded last, in all models of the thread. */
const KEPT_TEXTS = 16;
let kept: WeakRef<Repetition>[] = [];

/** What can be made again. */
interface Made {
  readonly recording: Recording;
  readonly ids: Tensor;
  readonly logits: Tensor;
}

/** What the calls of a step depend on. */
interface Circumstances {
  readonly form: Form;
  readonly texts: number;
  /** Of the settings. */
  readonly key: string;
  readonly revision: number | undefined;
  readonly models: readonly RecurrentModel[];
}

/** What a caller of `read` knows beyond that. */
export interface ReadOptions {
  /** Those of the texts, where some are not the model itself. */
  models?: readonly RecurrentModel[];
  /** Whether nobody but the last `read` has changed the state, or put a tensor in the place of another, since it began. */
  untouched?: boolean;
}

/** A step in circumstances that were met, how often before the last time, and whether it was recorded in vain. */
interface Step extends Circumstances {
  met: number;
  made: Made | null;
  refused: boolean;
}

/** The single tokens of one session, or of the texts of a batch. */
export class Repetition {
  /** The one that was met last comes first. */
  private steps: Step[] = [];
  /** What the last read has made again, on which state. */
  private last: { state: State; step: Step; form: Form } | null = null;

  constructor(
    private readonly model: RecurrentModel,
    /** Steps that are kept, in different circumstances. */
    private readonly most = 1,
    private readonly recorded: (by: Repetition) => void = () => {},
  ) {}

  /** Of a session, which may come to read nothing for long. */
  static ofText(model: RecurrentModel): Repetition {
    return new Repetition(model, 1, keepFew);
  }

  /** Whether a step was recorded that changes this state where it lies. */
  knows(state: State): boolean {
    const made = this.steps.filter((step) => step.made?.recording.holds);
    if (made.length === 0) return false;
    const { storages } = formOf(state);
    return made.some(({ form }) => isSameList(form.storages, storages));
  }

  /**
   * Reads ids [B], one token each, into a state that changes in place: the logits [B, vocabulary], which are the caller's; null
   * where the model is to be asked as always.
   */
  read(state: State, ids: Int32Array, settings: KeptSettings, options: ReadOptions = {}): Tensor | null {
    const { model, last } = this;
    const { models = [], untouched = false } = options;
    this.last = null;
    if (!getBackend(model.device).record || !model.repeatsSteps) {
      this.dispose();
      return null;
    }
    const about = { texts: ids.length, key: settings.key, revision: model.revision, models };
    const same = untouched && last?.state === state && isAbout(last.step, about) ? last : null;
    const form = same?.form ?? formOf(state);
    const step = same?.step.made?.recording.holds ? same.step : this.find({ form, ...about });
    if (step.made) {
      const logits = this.again(step.made, form, ids);
      this.last = { state, step, form };
      return logits;
    }
    if (step.refused || ++step.met <= STEADY) return null;
    return settings(() => this.record(step, state, ids));
  }

  private find(now: Circumstances): Step {
    const at = this.steps.findIndex((step) => isAlike(step, now));
    const [step = { ...now, met: 0, made: null, refused: false }] = at < 0 ? [] : this.steps.splice(at, 1);
    if (at < 0) this.forget(this.most - 1);
    else if (step.made?.recording.holds === false) unmake(step);
    this.steps.unshift(step);
    return step;
  }

  /** Leaves so many steps at the most, and none that uses what is gone. */
  private forget(most: number): void {
    const gone = ({ made }: Step, at: number): boolean => at >= most || made?.recording.holds === false;
    this.steps.filter(gone).forEach(unmake);
    this.steps = this.steps.filter((step, at) => !gone(step, at));
  }

  private again({ recording, ids: given, logits }: Made, { storages, counters }: Form, ids: Int32Array): Tensor {
    const { storage } = given;
    storage.memory.write(storage.handle, 0, ids);
    recording.again();
    for (const written of storages) written.version++;
    for (const counter of counters) advance(counter);
    return noGrad(() => logits.clone());
  }

  private record(step: Step, state: State, ids: Int32Array): Tensor {
    const { model } = this;
    const given = idsOf(model, ids, [ids.length]).persist();
    try {
      const run = (): Tensor => noGrad(() => scope(() => atOnce(stepStages(model, given, state, step.models))));
      const { value: logits, recording } = getBackend(model.device).record!(run);
      // What has come to lie elsewhere, or to be another number, is not where the same calls would look for it.
      if (recording && isSameForm(step.form, formOf(state))) {
        step.made = { recording, ids: given, logits: logits.persist() };
        this.recorded(this);
        return noGrad(() => logits.clone());
      }
      recording?.dispose();
      step.refused = true;
      return logits;
    } finally {
      if (!step.made) given.dispose();
    }
  }

  /** Gives the memory of recorded steps back. */
  dispose(): void {
    this.last = null;
    this.forget(0);
  }
}

/** But for the form of the state. */
function isAbout(a: Omit<Circumstances, 'form'>, b: Omit<Circumstances, 'form'>): boolean {
  const alike = a.texts === b.texts && a.key === b.key && a.revision === b.revision;
  return alike && isSameList(a.models, b.models);
}

function isAlike(a: Circumstances, b: Circumstances): boolean {
  return isAbout(a, b) && isSameForm(a.form, b.form);
}

/** Another text gives back what that one recorded which did so the longest ago. */
function keepFew(by: Repetition): void {
  kept = kept.filter((each) => each.deref() !== undefined && each.deref() !== by);
  kept.push(new WeakRef(by));
  if (kept.length > KEPT_TEXTS) kept.shift()!.deref()?.dispose();
}

function unmake(step: Step): void {
  const { made } = step;
  if (!made) return;
  made.recording.dispose();
  made.ids.dispose();
  made.logits.dispose();
  [step.made, step.met] = [null, 0];
}
