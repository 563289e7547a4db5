// Who guesses how a text goes on: what stood in it before, or a smaller model.
import type { KeptSettings } from '../../ops';
import type { RecurrentModel } from '../model';
import { joinIds } from '../ids';
import type { Session } from '../session';
import { ngramGuess } from './ngram';
import type { SpeculateOptions } from './options';

const NOTHING = new Int32Array();

/** Tokens that may come next. */
export interface Guess {
  readonly ids: Int32Array;
  /** Guesses of one kind are about equally often right. */
  readonly kind: number;
}

export interface Guesser {
  /** What a guessed token takes, in steps of the model that it is guessed for; 0 where that is next to nothing. */
  readonly cost: number;
  /** How a text goes on, at most so many tokens; of none, or of a text that begins with the last one. */
  guess(text: Int32Array, most: number, settings: KeptSettings, signal?: AbortSignal): Promise<Guess>;
  dispose(): void;
}

/** `open` makes a session of the draft whose rollback window is so long. */
export function guesserOf(
  { guesser, maxGuesses }: Required<SpeculateOptions>,
  model: RecurrentModel,
  open: (draft: RecurrentModel, rollbackWindow: number) => Session,
): Guesser {
  if (guesser === 'ngram') return new NgramGuesser();
  const [small, large] = [sizeOf(guesser), sizeOf(model)];
  const cost = STEP + (small > 0 && large > 0 ? small / large : UNKNOWN);
  return new DraftGuesser(open(guesser, maxGuesses), cost);
}

class NgramGuesser implements Guesser {
  readonly cost = 0;

  guess(text: Int32Array, most: number): Promise<Guess> {
    return Promise.resolve(ngramGuess(text, most));
  }

  dispose(): void {}
}

/** A step's own cost, whatever the size of the model; and what a model of unknown size is taken for. */
const [STEP, UNKNOWN] = [0.1, 0.25];

class DraftGuesser implements Guesser {
  /** What the session holds. */
  private text: Int32Array = NOTHING;
  /** So much of it is no guess. */
  private certain = 0;

  constructor(
    /** Takes back what was guessed wrong without reading anything again. */
    private readonly session: Session,
    readonly cost: number,
  ) {}

  async guess(text: Int32Array, most: number, settings: KeptSettings, signal?: AbortSignal): Promise<Guess> {
    const { session } = this;
    let same = this.certain;
    while (same < this.text.length && this.text[same] === text[same]) same++;
    await session.rollback(this.text.length - same, { signal });
    this.text = text;
    this.certain = text.length;
    const ids: number[] = [];
    // With a seed, so that the generator of `manualSeed` is left alone.
    const options = { maxNewTokens: most, temperature: 0, stopTokens: [], seed: 0, signal };
    const tokens = settings(() => session.generate(text.subarray(same), options));
    for await (const { id } of tokens) ids.push(id);
    this.text = joinIds(text, ids);
    return { ids: Int32Array.from(ids), kind: 0 };
  }

  dispose(): void {
    this.session.dispose();
  }
}

function sizeOf(model: RecurrentModel): number {
  return (model.parameters?.() ?? []).reduce((sum, { size }) => sum + size, 0);
}
