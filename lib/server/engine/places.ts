// Places of a model for what it is asked: so many at the same time, others wait, and whoever has had least goes first.
import { ApiError } from '../errors';

export interface PlacesOptions {
  /** Generations and tasks at the same time. */
  maxRunning: number;
  /** Requests that wait; others are refused. */
  maxWaiting: number;
}

/** What an owner, or a request, has of the places. */
interface Share {
  running: number;
  /** The turn at which it got one last. */
  last: number;
}

interface Waiting {
  owner: string;
  signal: AbortSignal;
  start(): void;
  refuse(error: ApiError): void;
}

/**
 * A place that becomes free is for the owner with the fewest, and of those with as many for the one who had one the longest ago;
 * among the requests of one owner the same holds. So a request of many texts does not keep others waiting until its last one.
 */
export class Places {
  private free: number;
  private open = false;
  private turn = 0;
  private readonly queue: Waiting[] = [];
  private readonly owners = new Map<string, Share>();
  /** By their signals. */
  private readonly requests = new WeakMap<AbortSignal, Share>();

  constructor(private readonly options: PlacesOptions) {
    this.free = options.maxRunning;
  }

  get running(): number {
    return this.options.maxRunning - this.free;
  }

  get waiting(): number {
    return this.queue.length;
  }

  /** Waits for a place; gives what makes it free again. */
  async enter(owner: string, signal: AbortSignal, aborted: () => ApiError): Promise<() => void> {
    const shares = [this.shareOf(this.owners, owner), this.shareOf(this.requests, signal)];
    if (this.open && this.free > 0) this.take(shares);
    else await this.line(owner, signal, aborted, shares);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.free++;
      for (const share of shares) share.running--;
      this.admit();
    };
  }

  /** From now on there is somebody to do what is asked. */
  begin(): void {
    this.open = true;
    this.admit();
  }

  /** From now on there is nobody: those that come wait. */
  pause(): void {
    this.open = false;
  }

  /** Ends the waiting of all. */
  refuse(error: () => ApiError): void {
    this.open = false;
    for (const waiting of this.queue.splice(0)) waiting.refuse(error());
  }

  private line(owner: string, signal: AbortSignal, aborted: () => ApiError, shares: readonly Share[]): Promise<void> {
    const others = new Set(this.queue.map((waiting) => waiting.signal));
    if (!others.has(signal) && others.size >= this.options.maxWaiting) {
      const message = 'The model has as many requests as it takes; try again later.';
      throw new ApiError(503, message, { code: 'overloaded', retryAfter: 1 });
    }
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.queue.splice(this.queue.indexOf(waiting), 1);
        reject(aborted());
      };
      const leave = (): void => signal.removeEventListener('abort', abort);
      const waiting: Waiting = {
        owner,
        signal,
        start: () => {
          leave();
          this.take(shares);
          resolve();
        },
        refuse: (error) => {
          leave();
          reject(error);
        },
      };
      signal.addEventListener('abort', abort, { once: true });
      this.queue.push(waiting);
    });
  }

  private take(shares: readonly Share[]): void {
    this.free--;
    this.turn++;
    for (const share of shares) {
      share.running++;
      share.last = this.turn;
    }
  }

  private admit(): void {
    while (this.open && this.free > 0 && this.queue.length > 0) {
      const next = this.queue.reduce((best, each) => (this.before(each, best) ? each : best));
      this.queue.splice(this.queue.indexOf(next), 1);
      next.start();
    }
  }

  /** Whether one of the queue goes before another that came earlier. */
  private before(a: Waiting, b: Waiting): boolean {
    const pairs = [
      [this.owners.get(a.owner)!, this.owners.get(b.owner)!],
      [this.requests.get(a.signal)!, this.requests.get(b.signal)!],
    ];
    for (const [one, other] of pairs) {
      const order = one.running - other.running || one.last - other.last;
      if (order !== 0) return order < 0;
    }
    return false;
  }

  private shareOf<K>(shares: { get(key: K): Share | undefined; set(key: K, share: Share): unknown }, key: K): Share {
    const share = shares.get(key) ?? { running: 0, last: 0 };
    shares.set(key, share);
    return share;
  }
}
