// A prompt as ids: messages through the template, text through the tokenizer. It takes long for long ones.
import type { Tokenizer } from '../../io';
import { ApiError, invalid } from '../errors';
import type { ChatTemplate, Standing } from './chatTemplate';
import type { Prompt } from './protocol';

/** How a state stands that a prompt goes on from; `empty` has read nothing, and `opening` is of one that only reads. */
export type From = Standing | 'empty' | 'opening';

/** What a prompt is made of. */
export interface Encoded {
  ids: number[];
  /** Where messages end among them. */
  messageEnds: number[];
  /** How the state stands behind them, where the assistant does not go on. */
  stands?: Standing;
}

/** What turns text into ids. */
export interface Codec {
  tokenizer: Tokenizer;
  /** A model without one is not for chats. */
  template: ChatTemplate | null;
  /** Longer ones are refused. */
  maxPromptTokens: number;
}

export function encodePrompt(codec: Codec, prompt: Prompt, from: From): Encoded {
  const encoded = encode(codec, prompt, from);
  const { length } = encoded.ids;
  if (length <= codec.maxPromptTokens) return encoded;
  const message = `This server reads at most ${codec.maxPromptTokens} tokens in a request; the prompt has ${length}.`;
  throw invalid('prompt', message, 'context_length_exceeded');
}

function encode({ tokenizer, template }: Codec, prompt: Prompt, from: From): Encoded {
  if (prompt.kind === 'ids') return { ids: [...prompt.ids], messageEnds: [] };
  const begins = from === 'empty' || from === 'opening';
  if (prompt.kind === 'text') {
    return { ids: tokenizer.encode(prompt.text, { addSpecialTokens: begins }), messageEnds: [] };
  }
  if (!template) throw withoutTemplate();
  const idsOf = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
  if (from === 'opening') {
    const { text, stands } = template.opening(prompt);
    return { ids: idsOf(text), messageEnds: [], stands };
  }
  if (!begins) return { ids: idsOf(turn(template, prompt, from)), messageEnds: [] };
  const text = template.render(prompt);
  const ids = idsOf(text);
  return { ids, messageEnds: tokenEnds(tokenizer, ids, template.ends(prompt, text)) };
}

/** The text of messages that a conversation goes on with. */
function turn(template: ChatTemplate, prompt: Prompt & { kind: 'chat' }, from: Standing): string {
  if (from === 'asked') {
    if (prompt.messages.length === 0) return '';
    const message = 'The session waits for an answer: an empty list of messages, or an empty prompt, has it written.';
    throw invalid('messages', message);
  }
  if (prompt.messages.length === 0)
    throw invalid('messages', 'There is no question that waits for an answer: give a message.');
  return from === 'told' ? template.behindSystem(prompt) : template.continuation(prompt);
}

/** Numbers of tokens up to ends in the text, which all of them but the characters that a tokenizer normalises add up to. */
function tokenEnds(tokenizer: Tokenizer, ids: readonly number[], ends: readonly number[]): number[] {
  const stream = tokenizer.stream?.();
  if (!stream) return [];
  const found: number[] = [];
  let length = 0;
  let next = 0;
  for (let i = 0; i < ids.length && next < ends.length; i++) {
    length += stream.push(ids[i]).length;
    while (next < ends.length && length >= ends[next]) {
      found.push(i + 1);
      next++;
    }
  }
  return found;
}

export function withoutTemplate(): ApiError {
  const message =
    'The model takes no messages. ' +
    'Its folder has no chat template: use /v1/completions, or start the server with --chat-template.';
  return new ApiError(400, message, { param: 'messages', code: 'no_chat_template' });
}
