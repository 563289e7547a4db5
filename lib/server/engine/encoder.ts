// Prompts as ids, for the thread of a model: short ones at once, long ones in a thread of their own, so that what the model
// writes for others does not wait for them.
import { startThread, type Thread } from '../../platform';
import { ApiError, brokenOff, fromWire } from '../errors';
import { type Codec, encodePrompt, type Encoded, type From, withoutTemplate } from './encoding';
import type { EncodingAnswer, EncodingRequest, EncodingSettings } from './encodingThread';
import type { Prompt } from './protocol';

/** Characters that take a few milliseconds with the slowest tokenizers. */
const SHORT = 2048;

interface Waiting {
  done(encoded: Encoded): void;
  fail(error: unknown): void;
}

/** Of one model. The thread begins with the first long prompt, and again with the next one where it has died. */
export class Encoder {
  private thread: Thread | null = null;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;

  constructor(
    private readonly codec: Codec,
    private readonly settings: Omit<EncodingSettings, 'maxPromptTokens'>,
  ) {}

  /** Refuses what the template or the tokenizer refuses, and what has too many tokens. */
  async encode(prompt: Prompt, from: From, signal?: AbortSignal): Promise<Encoded> {
    if (prompt.kind === 'chat' && !this.codec.template) throw withoutTemplate();
    if (prompt.kind === 'ids' || isShort(prompt)) return encodePrompt(this.codec, prompt, from);
    if (signal?.aborted) throw brokenOff();
    const id = this.nextId++;
    return new Promise<Encoded>((resolve, reject) => {
      const skip = (): void => {
        this.waiting.delete(id);
        this.post({ skip: id });
        reject(brokenOff());
      };
      const settled = <T>(act: (value: T) => void): ((value: T) => void) => {
        return (value) => {
          this.waiting.delete(id);
          signal?.removeEventListener('abort', skip);
          act(value);
        };
      };
      signal?.addEventListener('abort', skip, { once: true });
      this.waiting.set(id, { done: settled(resolve), fail: settled(reject) });
      this.post({ id, prompt, from });
    });
  }

  /** Ends the thread. */
  dispose(): void {
    void this.thread?.end();
  }

  private post(request: EncodingRequest): void {
    const { maxPromptTokens } = this.codec;
    this.thread ??= startThread(
      'server/engine/encodingThread',
      { ...this.settings, maxPromptTokens },
      {
        message: (message) => this.hear(message as EncodingAnswer),
        ended: (error) => this.died(error),
      },
    );
    this.thread.post(request);
  }

  private hear(answer: EncodingAnswer): void {
    const waiting = this.waiting.get(answer.id);
    if ('encoded' in answer) waiting?.done(answer.encoded);
    else waiting?.fail(fromWire(answer.error));
  }

  private died(cause: unknown): void {
    this.thread = null;
    const message = 'The server lost this prompt while it made tokens of it.';
    const lost = new ApiError(503, message, { code: 'engine_died', retryAfter: 1, cause });
    for (const { fail } of [...this.waiting.values()]) fail(lost);
  }
}

/** Counts no farther than it must. */
function isShort(prompt: Exclude<Prompt, { kind: 'ids' }>): boolean {
  if (prompt.kind === 'text') return prompt.text.length <= SHORT;
  let length = prompt.tools || prompt.variables ? JSON.stringify([prompt.tools, prompt.variables]).length : 0;
  for (const { content, tool_calls: calls } of prompt.messages) {
    length += 20 + (content?.length ?? 0) + (calls ? JSON.stringify(calls).length : 0);
    if (length > SHORT) return false;
  }
  return length <= SHORT;
}
