// What a model's thread has to say of its texts, gathered for a while: crossing to the thread of HTTP costs more than a token's time.
import type { Answer, JobEvent } from './protocol';

/** Milliseconds that tokens wait for others to cross with them. */
const GATHER = 4;

/** Hands events on in batches; those of one request keep their order. */
export class Gathering {
  private batch: { id: number; event: JobEvent }[] = [];
  /** The last event of each request that waits. */
  private readonly last = new Map<number, JobEvent>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly say: (answer: Answer) => void) {}

  /** Tokens of one request that wait together become one event; the end of a request waits for nothing. */
  give(id: number, event: JobEvent): void {
    const last = this.last.get(id);
    if (event.type === 'tokens' && last?.type === 'tokens') last.tokens.push(...event.tokens);
    else {
      this.batch.push({ id, event });
      this.last.set(id, event);
    }
    if (event.type === 'done') this.flush();
    else this.timer ??= setTimeout(() => this.flush(), GATHER);
  }

  /** Says at once what waits. */
  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { batch } = this;
    this.batch = [];
    this.last.clear();
    if (batch.length > 0) this.say({ batch });
  }
}
