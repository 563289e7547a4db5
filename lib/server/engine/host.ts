// A model in its thread: what requests need of it, and the work that is no generation.
import { noGrad } from '../../autograd';
import { argumentError, type Device, memory, scope } from '../../core';
import { setDefaultDevice, setNumThreads } from '../../backends';
import { BatchedModel, type BatchedSessionOptions, PrefixCache, type Session, type Snapshot } from '../../inference';
import { loadTokenizer, type Tokenizer } from '../../io';
import { AutoModelForCausalLM, type CausalLM } from '../../models';
import { importFile } from '../../platform';
import { invalid } from '../errors';
import { createdAt, isStoredId } from '../ids';
import { loadChatTemplate } from './chatTemplate';
import { begunWith, type Conversation, noteOf } from './conversation';
import { Encoder } from './encoder';
import type { Encoded, From } from './encoding';
import { fingerprint } from './fingerprint';
import { begin, prefixOf } from './generation';
import { Grammars } from './grammar';
import { inspectSession } from './inspect';
import type { EngineSettings, EngineStats, ModelInfo, Prompt, StateInfo, Task, TaskResults } from './protocol';
import { connectRedis } from './redis';
import { States } from './states';

/** At least so many keys are looked at together. */
const LISTED = 200;

/** Everything of one model. */
export class Host {
  private constructor(
    readonly settings: EngineSettings,
    readonly model: CausalLM,
    readonly tokenizer: Tokenizer,
    private readonly encoder: Encoder,
    readonly states: States,
    readonly grammars: Grammars,
    private readonly batch: BatchedModel,
    readonly prefixes: PrefixCache,
    /** What guesses for the model. */
    readonly draft: CausalLM | null,
    readonly info: ModelInfo,
  ) {}

  /** By the last report. */
  private seen = { ticks: 0, tokens: 0 };
  /** The last one, under way or over. */
  private inspections: Promise<void> = Promise.resolve();

  static async load(settings: EngineSettings): Promise<Host> {
    const began = performance.now();
    for (const path of settings.imports) await importFile(path);
    if (settings.device !== undefined) setDefaultDevice(settings.device as Device);
    if (settings.threads !== undefined) setNumThreads(settings.threads);
    const { folder, dtype, weights } = settings;
    const tokenizer = await loadTokenizer(folder);
    const template = await loadChatTemplate(folder, settings.chatTemplate);
    const model = await AutoModelForCausalLM.fromPretrained(folder, { dtype, weights });
    for (const [name, dir] of Object.entries(settings.adapters)) await model.loadAdapter(name, dir);
    const draft =
      settings.draft === undefined
        ? null
        : await AutoModelForCausalLM.fromPretrained(settings.draft, { dtype, weights });
    if (draft && draft.vocabSize !== model.vocabSize) {
      const expected = `a model of ${model.vocabSize} tokens, like the one that it guesses for`;
      throw argumentError('INVALID_ARGUMENT', 'serve', 'draft', expected, `one of ${draft.vocabSize}`);
    }
    const { stateBytes: bytes, stateFolder, maxStates: most, maxRunning } = settings;
    const weightsName = async (): Promise<string> =>
      `${settings.name}:${await fingerprint(folder, dtype, weights, model.device)}`;
    const redis =
      settings.redis === undefined ? undefined : await connectRedis(settings.redis, model, await weightsName());
    const states = new States(model, { bytes, folder: stateFolder, redis, most });
    // No more than those run at the same time, so that none of them is refused here.
    const batch = new BatchedModel(model, { maxBatch: maxRunning, maxQueue: maxRunning });
    const prefixes = new PrefixCache(model, { maxBytes: settings.prefixBytes });
    const toolForm = template?.toolForm ?? null;
    const grammars = new Grammars(tokenizer, model.vocabSize, model.stopTokens, toolForm);
    const info: ModelInfo = {
      name: settings.name,
      vocabSize: model.vocabSize,
      stateBytes: stateBytes(model),
      parameters: model.namedParameters().reduce((sum, [, { size }]) => sum + size, 0),
      chat: template !== null,
      toolForm,
      device: model.device,
      family: model.config.modelType,
      loaded: performance.now() - began,
    };
    const { maxPromptTokens, chatTemplate } = settings;
    const encoder = new Encoder({ tokenizer, template, maxPromptTokens }, { folder, chatTemplate });
    return new Host(settings, model, tokenizer, encoder, states, grammars, batch, prefixes, draft, info);
  }

  /** A prompt as ids of the model. */
  async encode(prompt: Prompt, from: From, signal: AbortSignal): Promise<Encoded> {
    const encoded = await this.encoder.encode(prompt, from, signal);
    const { vocabSize } = this.model;
    const wrong = encoded.ids.find((id) => id >= vocabSize);
    if (wrong === undefined) return encoded;
    throw invalid('prompt', `Token ids of this model are below ${vocabSize}; the prompt holds ${wrong}.`);
  }

  createSession(options: BatchedSessionOptions): Session {
    return this.batch.createSession(options);
  }

  /** Keeps a session's state, which is stored when this resolves. */
  async store(key: string, session: Session, note: string): Promise<StateInfo> {
    using snapshot = session.snapshot();
    snapshot.note = note;
    await this.states.set(key, snapshot);
    return this.infoOf(snapshot);
  }

  /** The name of the adapter that a state came through. */
  adapterOf(snapshot: Snapshot): string | undefined {
    return this.model.identified(snapshot.identity!)?.adapter;
  }

  private infoOf(snapshot: Snapshot): StateInfo {
    const adapter = this.adapterOf(snapshot);
    return { length: snapshot.length, bytes: snapshot.bytes, ...(adapter !== undefined && { adapter }) };
  }

  /** Forgets states of responses that are too old. */
  async sweep(): Promise<void> {
    const oldest = Date.now() / 1000 - this.settings.responseHours * 3600;
    for (const key of await this.states.keys()) {
      const id = key.split('.')[1];
      if (isStoredId(id, 'resp') && createdAt(id) < oldest) await this.states.delete(key);
    }
  }

  get stats(): EngineStats {
    const tensorBytes = memory().devices.reduce((sum, { bytes }) => sum + bytes, 0);
    const { states: prefixStates, bytes: prefixBytes } = this.prefixes.numbers;
    const { active, ticks, tokens } = this.batch.numbers;
    const lately = ticks - this.seen.ticks;
    const tokensPerTick = lately === 0 ? 0 : (tokens - this.seen.tokens) / lately;
    this.seen = { ticks, tokens };
    return { ...this.states.stats, prefixStates, prefixBytes, active, tokensPerTick, tensorBytes };
  }

  async perform<K extends Task['kind']>(task: Task & { kind: K }, signal: AbortSignal): Promise<TaskResults[K]>;
  async perform(task: Task, signal: AbortSignal): Promise<TaskResults[Task['kind']]> {
    switch (task.kind) {
      case 'create':
        return this.create(task, signal);
      case 'describe': {
        using snapshot = await this.states.get(task.key);
        return this.infoOf(snapshot);
      }
      case 'copy':
        return this.states.alone(task.to, signal, async () => {
          using snapshot = await this.states.get(task.from);
          await this.states.set(task.to, snapshot);
          return this.infoOf(snapshot);
        });
      case 'rollback':
        return this.states.alone(task.key, signal, () => this.rollback(task.key, task.tokens, signal));
      case 'delete':
        return this.delete(task.keys, signal);
      case 'has':
        return this.states.has(task.key);
      case 'list':
        return [...(await this.states.sizes(task.prefix))].map(([key, bytes]) => ({ key, bytes }));
      case 'sessions':
        return this.sessions(task);
      case 'inspect': {
        // One at a time: between them and the batch the thread is shared out evenly.
        const inspect = (): Promise<TaskResults['inspect']> => inspectSession(this, task, signal);
        const found = this.inspections.then(inspect);
        this.inspections = found.then(
          () => undefined,
          () => undefined,
        );
        return found;
      }
      case 'embed':
        return this.embed(task.input, task.adapter, signal);
    }
  }

  /** Their ids begin with the time, and their snapshots have their ids and another name. */
  private async sessions({ owner, after, limit }: Task & { kind: 'sessions' }): Promise<TaskResults['sessions']> {
    const found: TaskResults['sessions'] = [];
    let before = after === undefined ? undefined : `${owner}.${after}`;
    for (;;) {
      const page = await this.states.page({ prefix: `${owner}.sess_`, before, limit: Math.max(limit, LISTED) });
      for (const [key, bytes] of page) {
        const [, id, snapshot] = key.split('.');
        if (snapshot === undefined) found.push({ id, bytes });
      }
      if (page.length === 0 || found.length >= limit) return found.slice(0, limit);
      before = page.at(-1)![0];
    }
  }

  /** None goes where one of them is in use. */
  private async delete(keys: readonly string[], signal: AbortSignal): Promise<boolean[]> {
    const held: string[] = [];
    try {
      for (const key of keys) {
        await this.states.hold(key, signal);
        held.push(key);
      }
      const deleted: boolean[] = [];
      for (const key of keys) deleted.push(await this.states.delete(key));
      return deleted;
    } finally {
      held.forEach((key) => this.states.release(key));
    }
  }

  private async create(task: Task & { kind: 'create' }, signal: AbortSignal): Promise<TaskResults['create']> {
    const { prompt, to } = task;
    using session = (await begin(this, undefined, task)).session;
    const conversation: Conversation = begunWith(prompt);
    let promptTokens = 0;
    if (prompt) {
      const { ids, stands } = await this.encode(prompt, 'opening', signal);
      promptTokens = ids.length;
      if (promptTokens > 0) (await session.read(ids, { signal })).dispose();
      if (stands && stands !== 'said') conversation.opening = { stands, length: promptTokens };
    }
    const prefix = prefixOf(session);
    return { ...(await this.store(to, session, noteOf(conversation))), promptTokens, ...(prefix && { prefix }) };
  }

  private async rollback(key: string, tokens: number, signal: AbortSignal): Promise<StateInfo> {
    const { session: begun, conversation } = await begin(this, key);
    using session = begun;
    if (tokens > session.length) {
      throw invalid('tokens', `The session holds ${session.length} tokens; ${tokens} cannot be taken back.`);
    }
    await session.rollback(tokens, { signal });
    return this.store(key, session, noteOf(conversation));
  }

  private async embed(
    input: readonly (string | readonly number[] | Int32Array)[],
    adapter: string | undefined,
    signal: AbortSignal,
  ): Promise<TaskResults['embed']> {
    const vectors: Float32Array[] = [];
    let tokens = 0;
    for (const each of input) {
      const prompt =
        typeof each === 'string' ? ({ kind: 'text', text: each } as const) : { kind: 'ids' as const, ids: each };
      const { ids } = await this.encode(prompt, 'empty', signal);
      if (ids.length === 0) throw invalid('input', 'An input must hold at least one token; this one holds none.');
      tokens += ids.length;
      vectors.push(await this.batch.embed(ids, { signal, adapter }));
    }
    return { vectors, tokens };
  }
}

/** What a conversation takes behind its first token. */
function stateBytes(model: CausalLM): number {
  using session = model.createSession();
  noGrad(() => scope(() => void session.feed([0])));
  using snapshot = session.snapshot();
  return snapshot.bytes;
}
