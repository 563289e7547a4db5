// Tokens read by making the calls of earlier ones again. A model makes the same calls for every token, or for every so many of them,
// so long as the tensors of its state stay where they are, and its numbers do not change or change as evenly as the calls do.
import { noGrad } from '../autograd';
import { getBackend, type Recording } from '../backends';
import { scope, type Tensor } from '../core';
import type { KeptSettings } from '../ops';
import { stepStages } from './batching/step';
import { type Form, formOf, isSameList, move, moveBehind, tokensBetween } from './form';
import { idsOf } from './ids';
import type { Read, RecurrentModel } from './model';
import { Parts } from './parts';
import { assignState, cloneState, disposeState, persistState, type State, tensorsOf } from './state';
import { atOnce } from './turns';

/** How often the circumstances were met before calls are recorded: those of a token, and those of several. */
const [STEADY, STEADY_GUESSES] = [2, 1];

/** Fewer tokens that go on alike are not worth a recording. */
const LEAST = 4;

/** Of one text: a token, and guesses of several numbers. */
const KEPT_STEPS = 16;

/** So many texts that are read alone keep theirs: those that recorded last, in all models of the thread. */
const KEPT_TEXTS = 16;
let kept: WeakRef<Repetition>[] = [];

/** What can be made again. */
interface Made {
  readonly recording: Recording;
  readonly logits: Tensor;
  /** What follows on a state that stays as it is; null where it changes in place. */
  readonly after: { readonly state: State; readonly form: Form } | null;
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
  /** Of the recorded token, as soon as there is one. */
  form: Form;
  met: number;
  ids: Tensor | null;
  /** Of a token whose numbers grow: by how much, the next one tells. */
  first: Made | null;
  made: Made | null;
  refused: boolean;
}

/** A step, a state whose form it has, and how many tokens behind that of the step it stands. */
interface Place {
  readonly step: Step;
  readonly form: Form;
  readonly at: number;
}

/** The tokens of one session, or of the texts of a batch. */
export class Repetition {
  /** The one that was met last comes first. */
  private steps: Step[] = [];
  /** What the last `read` has made again, on which state. */
  private last: (Place & { readonly state: State }) | null = null;
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
    const next = untouched && last?.state === state && isAbout(last.step, about) ? behind(last) : null;
    const place = next ?? this.find({ form: formOf(state), ...about });
    const { step, form, at } = place;
    if (!step.made) {
      const due = this.isDue(step, STEADY) && form.tokens >= LEAST;
      return due ? settings(() => this.record(place, state, ids, 0)).logits : null;
    }
    const logits = this.again(step, ids, at, 0);
    for (const written of form.storages) written.version++;
    move(form);
    this.last = { ...place, state };
    return logits;
  }

  /** The same of `verifyStages`: ids [1, T] of one text, logits [1, last, vocabulary] and a new state, unless the state grows. */
  verify(state: State, ids: Int32Array, last: number, settings: KeptSettings): Read | null {
    const about = this.about(ids, true, settings, []);
    if (!about) return null;
    const form = formOf(state);
    if (form.places.length > 0) return null;
    const place = this.find({ form, ...about });
    const { step } = place;
    if (!step.made)
      return this.isDue(step, STEADY_GUESSES) ? settings(() => this.record(place, state, ids, last)) : null;
    const logits = this.again(step, ids, 0, last);
    const after = step.made.after!;
    moveBehind(form, after.form, ids.length);
    return { logits, state: cloneState(after.state) };
  }

  /**
   * Puts the values of another state into the one that was read, which stays where recorded calls look for it; false where nothing
   * is to be gained by it, where someone else holds its memory, or the forms differ.
   */
  settle(state: State, from: State): boolean {
    this.last = null;
    const { storages, numbers, places } = formOf(state);
    if (places.length > 0) return false;
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

  private find(now: Circumstances): Place {
    const known = this.steps.map((step) => (isAbout(step, now) ? tokensBetween(step.form, now.form) : null));
    const at = known.findIndex((tokens) => tokens !== null);
    const made: Step = { ...now, met: 0, ids: null, first: null, made: null, refused: false };
    const [step = made] = at < 0 ? [] : this.steps.splice(at, 1);
    if (at < 0) this.forget(this.most - 1);
    else if (isGone(step)) unmake(step);
    this.steps.unshift(step);
    return { step, form: now.form, at: known[at] ?? 0 };
  }

  private isDue(step: Step, met: number): boolean {
    return !step.refused && ++step.met > met;
  }

  /** Leaves so many steps at the most, and none that uses what is gone. */
  private forget(most: number): void {
    const gone = (step: Step, at: number): boolean => at >= most || isGone(step);
    this.steps.filter(gone).forEach(unmake);
    this.steps = this.steps.filter((step, at) => !gone(step, at));
  }

  private again({ made, ids: given }: Step, ids: Int32Array, at: number, last: number): Tensor {
    const { recording, logits } = made!;
    overwrite(given!, ids);
    recording.again(at);
    return ownLogits(logits, last);
  }

  /** Twice, where calls grow with the tokens: of two that follow each other. */
  private record({ step, form, at }: Place, state: State, ids: Int32Array, last: number): Read {
    const { model } = this;
    const { several, models } = step;
    const grows = form.steps.some((each) => each !== 0);
    const before = at === 1 ? step.first : null;
    step.first?.logits.dispose();
    if (!before) step.first?.recording.dispose();
    if (step.ids) overwrite(step.ids, ids);
    const given = (step.ids ??= idsOf(model, ids, several ? [1, ids.length] : [ids.length]).persist());
    Object.assign(step, { form, first: null });
    const read = (): Read => {
      if (several) return atOnce(model.verifyStages!(given, state, ids.length));
      return { logits: atOnce(stepStages(model, given, state, models)), state };
    };
    let done = false;
    try {
      const run = (): Read => noGrad(() => scope(read));
      const { value, recording } = getBackend(model.device).record!(run, before?.recording);
      const after = several ? { state: value.state, form: formOf(value.state) } : null;
      const logits = ownLogits(value.logits, last);
      // What has come to lie elsewhere, or to be another number, is not where the same calls would look for it.
      const stands = tokensBetween(form, formOf(state)) === Number(grows);
      done = recording !== null && stands && (!after || follows(after, form));
      if (!done) {
        recording?.dispose();
        value.logits.dispose();
        step.refused = true;
        return { logits, state: value.state };
      }
      persistState(value);
      const made = { recording: recording!, logits: value.logits, after };
      if (before || !grows) step.made = made;
      else step.first = made;
      this.parts ??= new Parts(model);
      this.recorded(this);
      return { logits, state: after ? cloneState(after.state) : state };
    } finally {
      if (!done) unmake(step);
    }
  }

  /** Gives the memory of recorded steps back. */
  dispose(): void {
    this.last = null;
    this.parts = null;
    this.forget(0);
  }
}

/** The place of the next token, where nothing is to be looked at. */
function behind({ step, form, at }: Place): Place | null {
  return step.made?.recording.holds && at + 1 < step.form.tokens ? { step, form, at: at + 1 } : null;
}

function overwrite({ storage }: Tensor, ids: Int32Array): void {
  storage.memory.write(storage.handle, 0, ids);
}

/** But for the form of the state. */
function isAbout(a: Omit<Circumstances, 'form'>, b: Omit<Circumstances, 'form'>): boolean {
  const alike = a.tokens === b.tokens && a.several === b.several && a.key === b.key && a.revision === b.revision;
  return alike && isSameList(a.models, b.models);
}

/** Whether a state has no memory of the one before it, and counts tokens where that does. */
function follows({ state, form }: { state: State; form: Form }, before: Form): boolean {
  const apart = tensorsOf(state).every(({ storage }) => !before.storages.includes(storage));
  return apart && form.moving.length === before.moving.length;
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

function isGone({ first, made }: Step): boolean {
  const recorded = made ?? first;
  return recorded !== null && !recorded.recording.holds;
}

function unmake(step: Step): void {
  for (const recorded of [step.made, step.first]) {
    recorded?.recording.dispose();
    disposeState([recorded?.logits ?? null, recorded?.after?.state ?? null]);
  }
  step.ids?.dispose();
  [step.made, step.first, step.ids, step.met] = [null, null, null, 0];
}
