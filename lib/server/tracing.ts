// Spans of OpenTelemetry, where the program has set it up: of each request one, and of each generation one within it.
import type * as OpenTelemetry from '@opentelemetry/api';
import type { Context, Span, SpanStatusCode } from '@opentelemetry/api';
import { findModule, loadModule, packageVersion } from '../platform';
import type { GenerateJob } from './engine/protocol';
import { ApiError } from './errors';

type Api = typeof OpenTelemetry;
type Attributes = Record<string, string | number | string[] | undefined>;

const PACKAGE = '@opentelemetry/api';

/** What a generation has come to. */
export interface Outcome {
  promptTokens: number;
  reusedTokens: number;
  generated: number;
  /** Of each text. */
  finishReasons: string[];
}

/** Makes spans by the names of OpenTelemetry's conventions for HTTP and for generative models. */
export class Tracing {
  private constructor(private readonly api: Api) {}

  /** Null where the package is not installed. */
  static load(): Tracing | null {
    return findModule(PACKAGE) === undefined ? null : new Tracing(loadModule(PACKAGE) as Api);
  }

  /** Of a request that has come with these headers; null where nobody records it. */
  request(method: string, path: string, headers: Record<string, string>): RequestSpan | null {
    const { trace, context, propagation, SpanKind } = this.api;
    const tracer = trace.getTracer('fast-weights', packageVersion());
    const parent = propagation.extract(context.active(), headers);
    const attributes = { 'http.request.method': method, 'url.path': path, 'url.scheme': 'http' };
    const span = tracer.startSpan(method, { kind: SpanKind.SERVER, attributes }, parent);
    if (!span.isRecording()) return null;
    return new RequestSpan(this.api, span, trace.setSpan(parent, span));
  }
}

export class RequestSpan {
  constructor(
    private readonly api: Api,
    private readonly span: Span,
    private readonly context: Context,
  ) {}

  /** Of what the request has the model write. */
  generation(model: string, job: GenerateJob): GenerationSpan {
    const operation = job.prompt.kind === 'chat' ? 'chat' : 'text_completion';
    const { drawing } = job;
    const { trace, SpanKind } = this.api;
    const span = trace
      .getTracer('fast-weights', packageVersion())
      .startSpan(`${operation} ${model}`, { kind: SpanKind.INTERNAL }, this.context);
    setAll(span, {
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': 'fast-weights',
      'gen_ai.request.model': model,
      'gen_ai.request.max_tokens': job.maxTokens,
      'gen_ai.request.choice.count': job.samples === 1 ? undefined : job.samples,
      'gen_ai.request.seed': job.seed,
      'gen_ai.request.stop_sequences': job.stop.length > 0 ? [...job.stop] : undefined,
      'gen_ai.request.temperature': drawing.temperature,
      'gen_ai.request.top_p': drawing.topP,
      'gen_ai.request.top_k': drawing.topK,
      'gen_ai.request.presence_penalty': drawing.presencePenalty,
      'gen_ai.request.frequency_penalty': drawing.frequencyPenalty,
    });
    return new GenerationSpan(span, this.api.SpanStatusCode.ERROR);
  }

  /** When the last byte of the answer is written. */
  end(route: string, status: number, error: unknown): void {
    const { span } = this;
    span.updateName(route);
    setAll(span, { 'http.route': route.slice(route.indexOf(' ') + 1), 'http.response.status_code': status });
    if (status >= 500) fail(span, this.api.SpanStatusCode.ERROR, error ?? String(status));
    span.end();
  }
}

export class GenerationSpan {
  constructor(
    private readonly span: Span,
    private readonly failed: SpanStatusCode.ERROR,
  ) {}

  end({ promptTokens, reusedTokens, generated, finishReasons }: Outcome, error: unknown): void {
    const { span } = this;
    setAll(span, {
      'gen_ai.usage.input_tokens': promptTokens + reusedTokens,
      'gen_ai.usage.cache_read.input_tokens': reusedTokens,
      'gen_ai.usage.output_tokens': generated,
      'gen_ai.response.finish_reasons': finishReasons.length > 0 ? finishReasons : undefined,
    });
    if (error !== undefined) fail(span, this.failed, error);
    span.end();
  }
}

function setAll(span: Span, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) span.setAttribute(name, value);
}

function fail(span: Span, code: SpanStatusCode.ERROR, error: unknown): void {
  const known = error instanceof ApiError;
  span.setAttribute('error.type', (known && error.code) || 'internal_error');
  // What else went wrong stays in the log.
  span.setStatus({ code, ...(known && { message: error.message }) });
}
