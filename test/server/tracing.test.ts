// Spans of requests and generations, by a provider that keeps them.
import { type Attributes, type Context, propagation, type Span, type SpanKind, trace } from '@opentelemetry/api';
import { expect } from 'chai';
import { serving, until } from './running';

interface Kept {
  name: string;
  kind: SpanKind | undefined;
  attributes: Attributes;
  spanId: string;
  traceId: string;
  parent: string | undefined;
  status: { code: number; message?: string } | undefined;
  ended: boolean;
}

const kept: Kept[] = [];

/** What of a span the server uses, as `kept` has it then. */
function startSpan(name: string, options: { kind?: SpanKind; attributes?: Attributes } = {}, context?: Context): Span {
  const parent = context && trace.getSpanContext(context);
  const traceId = parent?.traceId ?? '1'.repeat(32);
  const spanId = String(kept.length + 1).padStart(16, '0');
  const attributes = { ...options.attributes };
  const { kind } = options;
  const record: Kept = {
    name,
    kind,
    attributes,
    spanId,
    traceId,
    parent: parent?.spanId,
    status: undefined,
    ended: false,
  };
  kept.push(record);
  const span = {
    isRecording: () => true,
    spanContext: () => ({ traceId, spanId, traceFlags: 1 }),
    setAttribute: (key: string, value: string) => void (attributes[key] = value),
    setStatus: (status: Kept['status']) => void (record.status = status),
    updateName: (name: string) => void (record.name = name),
    end: () => void (record.ended = true),
  };
  return span as unknown as Span;
}

describe('server: spans', function () {
  this.timeout(60_000);
  const running = serving();
  const drawn = { model: 'small', max_tokens: 6, temperature: 0.5, seed: 3, ignore_eos: true };

  before(() => {
    trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan, startActiveSpan: () => expect.fail() }) });
    propagation.setGlobalPropagator({
      inject: () => undefined,
      extract(context, carrier: Record<string, string>) {
        const [, traceId, spanId] = carrier.traceparent?.split('-') ?? [];
        return traceId ? trace.setSpanContext(context, { traceId, spanId, traceFlags: 1 }) : context;
      },
      fields: () => ['traceparent'],
    });
  });
  beforeEach(() => void kept.splice(0));
  after(() => {
    trace.disable();
    propagation.disable();
  });

  async function ask(path: string, body: object, headers: Record<string, string> = {}): Promise<Kept[]> {
    await running().ask('POST', path, body, headers);
    await until(() => kept.every(({ ended }) => ended));
    return kept;
  }

  it('one of a request, within the span of its client, and one of what is generated', async () => {
    const [traceId, parent] = ['a'.repeat(32), 'b'.repeat(16)];
    const traceparent = `00-${traceId}-${parent}-01`;
    const messages = [{ role: 'user', content: 'hello' }];
    const [request, generation] = await ask(
      '/v1/chat/completions',
      { ...drawn, messages, stop: ['\u0000'] },
      { traceparent },
    );
    expect(kept).to.have.length(2);
    expect([request.name, request.kind, request.traceId, request.parent]).to.eql([
      'POST /v1/chat/completions',
      1,
      traceId,
      parent,
    ]);
    expect(request.attributes).to.include({
      'http.request.method': 'POST',
      'http.route': '/v1/chat/completions',
      'http.response.status_code': 200,
    });
    expect([generation.name, generation.traceId, generation.parent]).to.eql(['chat small', traceId, request.spanId]);
    expect(generation.attributes).to.deep.include({
      'gen_ai.operation.name': 'chat',
      'gen_ai.request.model': 'small',
      'gen_ai.request.max_tokens': 6,
      'gen_ai.request.temperature': 0.5,
      'gen_ai.request.seed': 3,
      'gen_ai.request.stop_sequences': ['\u0000'],
      'gen_ai.usage.input_tokens': 24,
      'gen_ai.usage.output_tokens': 6,
      'gen_ai.response.finish_reasons': ['length'],
    });
    expect([request.status, generation.status]).to.eql([undefined, undefined]);
  });

  it('a stream, and texts that go on', async () => {
    const [request, generation] = await ask('/v1/completions', { ...drawn, prompt: 'abc', n: 2, stream: true });
    expect([request.name, request.parent, generation.name]).to.eql([
      'POST /v1/completions',
      undefined,
      'text_completion small',
    ]);
    expect(generation.attributes).to.deep.include({
      'gen_ai.request.choice.count': 2,
      'gen_ai.usage.input_tokens': 3,
      'gen_ai.usage.output_tokens': 12,
      'gen_ai.response.finish_reasons': ['length', 'length'],
    });
  });

  it('what fails says so, once', async () => {
    const [request, generation] = await ask('/v1/completions', { ...drawn, prompt: [9999] });
    expect(request.attributes['http.response.status_code']).to.equal(400);
    expect([request.status, generation.status?.code]).to.eql([undefined, 2]);
    expect(generation.status?.message).to.match(/Token ids/);
    expect(await ask('/v1/nothing', {})).to.have.length(3);
    expect(kept[2].name).to.equal('unknown');
  });
});
