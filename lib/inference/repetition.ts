// Tokens read by making the calls of earlier ones again. A model makes the same calls for every token, or for every so many of them,
// so long as the tensors of its state stay where they are and its numbers do not change: then only the ids are others.
import { noGrad } from '../autograd';
import { getBackend, type Recording } from '../backends';
import { scope, type Tensor } from '../core';
import type { KeptSettings } from '../ops';
import { stepStages } from './batching/step';
import { idsOf } from './ids';
import type { Read, RecurrentModel } from './model';
import { Parts } from './parts';
import {
  advance,
  assignState,
  cloneState,
  type Counter,
  disposeState,
  type Form,
  formOf,
  isSameForm,
  isSameList,
  persistState,
  type State,
  tensorsOf,
} from './state';
import { atOnce } from './turns';

/** How often the circumstances were met before calls are recorded: those of a token, and those of several. */
const [STEADY, STEADY_GUESSES] = [2, 1];

/** Of one text: a token, and guesses of several numbers. */
const KEPT_STEPS = 16;

/** So many texts that are read alone keep theirs: those that recorded last, in all models of the thread. */
const KEPT_TEXTS = 16;
let kept: WeakRef<Repetition>[] = [];

/** What can be made again. */
interface Made {
  readonly recording: Recording;
  readonly ids: Tensor;
  readonly logits: Tensor;
  /** What follows on a state that stays as it is; null where it changes in place. */
  readonly after: { readonly state: State; readonly counters: readonly Counter[] } | null;
}

/** What the calls depend on. */
interface Circumstances {
  readonly form: Form;
  readonly tokens: number;
  /** Whether they are those of one text, not one of each. */
  readonly several: boolean;
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

/** Calls in circumstances that were met, how often before the last time, and whether they were recorded in vain. */
interface Step extends Circumstances {
  met: number;
  made: Made | null;
  refused: boolean;
}

/** The tokens of one session, or of the texts of a batch. */
export class Repetition {
  /** The one that was met last comes first. */
  private steps: Step[] = [];
  /** What the last `read` has made again, on which state. */
  private last: { state: State; step: Step; form: Form } | null = null;
  /** Of the model, when the first of the steps was recorded. */
  private parts: Parts | null = null;

  constructor(
    private readonly model: RecurrentModel,
    /** Steps that are kept, in different circumstances. */
    private readonly most: number,
    private readonly recorded: (by: Repetition) => void = () => {},
  ) {}

  /** Of a session, which may come to read nothing for long. */
  static ofText(model: RecurrentModel): Repetition {
    return new Repetition(model, KEPT_STEPS, keepFew);
  }

  /** Before a call of the session's: the model may have other parts than those that recorded calls take. */
  look(): void {
    if (this.parts?.stand === false) this.dispose();
  }

  /**
   * Reads ids [B], one token each, into a state that changes in place: the logits [B, vocabulary], which are the caller's; null
   * where the model is to be asked as always.
   */
  read(state: State, ids: Int32Array, settings: KeptSettings, options: ReadOptions = {}): Tensor | null {
    const { last } = this;
    const { models = [], untouched = false } = options;
    const about = this.about(ids, false, settings, models);
    if (!about) return null;
    const same = untouched && last?.state === state && isAbout(last.step, about) ? last : null;
    const form = same?.form ?? formOf(state);
    const step = same?.step.made?.recording.holds ? same.step : this.find({ form, ...about });
    if (!step.made) return this.isDue(step, STEADY) ? settings(() => this.record(step, state, ids, 0)).logits : null;
    const logits = this.again(step.made, ids, 0);
    for (const written of form.storages) written.version++;
    for (const counter of form.counters) advance(counter);
    this.last = { state, step, form };
    return logits;
  }

  /** The same of `verifyStages`: ids [1, T] of one text, logits [1, last, vocabulary] and a new state. */
  verify(state: State, ids: Int32Array, last: number, settings: KeptSettings): Read | null {
    const about = this.about(ids, true, settings, []);
    if (!about) return null;
    const form = formOf(state);
    const step = this.find({ form, ...about });
    if (!step.made)
      return this.isDue(step, STEADY_GUESSES) ? settings(() => this.record(step, state, ids, last)) : null;
    const logits = this.again(step.made, ids, last);
    const after = step.made.after!;
    after.counters.forEach((counter, i) => (counter.position = form.counters[i].position));
    for (const counter of after.counters) advance(counter, ids.length);
    return { logits, state: cloneState(after.state) };
  }

  /**
   * Puts the values of another state into the one that was read, which stays where recorded calls look for it; false where nothing
   * is to be gained by it, where someone else holds its memory, or the forms differ.
   */
  settle(state: State, from: State): boolean {
    this.last = null;
    const { storages, numbers } = formOf(state);
    const isSteady = ({ made }: Step): boolean => made?.recording.holds ?? numbers.length === 0;
    const known = this.steps.some((step) => isSteady(step) && isSameList(step.form.storages, storages));
    return known && storages.every(({ isUnshared }) => isUnshared) && assignState(state, from);
  }

  /** All but the form of the state; null where calls are not made again. */
  private about(
    ids: Int32Array,
    several: boolean,
    { key }: KeptSettings,
    models: readonly RecurrentModel[],
  ): Omit<Circumstances, 'form'> | null {
    const { model } = this;
    this.last = null;
    if (getBackend(model.device).record && model.repeatsSteps) {
      return { tokens: ids.length, several, key, revision: model.revision, models };
    }
    this.dispose();
    return null;
  }

  private find(now: Circumstances): Step {
    const at = this.steps.findIndex((step) => isAlike(step, now));
    const [step = { ...now, met: 0, made: null, refused: false }] = at < 0 ? [] : this.steps.splice(at, 1);
    if (at < 0) this.forget(this.most - 1);
    else if (step.made?.recording.holds === false) unmake(step);
    this.steps.unshift(step);
    return step;
  }

  private isDue(step: Step, met: number): boolean {
    return !step.refused && ++step.met > met;
  }

  /** Leaves so many steps at the most, and none that uses what is gone. */
  private forget(most: number): void {
    const gone = ({ made }: Step, at: number): boolean => at >= most || made?.recording.holds === false;
    this.steps.filter(gone).forEach(unmake);
    this.steps = this.steps.filter((step, at) => !gone(step, at));
  }

  private again({ recording, ids: given, logits }: Made, ids: Int32Array, last: number): Tensor {
    const { storage } = given;
    storage.memory.write(storage.handle, 0, ids);
    recording.again();
    return ownLogits(logits, last);
  }

  private record(step: Step, state: State, ids: Int32Array, last: number): Read {
    const { model } = this;
    const { several, models } = step;
    const given = idsOf(model, ids, several ? [1, ids.length] : [ids.length]).persist();
    const read = (): Read => {
      if (several) return atOnce(model.verifyStages!(given, state, ids.length));
      return { logits: atOnce(stepStages(model, given, state, models)), state };
    };
    try {
      const { value, recording } = getBackend(model.device).record!(() => noGrad(() => scope(read)));
      const after = several ? { state: value.state, counters: formOf(value.state).counters } : null;
      const logits = ownLogits(value.logits, last);
      // What has come to lie elsewhere, or to be another number, is not where the same calls would look for it.
      if (recording && isSameForm(step.form, formOf(state)) && (!after || follows(after, step.form))) {
        persistState(value);
        step.made = { recording, ids: given, logits: value.logits, after };
        this.parts ??= new Parts(model);
        this.recorded(this);
        return { logits, state: after ? cloneState(after.state) : state };
      }
      recording?.dispose();
      value.logits.dispose();
      step.refused = true;
      return { logits, state: value.state };
    } finally {
      if (!step.made) given.dispose();
    }
  }

  /** Gives the memory of recorded steps back. */
  dispose(): void {
    this.last = null;
    this.parts = null;
    this.forget(0);
  }
}

/** But for the form of the state. */
function isAbout(a: Omit<Circumstances, 'form'>, b: Omit<Circumstances, 'form'>): boolean {
  const alike = a.tokens === b.tokens && a.several === b.several && a.key === b.key && a.revision === b.revision;
  return alike && isSameList(a.models, b.models);
}

function isAlike(a: Circumstances, b: Circumstances): boolean {
  return isAbout(a, b) && isSameForm(a.form, b.form);
}

/** Whether a state has no memory of the one before it, and counts tokens where that does. */
function follows({ state, counters }: { state: State; counters: readonly Counter[] }, before: Form): boolean {
  const apart = tensorsOf(state).every(({ storage }) => !before.storages.includes(storage));
  return apart && counters.length === before.counters.length;
}

/** A copy for the caller: of all logits, or of those [1, last, vocabulary] after the last so many tokens. */
function ownLogits(logits: Tensor, last: number): Tensor {
  return noGrad(() => scope(() => (last > 0 ? logits.slice(1, -last) : logits).clone()));
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
  disposeState([made.ids, made.logits, made.after?.state ?? null]);
  [step.made, step.met] = [null, 0];
}
