// What the three endpoints that write text have in common: the job, its events, its usage.
import type { Engine } from '../engine/engine';
import type { Constraint, GenerateJob, Guesses, JobEvent, StateInfo, TokenEvent } from '../engine/protocol';
import { ApiError, invalid, unsupported } from '../errors';
import { modelOf, type Services } from '../services';
import type { Call } from './call';
import { drawingOf, type ResponseFormat, seedOf } from './schemas';

/** Where a generation goes on from, and where its state is kept. */
export type Place = Pick<GenerateJob, 'from' | 'to' | 'keepPart'>;

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** `uncached`: why the others were read (see `PrefixUse`), where the prompt began a conversation. */
  prompt_tokens_details: { cached_tokens: number; uncached?: string };
  /** Where tokens were guessed. */
  completion_tokens_details?: { accepted_prediction_tokens: number; rejected_prediction_tokens: number };
}

/** What has come of a generation so far. */
export interface Progress {
  promptTokens: number;
  reusedTokens: number;
  /** Why no more tokens of the prompt were reused. */
  reason?: string;
  generated: number;
  state?: StateInfo;
  guesses?: Guesses;
}

export function usageOf(parts: readonly Progress[]): Usage {
  const sum = (read: (part: Progress) => number): number => parts.reduce((total, part) => total + read(part), 0);
  const cached = sum((part) => part.reusedTokens);
  const prompt = sum((part) => part.promptTokens) + cached;
  const completion = sum((part) => part.generated);
  const reason = parts.length === 1 ? parts[0].reason : undefined;
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached, ...(reason !== undefined && { uncached: reason }) },
    ...(parts.some(({ guesses }) => guesses) && {
      completion_tokens_details: {
        accepted_prediction_tokens: sum(({ guesses }) => guesses?.accepted ?? 0),
        rejected_prediction_tokens: sum(({ guesses }) => guesses?.rejected ?? 0),
      },
    }),
  };
}

type DrawingBody = Parameters<typeof drawingOf>[0] & { seed?: number };

/** What all bodies say in the same words. */
export function jobOf(
  services: Services,
  body: DrawingBody & {
    stop_token_ids?: number[];
    ignore_eos?: boolean;
    speculate?: GenerateJob['speculate'];
    model: string;
  },
  { maxTokens, param, usual }: { maxTokens: number | undefined; param: string; usual?: number },
): Pick<
  GenerateJob,
  'kind' | 'drawing' | 'seed' | 'maxTokens' | 'stopTokens' | 'ignoreStopTokens' | 'speculate' | 'adapter'
> {
  const most = services.options.maxTokens;
  if (maxTokens !== undefined && maxTokens > most) {
    const message = `${param} is too large: ${maxTokens}. This server writes at most ${most} tokens in a request.`;
    throw invalid(param, message);
  }
  return {
    kind: 'generate',
    drawing: drawingOf(body),
    seed: seedOf(body.seed),
    maxTokens: maxTokens ?? Math.min(most, usual ?? most),
    stopTokens: body.stop_token_ids,
    ignoreStopTokens: body.ignore_eos,
    speculate: body.speculate,
    adapter: modelOf(services, body.model).adapter,
  };
}

/** What of a format matters here. */
type Format =
  | Exclude<ResponseFormat, { type: 'json_schema' }>
  | { type: 'json_schema'; json_schema: { schema?: Record<string, unknown> } };

export function constraintOf(format: Format | undefined): Constraint | undefined {
  switch (format?.type) {
    case 'json_object':
      return { kind: 'json' };
    case 'json_schema': {
      const { schema = {} } = format.json_schema;
      return { kind: 'schema', schema: JSON.stringify(schema) };
    }
    case 'grammar':
      return { kind: 'grammar', grammar: format.grammar };
    default:
      return undefined;
  }
}

/** The tokens of a generation as they come; what they amount to is counted in `progress` and told to the call. */
export async function* tokensOf(
  engine: Engine,
  call: Call,
  job: GenerateJob,
  progress: Progress,
): AsyncGenerator<TokenEvent[]> {
  const owned = { ...job, owner: call.key?.owner };
  const span = call.span?.generation(engine.name, job);
  const finishReasons: string[] = [];
  let failure: unknown;
  try {
    for await (const events of engine.generate(owned, call.signal)) {
      const tokens = events.flatMap((event) => take(event, call, progress));
      if (span) finishReasons.push(...tokens.flatMap(({ finish }) => finish ?? []));
      if (tokens.length > 0) yield tokens;
    }
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    span?.end({ ...progress, finishReasons }, failure);
  }
}

function take(event: JobEvent, call: Call, progress: Progress): TokenEvent[] {
  switch (event.type) {
    case 'begun':
      progress.promptTokens += event.promptTokens;
      progress.reusedTokens += event.reusedTokens;
      call.begun(event.promptTokens, event.reusedTokens);
      return [];
    case 'read': {
      const { reusedTokens, reason } = event.prefix;
      progress.promptTokens -= reusedTokens;
      progress.reusedTokens += reusedTokens;
      progress.reason = reason;
      call.reused(reusedTokens, reason);
      return [];
    }
    case 'tokens':
      progress.generated += event.tokens.length;
      call.generated(event.tokens.length);
      return event.tokens;
    case 'done':
      progress.state = event.state;
      progress.guesses = event.guesses;
      return [];
  }
}

export const nothingYet = (): Progress => ({ promptTokens: 0, reusedTokens: 0, generated: 0 });

/** Of requests that write several texts. */
export function refuseSeveral(place: Place, n: number): void {
  if (place.to !== undefined && n > 1) throw unsupported('n', 'A session goes on with one text: n must be 1.');
}

/** A stream has told its status: what goes wrong is told in it, in the form of an answer. */
export function streamError(error: unknown, call: Call): ApiError {
  if (error instanceof ApiError) return call.named(error);
  return new ApiError(500, `The server had an error while processing request ${call.id}.`, {
    code: 'internal_error',
    cause: error,
  });
}
