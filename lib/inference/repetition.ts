// Single tokens read by making the calls of an earlier one again. A step of a model makes the same calls for every token so long
// as the tensors of its state stay where they are, and its numbers do not change or change as evenly as the calls do.
import { noGrad } from '../autograd';
import { getBackend, type Recording } from '../backends';
import { scope, type Tensor } from '../core';
import type { KeptSettings } from '../ops';
import { stepStages } from './batching/step';
import { type Form, formOf, isSameList, move, tokensBetween } from './form';
import { idsOf } from './ids';
import type { RecurrentModel } from './model';
import type { State } from './state';
import { atOnce } from './turns';

/** Tokens whose state stayed in place, before a step is recorded. */
const STEADY = 2;
/** Fewer tokens that go on alike are not worth a recording. */
const LEAST = 4;

/** What can be made again. */
interface Made {
  readonly recording: Recording;
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
  /** Of the recorded token, as soon as there is one. */
  form: Form;
  met: number;
  ids: Tensor | null;
  /** Of a token whose numbers grow: by how much, the next one tells. */
  first: Made | null;
  made: Made | null;
  refused: boolean;
}

/** A step, and how many tokens behind its form the state stands. */
interface Place {
  readonly step: Step;
  readonly at: number;
}

/** The single tokens of one generation, or of the texts of a batch. */
export class Repetition {
  /** The one that was met last comes first. */
  private steps: Step[] = [];
  /** What the last read has made again, on which state. */
  private last: (Place & { readonly state: State; readonly form: Form }) | null = null;

  constructor(
    private readonly model: RecurrentModel,
    /** Steps that are kept, in different circumstances. */
    private readonly most = 1,
  ) {}

  /**
   * Reads ids [B], one token each, into a state that changes in place: the logits [B, vocabulary], which are the caller's; null
   * where the model is to be asked as always.
   */
  read(state: State, ids: Int32Array, settings: KeptSettings, options: ReadOptions = {}): Tensor | null {
    const { model } = this;
    const { models = [], untouched = false } = options;
    if (!getBackend(model.device).record || !model.repeatsSteps) {
      this.dispose();
      return null;
    }
    const about = { texts: ids.length, key: settings.key, revision: model.revision, models };
    const next = untouched ? this.behindLast(state, about) : null;
    const form = next?.form ?? formOf(state);
    const { step, at } = next ?? this.find({ form, ...about });
    this.last = null;
    if (step.made) {
      const logits = this.again(step, form, ids, at);
      this.last = { state, step, form, at };
      return logits;
    }
    if (step.refused || ++step.met <= STEADY || form.tokens < LEAST) return null;
    return settings(() => this.record(step, state, ids, form, at));
  }

  /** Where nothing is to be looked at: the token behind the one that was made again last. */
  private behindLast(state: State, about: Omit<Circumstances, 'form'>): (Place & { form: Form }) | null {
    const { last } = this;
    if (last?.state !== state || !isAbout(last.step, about)) return null;
    const { step, form, at } = last;
    return step.made?.recording.holds && at + 1 < step.form.tokens ? { step, form, at: at + 1 } : null;
  }

  private find(now: Circumstances): Place {
    const known = this.steps.map((step) => (isAbout(step, now) ? tokensBetween(step.form, now.form) : null));
    const at = known.findIndex((tokens) => tokens !== null);
    const made: Step = { ...now, met: 0, ids: null, first: null, made: null, refused: false };
    const [step = made] = at < 0 ? [] : this.steps.splice(at, 1);
    if (at < 0) this.forget(this.most - 1);
    else if (isGone(step)) unmake(step);
    this.steps.unshift(step);
    return { step, at: known[at] ?? 0 };
  }

  /** Leaves so many steps at the most, and none that uses what is gone. */
  private forget(most: number): void {
    const gone = (step: Step, at: number): boolean => at >= most || isGone(step);
    this.steps.filter(gone).forEach(unmake);
    this.steps = this.steps.filter((step, at) => !gone(step, at));
  }

  private again({ made, ids: given }: Step, form: Form, ids: Int32Array, at: number): Tensor {
    const { recording, logits } = made!;
    overwrite(given!, ids);
    recording.again(at);
    for (const written of form.storages) written.version++;
    move(form);
    return noGrad(() => logits.clone());
  }

  /** Twice, where calls grow with the tokens: of two that follow each other. */
  private record(step: Step, state: State, ids: Int32Array, form: Form, at: number): Tensor {
    const { model } = this;
    const grows = form.steps.some((each) => each !== 0);
    const before = at === 1 ? step.first : null;
    step.first?.logits.dispose();
    if (!before) step.first?.recording.dispose();
    if (step.ids) overwrite(step.ids, ids);
    const given = (step.ids ??= idsOf(model, ids, [ids.length]).persist());
    Object.assign(step, { form, first: null });
    let done = false;
    try {
      const run = (): Tensor => noGrad(() => scope(() => atOnce(stepStages(model, given, state, step.models))));
      const { value: logits, recording } = getBackend(model.device).record!(run, before?.recording);
      // What has come to lie elsewhere, or to be another number, is not where the same calls would look for it.
      done = recording !== null && tokensBetween(form, formOf(state)) === Number(grows);
      if (!done) {
        recording?.dispose();
        step.refused = true;
        return logits;
      }
      const made = { recording: recording!, logits: logits.persist() };
      if (before || !grows) step.made = made;
      else step.first = made;
      return noGrad(() => logits.clone());
    } finally {
      if (!done) unmake(step);
    }
  }

  /** Gives the memory of recorded steps back. */
  dispose(): void {
    this.last = null;
    this.forget(0);
  }
}

function overwrite({ storage }: Tensor, ids: Int32Array): void {
  storage.memory.write(storage.handle, 0, ids);
}

/** But for the form of the state. */
function isAbout(a: Omit<Circumstances, 'form'>, b: Omit<Circumstances, 'form'>): boolean {
  const alike = a.texts === b.texts && a.key === b.key && a.revision === b.revision;
  return alike && isSameList(a.models, b.models);
}

function isGone({ first, made }: Step): boolean {
  const recorded = made ?? first;
  return recorded !== null && !recorded.recording.holds;
}

function unmake(step: Step): void {
  for (const recorded of [step.made, step.first]) {
    recorded?.recording.dispose();
    recorded?.logits.dispose();
  }
  step.ids?.dispose();
  [step.made, step.first, step.ids, step.met] = [null, null, null, 0];
}
