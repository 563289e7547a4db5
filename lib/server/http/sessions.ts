// /v1/sessions: conversations as states that are kept, copied and taken back.
import type { Engine } from '../engine/engine';
import type { Prompt, StateInfo } from '../engine/protocol';
import { ApiError, invalid } from '../errors';
import { createdAt, isStoredId, newId } from '../ids';
import { modelOf, type Services } from '../services';
import type { Call } from './call';
import { chatPrompt, messagesOf, toolUse } from './chatInput';
import { type Place, usageOf } from './generate';
import { type Body, parse } from './forms';
import { inspectionBody } from './inspection';
import { listQuery, snapshotBody } from './schemas';

/** What a state of a key is stored under: no other key's states begin so. */
export function keyOf(owner: string, id: string, snapshot?: string): string {
  return snapshot === undefined ? `${owner}.${id}` : `${owner}.${id}.${snapshot}`;
}

function missing(id: string): ApiError {
  const message = `No session '${id.slice(0, 80)}' is there, or it is no longer.`;
  return new ApiError(404, message, { code: 'session_not_found' });
}

/** For the endpoints that write text: where they go on from and keep what they wrote. */
export function placeOf(call: Call, id: string): Place {
  if (!isStoredId(id, 'sess')) throw missing(id);
  const key = keyOf(call.key!.owner, id);
  return { from: key, to: key, keepPart: true };
}

/** The handlers of one request. */
export class Sessions {
  private readonly owner: string;

  constructor(
    private readonly services: Services,
    private readonly call: Call,
  ) {
    this.owner = call.key!.owner;
  }

  async create(body: Body<'session'>): Promise<Response> {
    const { model, prompt, messages, tools, history } = body;
    const { engine, adapter } = modelOf(this.services, model);
    this.call.model = engine.name;
    if (messages) this.call.fields = { prompt: 'messages' };
    if (prompt !== undefined && messages !== undefined) {
      throw new ApiError(400, "A session begins with 'prompt' or with 'messages', not with both.", {
        param: 'messages',
      });
    }
    const functions = (tools ?? []).map((tool) => tool.function);
    if (functions.length > 0) {
      if (!messages) throw invalid('tools', "'tools' needs 'messages': a template writes both.");
      await engine.available();
    }
    const id = newId('sess');
    const read = messages
      ? chatPrompt(messagesOf(messages), toolUse(engine, functions, 'auto', undefined).tools, undefined)
      : prompt === undefined
        ? undefined
        : asPrompt(prompt);
    const { owner } = this;
    const task = { kind: 'create', to: this.key(id), prompt: read, history, owner, adapter } as const;
    const info = await engine.perform(task, this.call.signal, owner);
    const { promptTokens, prefix } = info;
    this.call.begun(promptTokens, 0);
    if (!prefix) return Response.json(describe(id, engine, info));
    const { reusedTokens, reason } = prefix;
    this.call.reused(reusedTokens, reason);
    const progress = { promptTokens: promptTokens - reusedTokens, reusedTokens, reason, generated: 0 };
    return Response.json({ ...describe(id, engine, info), usage: usageOf([progress]) });
  }

  /** Newest first, as OpenAI's lists. */
  async list(query: Readonly<Record<string, string>>): Promise<Response> {
    const { limit = 100, after } = parse(listQuery, query);
    if (after !== undefined && !isStoredId(after, 'sess')) throw invalid('after', "Invalid 'after': no session's id.");
    const { owner } = this;
    const found: { id: string; model: string; bytes: number }[] = [];
    for (const engine of this.services.engines) {
      // One more says whether there are more.
      const task = { kind: 'sessions', owner, after, limit: limit + 1 } as const;
      const sessions = await engine.perform(task, this.call.signal);
      found.push(...sessions.map((each) => ({ ...each, model: engine.name })));
    }
    found.sort((a, b) => (a.id < b.id ? 1 : -1));
    const data = found.slice(0, limit).map(({ id, model, bytes }) => {
      return { id, object: 'session', created_at: createdAt(id), model, bytes };
    });
    const ends = { first_id: data.at(0)?.id ?? null, last_id: data.at(-1)?.id ?? null };
    return Response.json({ object: 'list', data, ...ends, has_more: found.length > limit });
  }

  async get(id: string): Promise<Response> {
    const engine = await this.find(id);
    const info = await engine.perform({ kind: 'describe', key: this.key(id) }, this.call.signal);
    return Response.json(describe(id, engine, info));
  }

  async fork(id: string): Promise<Response> {
    const engine = await this.find(id);
    const copy = newId('sess');
    return Response.json(describe(copy, engine, await this.copy(engine, this.key(id), this.key(copy))));
  }

  async snapshot(id: string, body: Body<'snapshot'>): Promise<Response> {
    const engine = await this.find(id);
    const { name = `s${Date.now().toString(36)}` } = body;
    const info = await this.copy(engine, this.key(id), this.key(id, name));
    const { length, bytes } = info;
    return Response.json({ object: 'session.snapshot', name, session_id: id, length, bytes });
  }

  async snapshots(id: string): Promise<Response> {
    const engine = await this.find(id);
    const prefix = `${this.key(id)}.`;
    const kept = await engine.perform({ kind: 'list', prefix }, this.call.signal);
    const data = kept.map(({ key, bytes }) => {
      return { object: 'session.snapshot', name: key.slice(prefix.length), session_id: id, bytes };
    });
    return Response.json({ object: 'list', data });
  }

  async deleteSnapshot(id: string, name: string): Promise<Response> {
    const engine = await this.find(id);
    const { name: checked } = parse(snapshotBody, { name });
    const [deleted] = await engine.perform({ kind: 'delete', keys: [this.key(id, checked)] }, this.call.signal);
    if (!deleted) throw missing(`${id}/${name}`);
    return Response.json({ object: 'session.snapshot', name, session_id: id, deleted: true });
  }

  async rollback(id: string, body: Body<'rollback'>): Promise<Response> {
    const { tokens, snapshot } = body;
    const engine = await this.find(id);
    const key = this.key(id);
    const info =
      snapshot === undefined
        ? await engine.perform({ kind: 'rollback', key, tokens: tokens! }, this.call.signal, this.owner)
        : await this.copy(engine, this.key(id, snapshot), key);
    return Response.json(describe(id, engine, info));
  }

  async inspect(id: string, body: Body<'inspect'>): Promise<Response> {
    const { tokens = 256, threshold = 0.1, ...which } = body;
    const engine = await this.find(id);
    const task = { kind: 'inspect', key: this.key(id), owner: this.owner, tokens, threshold, ...which } as const;
    const found = await engine.perform(task, this.call.signal);
    this.call.begun(found.read, found.reused);
    return Response.json(inspectionBody(id, engine.name, found));
  }

  /** Also where it cannot be read any more. */
  async delete(id: string): Promise<Response> {
    const engine = await this.find(id);
    const snapshots = await engine.perform({ kind: 'list', prefix: `${this.key(id)}.` }, this.call.signal);
    const keys = [...snapshots.map(({ key }) => key), this.key(id)];
    await engine.perform({ kind: 'delete', keys }, this.call.signal);
    return Response.json({ id, object: 'session', deleted: true });
  }

  private key(id: string, snapshot?: string): string {
    return keyOf(this.owner, id, snapshot);
  }

  private copy(engine: Engine, from: string, to: string): Promise<StateInfo> {
    return engine.perform({ kind: 'copy', from, to }, this.call.signal);
  }

  /** The model whose session it is. */
  private async find(id: string): Promise<Engine> {
    if (!isStoredId(id, 'sess')) throw missing(id);
    for (const engine of this.services.engines) {
      if (!(await engine.perform({ kind: 'has', key: this.key(id) }, this.call.signal))) continue;
      this.call.model = engine.name;
      return engine;
    }
    throw missing(id);
  }
}

function asPrompt(prompt: string | Int32Array): Prompt {
  return typeof prompt === 'string' ? { kind: 'text', text: prompt } : { kind: 'ids', ids: prompt };
}

function describe(id: string, engine: Engine, { length, bytes, adapter }: StateInfo): object {
  const model = adapter === undefined ? engine.name : `${engine.name}:${adapter}`;
  return { id, object: 'session', created_at: createdAt(id), model, length, bytes };
}
