// The routes, and what every request goes through: its name, its key, its limits, its end.
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { liveInspectionPage } from '../../inspect';
import { packageFile } from '../../platform';
import { ApiError, toApiError } from '../errors';
import { isLoopback } from '../options';
import { namesOf, type Services } from '../services';
import { readBody } from './body';
import { Call } from './call';
import { chat } from './chat';
import { completions } from './completions';
import { embeddings } from './embeddings';
import type { Body, Form } from './forms';
import { deleteResponse, responses, storedResponse } from './responses';
import { placeOf, Sessions } from './sessions';

interface Variables {
  call: Call;
}
type Env = { Variables: Variables };
type AppContext = Context<Env>;

export function createApp(services: Services): Hono<Env> {
  const app = new Hono<Env>();
  const { options, engines, bodies } = services;
  app.use('*', observe(services));
  app.use('*', checkHost(services));

  const page = packageFile('lib', 'server', 'page', 'index.html');
  app.get('/', (c) => c.html(page, 200, pageHeaders("frame-src 'self'; frame-ancestors 'none'")));
  const inspector = liveInspectionPage();
  app.get('/inspector', (c) => c.html(inspector, 200, pageHeaders("frame-ancestors 'self'")));
  app.get('/health', (c) => c.json({ status: 'ok' }));
  app.get('/ready', (c) => {
    const models = Object.fromEntries(engines.map(({ name, status }) => [name, status]));
    const ready = !services.stopping && engines.every(({ status }) => status === 'ready');
    return c.json({ ready, stopping: services.stopping, models }, ready ? 200 : 503);
  });
  app.get('/metrics', authenticate(services), async (c) => {
    const { registry } = services.metrics;
    return c.text(await registry.metrics(), 200, { 'content-type': registry.contentType });
  });

  app.use('/v1/*', authenticate(services));
  app.get('/v1/models', (c) =>
    c.json({ object: 'list', data: engines.flatMap(namesOf).map((each) => describeModel(services, each)) }),
  );
  app.get('/v1/models/:model{.+}', (c) => c.json(describeModel(services, c.req.param('model'))));

  app.use('/v1/*', enter(services));
  const call = (c: AppContext): Call => c.get('call');
  const body = <F extends Form>(c: AppContext, form: F): Promise<Body<F>> =>
    readBody(c, form, { bodies, maxBytes: options.maxBodyBytes, signal: call(c).signal });
  app.post('/v1/completions', async (c) => completions(services, call(c), await body(c, 'completion')));
  app.post('/v1/chat/completions', async (c) => chat(services, call(c), await body(c, 'chat')));
  app.post('/v1/embeddings', async (c) => embeddings(services, call(c), await body(c, 'embedding')));
  app.post('/v1/responses', async (c) => responses(services, call(c), await body(c, 'response')));
  app.get('/v1/responses/:id', (c) => storedResponse(services, call(c), c.req.param('id')));
  app.delete('/v1/responses/:id', (c) => deleteResponse(services, call(c), c.req.param('id')));

  const sessions = (c: AppContext): Sessions => new Sessions(services, call(c));
  const id = (c: AppContext): string => c.req.param('id')!;
  app.post('/v1/sessions', async (c) => sessions(c).create(await body(c, 'session')));
  app.get('/v1/sessions', (c) => sessions(c).list(c.req.query()));
  app.get('/v1/sessions/:id', (c) => sessions(c).get(id(c)));
  app.delete('/v1/sessions/:id', (c) => sessions(c).delete(id(c)));
  app.post('/v1/sessions/:id/fork', (c) => sessions(c).fork(id(c)));
  app.post('/v1/sessions/:id/rollback', async (c) => sessions(c).rollback(id(c), await body(c, 'rollback')));
  app.post('/v1/sessions/:id/inspect', async (c) => sessions(c).inspect(id(c), await body(c, 'inspect')));
  app.get('/v1/sessions/:id/snapshots', (c) => sessions(c).snapshots(id(c)));
  app.post('/v1/sessions/:id/snapshots', async (c) => sessions(c).snapshot(id(c), await body(c, 'snapshot')));
  app.delete('/v1/sessions/:id/snapshots/:name', (c) => sessions(c).deleteSnapshot(id(c), c.req.param('name')));
  app.post('/v1/sessions/:id/completions', async (c) =>
    completions(services, call(c), await body(c, 'completion'), placeOf(call(c), id(c))),
  );
  app.post('/v1/sessions/:id/chat/completions', async (c) =>
    chat(services, call(c), await body(c, 'chat'), placeOf(call(c), id(c))),
  );

  app.notFound((c) => {
    const message = `Unknown request URL: ${c.req.method} ${c.req.path.slice(0, 200)}.`;
    return failure(c, new ApiError(404, message, { code: 'unknown_url' }));
  });
  app.onError((error, c) => failure(c, c.get('call').named(toApiError(error, c.get('call').id))));
  return app;
}

/** A page is one file and loads nothing else but its frames. */
const pageHeaders = (frames: string): Record<string, string> => ({
  'content-security-policy': `default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; form-action 'none'; base-uri 'none'; ${frames}`,
  'referrer-policy': 'no-referrer',
});

function observe(services: Services): MiddlewareHandler<Env> {
  return async (c, next) => {
    const call = new Call(services, c.req.method, c.req.path, c.req.header('x-request-id'));
    c.set('call', call);
    call.span = services.tracing?.request(c.req.method, c.req.path, c.req.header()) ?? null;
    const { signal } = c.req.raw;
    signal.addEventListener('abort', () => call.gone(), { once: true });
    await next();
    // What middleware is mounted under says nothing of where the request went.
    call.route = routeOf(c);
    c.header('x-request-id', call.id);
    c.header('x-content-type-options', 'nosniff');
    if (call.key) for (const [name, value] of Object.entries(services.limits.headers(call.key))) c.header(name, value);
    if (services.stopping) c.header('connection', 'close');
    if (!c.res.headers.get('content-type')?.startsWith('text/event-stream')) call.end(c.res.status, c.error);
  };
}

/** The pattern of the handler, without that of middleware; requests that fit none are one. */
function routeOf(c: AppContext): string {
  const handler = c.req.matchedRoutes.findLast(({ path, method }) => !path.endsWith('*') && method !== 'ALL');
  return handler ? `${handler.method} ${handler.path}` : 'unknown';
}

/** A page that has got its own name to lead here must not speak for the user of this machine. */
function checkHost({ options, keys }: Services): MiddlewareHandler<Env> {
  const local = !keys.needed && isLoopback(options.host);
  return async (c, next) => {
    const name = (c.req.header('host') ?? 'localhost').replace(/:\d+$/, '');
    if (local && !isLoopback(name)) {
      const message = `This server is asked as localhost, not as '${name.slice(0, 100)}'.`;
      throw new ApiError(403, message, { code: 'wrong_host' });
    }
    await next();
  };
}

function authenticate({ keys }: Services): MiddlewareHandler<Env> {
  return async (c, next) => {
    c.get('call').key = keys.holder(c.req.header('authorization'));
    await next();
  };
}

/** Work counts for the limits of its key. */
function enter(services: Services): MiddlewareHandler<Env> {
  return async (c, next) => {
    if (services.stopping) throw new ApiError(503, 'The server is stopping.', { code: 'stopping', retryAfter: 1 });
    const call = c.get('call');
    call.enter(call.key!);
    await next();
  };
}

function failure(c: AppContext, error: ApiError): Response {
  c.error = error;
  const headers: Record<string, string> = {};
  if (error.retryAfter !== undefined) headers['retry-after'] = String(error.retryAfter);
  // What is left of the body is not read.
  if (error.status === 408 || error.status === 413) headers.connection = 'close';
  if (error.status === 401) headers['www-authenticate'] = 'Bearer';
  return Response.json(error.body, { status: error.status, headers });
}

function describeModel(services: Services, name: string): object {
  const engine = services.engines.find((each) => namesOf(each).includes(name));
  if (!engine)
    throw new ApiError(404, `The model '${name.slice(0, 100)}' does not exist.`, {
      param: 'model',
      code: 'model_not_found',
    });
  const { info, status } = engine;
  const details = info && {
    parameters: info.parameters,
    vocabulary: info.vocabSize,
    state_bytes: info.stateBytes,
    chat: info.chat,
    tools: info.toolForm !== null,
  };
  return {
    id: name,
    object: 'model',
    created: services.since,
    owned_by: 'fast-weights',
    status,
    ...details,
    ...(name !== engine.name && { parent: engine.name }),
  };
}
