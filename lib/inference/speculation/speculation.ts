// Speculation in one text (Leviathan et al. 2023; Chen et al. 2023): tokens are guessed, the model reads several of them at once, and
// each counts so long as it is the one that is drawn.
import type { KeptSettings } from '../../ops';
import { GrowingIds } from '../samplerState';
import type { Guesser } from './guessers';
import type { SpeculationCounts } from './options';
import { Rate } from './pace';

/** Longer lists are read alone, so that the state goes on. */
const MOST_UNREAD = 16;

/** So many tokens pass between two tries of a guesser that costs time and was not worth it; each is of so many guesses. */
const [REST, TRY] = [32, 4];

const NONE = new Int32Array();

export class Speculation {
  readonly counts: { -readonly [Name in keyof SpeculationCounts]: number } = { guessed: 0, accepted: 0, reads: 0 };
  private readonly rates = new Map<number, Rate>();
  private readonly text: GrowingIds;
  /** Guesses that the next tokens are held against: that were read, or only made. */
  private open: { ids: Int32Array; rate: Rate; read: boolean; at: number } | null = null;
  private rested = 0;
  /** Tokens that there may still be. */
  private left: number;

  constructor(
    private readonly guesser: Guesser,
    /** Tokens that are guessed at once, at most. */
    readonly maxGuesses: number,
    /** What is known of the text before. */
    context: Int32Array,
    private readonly ends: { readonly limit: number; readonly stop: ReadonlySet<number> },
  ) {
    this.text = new GrowingIds(context);
    this.left = ends.limit;
  }

  /** Guesses for a call that reads them behind so many unread tokens; none where that is not worth it. */
  async guess(unread: number, settings: KeptSettings, signal?: AbortSignal): Promise<Int32Array> {
    const { guesser } = this;
    // The last token is not read.
    const most = Math.min(this.maxGuesses, this.left - 1);
    if (most < 1) return NONE;
    const allowed = unread > MOST_UNREAD ? 0 : most;
    const free = guesser.cost === 0;
    const wanted = free ? most : this.rateOf(0).best(unread, allowed, guesser.cost);
    if (wanted === 0 && this.rests()) return NONE;
    const { ids, kind } = await guesser.guess(
      this.text.all,
      wanted || Math.min(TRY, this.maxGuesses),
      settings,
      signal,
    );
    const rate = this.rateOf(kind);
    const count = free ? rate.best(unread, Math.min(allowed, ids.length), 0) : wanted;
    const guesses = this.beforeStop(ids.subarray(0, count));
    this.open = guesses.length > 0 ? { ids: guesses, rate, read: true, at: 0 } : { ids, rate, read: false, at: 0 };
    if (guesses.length === 0) return NONE;
    this.counts.guessed += guesses.length;
    this.counts.reads++;
    return guesses;
  }

  /** Counts a token of the text. */
  heard(id: number): void {
    this.text.add(id);
    this.left--;
    const { open } = this;
    if (!open || open.at === open.ids.length) return;
    const right = open.ids[open.at++] === id;
    open.rate.hear(right);
    if (right && open.read) this.counts.accepted++;
    if (!right) this.open = null;
  }

  dispose(): void {
    this.guesser.dispose();
  }

  private rateOf(kind: number): Rate {
    const rate = this.rates.get(kind) ?? new Rate();
    this.rates.set(kind, rate);
    return rate;
  }

  /** Whether a guesser that is not worth it just now is left alone for another token. */
  private rests(): boolean {
    return this.rested++ % REST !== 0;
  }

  /** Nothing comes behind a token that ends the text. */
  private beforeStop(ids: Int32Array): Int32Array {
    const end = ids.findIndex((id) => this.ends.stop.has(id));
    return end < 0 ? ids : ids.subarray(0, end);
  }
}
