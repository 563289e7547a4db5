// How much a key may have: generations at the same time, tokens in a minute.
import { ApiError } from './errors';
import type { ApiKey } from './keys';

const MINUTE = 60_000;

interface Use {
  running: number;
  /** Tokens that are left; below 0 where a request took more than there were. */
  tokens: number;
  /** When `tokens` was right, in milliseconds. */
  at: number;
}

/** Takes note of what each key has, and refuses what is too much. */
export class Limits {
  private readonly uses = new Map<string, Use>();

  constructor(private readonly clock: () => number = () => performance.now()) {}

  /** Before a request; what it gives is called once, when the request has ended. */
  enter(key: ApiKey): () => void {
    const { concurrent, tokensPerMinute } = key.limits;
    const use = this.useOf(key);
    if (concurrent !== undefined && use.running >= concurrent) {
      const message = `Rate limit reached: ${concurrent} generations at the same time. Wait for one of yours to end.`;
      throw new ApiError(429, message, { code: 'rate_limit_exceeded', retryAfter: 1 });
    }
    if (tokensPerMinute !== undefined && use.tokens <= 0) {
      const wait = Math.ceil(((1 - use.tokens) / tokensPerMinute) * (MINUTE / 1000));
      const message = `Rate limit reached: ${tokensPerMinute} tokens per minute. Try again in ${wait} s.`;
      throw new ApiError(429, message, { code: 'rate_limit_exceeded', retryAfter: wait });
    }
    use.running++;
    let left = false;
    return () => {
      if (!left) use.running--;
      left = true;
    };
  }

  /** Up to so many places beside that of a request, for as many generations at once; `leave` is called when it has ended. */
  more(key: ApiKey, wanted: number): { places: number; leave(): void } {
    const { concurrent = Infinity } = key.limits;
    const use = this.useOf(key);
    const places = Math.max(0, Math.min(wanted, concurrent - use.running));
    use.running += places;
    return { places, leave: () => void (use.running -= places) };
  }

  /** Tokens that were read or written for it. */
  spend(key: ApiKey, tokens: number): void {
    if (key.limits.tokensPerMinute !== undefined) this.useOf(key).tokens -= tokens;
  }

  /** The headers in which OpenAI's API tells what is left. */
  headers(key: ApiKey): Record<string, string> {
    const { tokensPerMinute } = key.limits;
    if (tokensPerMinute === undefined) return {};
    const { tokens } = this.useOf(key);
    const left = Math.max(0, Math.floor(tokens));
    const full = ((tokensPerMinute - tokens) / tokensPerMinute) * (MINUTE / 1000);
    return {
      'x-ratelimit-limit-tokens': String(tokensPerMinute),
      'x-ratelimit-remaining-tokens': String(left),
      'x-ratelimit-reset-tokens': `${Math.max(0, full).toFixed(1)}s`,
    };
  }

  private useOf({ owner, limits: { tokensPerMinute = 0 } }: ApiKey): Use {
    const at = this.clock();
    const use = this.uses.get(owner) ?? { running: 0, tokens: tokensPerMinute, at };
    use.tokens = Math.min(tokensPerMinute, use.tokens + ((at - use.at) / MINUTE) * tokensPerMinute);
    use.at = at;
    this.uses.set(owner, use);
    return use;
  }
}
