// What a model's thread says, heard in turns: many tokens at once do not keep the thread of HTTP from anything else.
import { breathe } from '../../platform';
import type { Answer } from './protocol';

/** Events that are told in a turn, each of which has some 25 us of work behind it. */
export const TURN = 8;

/** Hands answers on in the order in which they came. */
export class Hearing {
  private readonly unheard: Answer[] = [];
  private hearing = false;

  constructor(private readonly take: (answer: Answer) => void) {}

  /** The first turn is at once, where nothing waits. */
  hear(answer: Answer): void {
    if ('batch' in answer) {
      for (let at = 0; at < answer.batch.length; at += TURN) {
        this.unheard.push({ batch: answer.batch.slice(at, at + TURN) });
      }
    } else this.unheard.push(answer);
    if (!this.hearing) void this.hearAll();
  }

  private async hearAll(): Promise<void> {
    this.hearing = true;
    for (let answer = this.unheard.shift(); answer; answer = this.unheard.shift()) {
      this.take(answer);
      if (this.unheard.length > 0) await breathe();
    }
    this.hearing = false;
  }
}
