// What of a text has no token in a checkpoint, for people.
import { describeCharacter } from '../core';

/** Parts that are named. */
const NAMED = 8;

/** On standard error how much of a text was skipped, and what, the most frequent parts first; returns how much. */
export function noteSkipped(skipped: ReadonlyMap<string, number>): number {
  const counts = [...skipped].sort(([, a], [, b]) => b - a);
  const count = counts.reduce((sum, [, often]) => sum + often, 0);
  if (count === 0) return 0;
  const named = counts.slice(0, NAMED).map(([part, often]) => {
    const name = [...part].length === 1 ? describeCharacter(part) : JSON.stringify(part);
    return often > 1 ? `${name} (${often} times)` : name;
  });
  const more = counts.length > NAMED ? `, and ${counts.length - NAMED} others` : '';
  const what = count === 1 ? '1 character was skipped, it has' : `${count} characters were skipped, they have`;
  console.error(`${what} no token in this checkpoint: ${named.join(', ')}${more}`);
  return count;
}
