// The process that runs programs: it says which one it is at before it starts it, so that a crash can be told by its
// number. One argument, a Task as JSON; messages are lines of JSON on descriptor 3.
import { writeSync } from 'node:fs';
import type { Target } from '../support/golden';
import { check, type Choice, listing, make, shrink } from './fuzz';

export interface Task extends Choice {
  seed: number;
  /** Numbers of the programs to run. */
  first: number;
  end: number;
  device: Target['device'];
  /** Prints each step before it runs. */
  verbose: boolean;
}

export type Message = { at: number } | { fault: number; message: string; listing: string } | { kinds: Counts };
/** Steps run, and those among them that were refused though nothing was wrong with them. */
export type Counts = Record<string, { run: number; refused: number }>;

const say = (message: Message): void => void writeSync(3, JSON.stringify(message) + '\n');

function main(task: Task): void {
  const where: Target = { device: task.device, dtype: 'float32' };
  const kinds: Counts = {};
  for (let number = task.first; number < task.end; number++) {
    say({ at: number });
    const made = make(task.seed, number, task);
    if (task.verbose) console.log(listing(made.program));
    const fault = check(made, where, task.verbose ? (text) => writeSync(1, `> ${text}\n`) : undefined);
    made.program.steps.forEach(({ kind, refused = false }, place) => {
      kinds[kind] ??= { run: 0, refused: 0 };
      kinds[kind].run++;
      if (!refused && made.reference?.refusals.has(place)) kinds[kind].refused++;
    });
    if (!fault) continue;
    const smaller = shrink(made, fault, where);
    const { step, message } = check(smaller, where) ?? fault;
    const text = step ? `${step.kind}: ${step.text}\n  ${message}` : message;
    say({ fault: number, message: text, listing: listing(smaller.program) });
  }
  say({ kinds });
}

main(JSON.parse(process.argv[2]) as Task);
