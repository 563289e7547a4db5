// How many tokens to guess: by how often guesses were right, and what reading takes.

/** What one call takes that reads several tokens, in steps of one: so much for itself, and so much for each token. */
const [CALL, EACH] = [1.45, 0.065];

/** So many tokens a call with guesses reads where it can: of few sizes, so that its calls are soon those of an earlier one. */
const SIZES: ReadonlySet<number> = new Set([2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65]);

/** A rate is at first this, and moves by this share towards each guess that was right or wrong. */
const [FIRST, SHARE] = [0.9, 1 / 8];

function costOf(tokens: number): number {
  return tokens === 1 ? 1 : CALL + EACH * tokens;
}

/** Of guesses of one kind. */
export class Rate {
  private value = FIRST;

  hear(right: boolean): void {
    this.value += SHARE * (Number(right) - this.value);
  }

  /**
   * The number of guesses, at most `most` of which one takes `cost`, that gives the most tokens for the time where so many tokens
   * are unread; 0 where reading no guesses does.
   */
  best(unread: number, most: number, cost: number): number {
    let [best, speed] = [0, 1 / costOf(unread)];
    let [tokens, right, fitted] = [1, 1, false];
    for (let guesses = 1; guesses <= most; guesses++) {
      right *= this.value;
      tokens += right;
      const fits = SIZES.has(unread + guesses);
      fitted ||= fits;
      if (!fits && (fitted || guesses < most)) continue;
      // What comes after a wrong one reads several tokens where it might have read one.
      const time = costOf(unread + guesses) + cost * guesses + (1 - right) * (costOf(2) - 1);
      if (tokens / time > speed) [best, speed] = [guesses, tokens / time];
    }
    return best;
  }
}
