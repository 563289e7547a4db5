// Guesses by what stood in a text before (Saxena 2023, "Prompt lookup decoding").
import type { Guess } from './guessers';

/** So many tokens must have stood before, and more than the most say nothing new. */
const [SHORTEST, LONGEST] = [2, 4];

const NONE: Guess = { ids: new Int32Array(), kind: 0 };

/**
 * What followed the last tokens of a text where they stood before: the longest that did, 4 to 2 of them, at the latest place of
 * those. Its kind is how many they are. A text that repeats itself within what is guessed goes on doing so.
 */
export function ngramGuess(text: Int32Array, most: number): Guess {
  const end = text.length - 1;
  let [length, at] = [SHORTEST - 1, -1];
  for (let i = end - 1; i >= 0 && length < LONGEST; i--) {
    let same = 0;
    while (same < LONGEST && same <= i && text[i - same] === text[end - same]) same++;
    if (same > length) [length, at] = [same, i];
  }
  if (at < 0) return NONE;
  const period = end - at;
  return { ids: Int32Array.from({ length: most }, (_, i) => text[at + 1 + (i % period)]), kind: length };
}
