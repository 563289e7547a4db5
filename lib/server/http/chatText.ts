// What a model says in a chat, token by token: content and calls of functions, as deltas.
import type { Engine } from '../engine/engine';
import type { FinishReason, TokenEvent, TokenInfo } from '../engine/protocol';
import { passingId } from '../ids';
import { type IsText, type ToolCall, ToolReader } from '../tools';
import type { FunctionTool } from './chatInput';

export interface NamedCall extends ToolCall {
  id: string;
}

/** What some tokens add to one text. */
export interface ChatDelta {
  sample: number;
  content: string;
  calls: NamedCall[];
  logprobs: ChatLogprob[];
  finish?: FinishReason | 'tool_calls';
}

export interface ChatLogprob {
  token: string;
  bytes: number[] | null;
  logprob: number;
  top_logprobs: TokenInfo[];
}

/** Reads the tokens of all samples of a request. */
export class ChatText {
  private readonly readers = new Map<number, ToolReader>();
  private readonly called = new Set<number>();

  constructor(
    private readonly engine: Engine,
    private readonly reads: boolean,
    private readonly tools: readonly FunctionTool[],
  ) {}

  take(tokens: readonly TokenEvent[]): ChatDelta[] {
    return tokens.map((token) => {
      const { sample, text, info, finish } = token;
      const delta: ChatDelta = { sample, content: text, calls: [], logprobs: [] };
      if (info) {
        const { top, ...own } = info;
        delta.logprobs.push({ ...own, top_logprobs: top });
      }
      if (this.reads) this.find(delta, finish !== undefined);
      if (finish !== undefined) delta.finish = this.called.has(sample) && finish === 'stop' ? 'tool_calls' : finish;
      return delta;
    });
  }

  private readonly isText: IsText = (name, parameter) => {
    const properties = this.tools.find((tool) => tool.name === name)?.parameters?.properties;
    const schema = (properties as Record<string, { type?: unknown } | undefined> | undefined)?.[parameter];
    return schema?.type === 'string';
  };

  private find(delta: ChatDelta, last: boolean): void {
    const form = this.engine.info?.toolForm;
    if (!form) return;
    const { sample } = delta;
    const reader = this.readers.get(sample) ?? new ToolReader(form, this.isText);
    this.readers.set(sample, reader);
    const found = [reader.push(delta.content), ...(last ? [reader.end()] : [])];
    delta.content = found.map(({ content }) => content).join('');
    delta.calls = found.flatMap(({ calls }) => calls).map((call) => ({ ...call, id: passingId('call_') }));
    if (delta.calls.length > 0) this.called.add(sample);
  }
}
