// One request: its name, its key, when it ends, and what is told of it then.
import { manyListeners, randomHex } from '../../platform';
import { ApiError, GONE } from '../errors';
import type { ApiKey } from '../keys';
import type { Services } from '../services';
import type { RequestSpan } from '../tracing';

/** From the head of a request to the last byte of its answer. */
export class Call {
  readonly id: string;
  key: ApiKey | null = null;
  model: string | undefined;
  /** Where somebody records it. */
  span: RequestSpan | null = null;
  private readonly began = performance.now();
  private readonly controller = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private readonly leave: (() => void)[] = [];
  private first: number | undefined;
  private readonly counts = { prompt: 0, reused: 0, generated: 0 };
  private reason: string | undefined;
  private texts: Record<string, unknown> = {};
  private ended = false;

  constructor(
    private readonly services: Services,
    private readonly method: string,
    private readonly path: string,
    given: string | undefined,
  ) {
    // Each of several prompts listens.
    manyListeners(this.controller.signal);
    // The client's own name, where it is one that a log can hold.
    this.id = given !== undefined && /^[\w.-]{1,64}$/.test(given) ? given : `req_${randomHex(12)}`;
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** The pattern that the path fits: paths themselves are too many to count by. */
  route = 'unknown';

  /** What the body calls that which the model's thread has other names for. */
  fields: Readonly<Record<string, string>> = {};

  /** An error in the words of this request. */
  named(error: ApiError): ApiError {
    return error.withParam(error.param?.replace(/^\w+/, (name) => this.fields[name] ?? name) ?? null);
  }

  /** From here on the request counts for its key's limits and has its time. */
  enter(key: ApiKey): void {
    this.key = key;
    const { limits, options } = this.services;
    this.leave.push(limits.enter(key));
    const seconds = options.requestTimeout;
    this.timer = setTimeout(() => {
      this.abort(new ApiError(504, `The request took longer than ${seconds} s.`, { code: 'timeout' }));
    }, seconds * 1000);
  }

  /** How many of so many generations may be at work at the same time. */
  places(wanted: number): number {
    const { places, leave } = this.services.limits.more(this.key!, wanted - 1);
    this.leave.push(leave);
    return places + 1;
  }

  abort(reason: ApiError): void {
    this.controller.abort(reason);
  }

  /** Nobody takes the answer any more; the log says why it ended first. */
  gone(): void {
    this.abort(new ApiError(GONE, 'The client went away.', { code: 'client_gone' }));
    const reason = this.signal.reason as ApiError;
    this.end(reason.status, reason);
  }

  /** A prompt is about to be read. */
  begun(promptTokens: number, reusedTokens: number): void {
    this.counts.prompt += promptTokens;
    this.counts.reused += reusedTokens;
    if (this.key) this.services.limits.spend(this.key, promptTokens);
  }

  /** So many tokens of the prompt were not read after all, and why the others were. */
  reused(tokens: number, reason: string | undefined): void {
    this.counts.prompt -= tokens;
    this.counts.reused += tokens;
    if (this.key) this.services.limits.spend(this.key, -tokens);
    this.reason = reason;
  }

  generated(tokens: number): void {
    if (tokens === 0) return;
    this.first ??= performance.now();
    this.counts.generated += tokens;
    if (this.key) this.services.limits.spend(this.key, tokens);
  }

  /** Texts of the request and of the answer, which the log has only where it was asked for them. */
  note(texts: Record<string, unknown>): void {
    if (this.services.options.logTexts) Object.assign(this.texts, texts);
  }

  end(status: number, error?: unknown): void {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.timer);
    for (const leave of this.leave) leave();
    this.span?.end(this.route, status, error);
    const { metrics, log } = this.services;
    const { route, counts, model, first } = this;
    const now = performance.now();
    const seconds = (now - this.began) / 1000;
    metrics.requests.inc({ route, status: String(status) });
    metrics.duration.observe({ route }, seconds);
    if (model !== undefined) {
      for (const kind of ['prompt', 'reused', 'generated'] as const) metrics.tokens.inc({ model, kind }, counts[kind]);
      if (first !== undefined) {
        metrics.firstToken.observe({ model }, (first - this.began) / 1000);
        if (counts.generated > 1) {
          metrics.perToken.observe({ model }, (now - first) / 1000 / (counts.generated - 1));
        }
      }
    }
    const failed = status >= 500;
    const detail = error instanceof ApiError ? { error: error.message, code: error.code } : {};
    const cause = failed && error instanceof Error ? { cause: causeOf(error) } : {};
    log[failed ? 'error' : 'info']('request', {
      id: this.id,
      method: this.method,
      path: this.path,
      status,
      key: this.key?.name,
      model,
      milliseconds: Math.round(seconds * 1e5) / 100,
      ...(first !== undefined && { firstTokenMs: Math.round((first - this.began) * 100) / 100 }),
      ...(model !== undefined && { tokens: counts }),
      ...(this.reason !== undefined && { unreused: this.reason }),
      ...detail,
      ...cause,
      ...this.texts,
    });
  }
}

function causeOf(error: Error): string | undefined {
  const cause = error instanceof ApiError ? error.cause : error;
  return cause instanceof Error ? (cause.stack ?? cause.message) : undefined;
}
