// From messages to the text that a model was trained on: the folder's own Jinja template.
import { Template } from '@huggingface/jinja';
import { isJsonObject, type Json, readOptionalJson, readText } from '../../io';
import { existsSync, join } from '../../platform';
import { ApiError, invalid } from '../errors';
import type { ChatMessage, ToolForm } from './protocol';

/** Stands for words that the state has read. */
const SAID = 'fast-weights:said-before';

/** Some further message, to see what a template writes in front of one. */
const NEXT: ChatMessage = { role: 'user', content: 'x' };

/** Messages whose ends are told, from the beginning and from the end of a conversation: those are where prompts part. */
const TOLD_ENDS = 4;

export interface ChatInput {
  messages: readonly ChatMessage[];
  tools?: readonly unknown[];
  variables?: Readonly<Record<string, unknown>>;
}

/** The template of a folder. */
export class ChatTemplate {
  private readonly template: Template;

  constructor(
    private readonly source: string,
    /** bos_token and the like. */
    private readonly tokens: Readonly<Record<string, string>>,
  ) {
    this.template = new Template(source);
  }

  /** How the template writes calls of functions; null where it takes no tools. */
  get toolForm(): ToolForm | null {
    const { source } = this;
    if (!source.includes('tools')) return null;
    if (source.includes('<|tool_call_begin|>')) return 'kimi';
    if (source.includes('<function=')) return 'qwen-xml';
    return source.includes('<tool_call>') ? 'hermes' : null;
  }

  /** The text of a conversation, up to where the assistant goes on, or to the end of the last message. */
  render(input: ChatInput, goesOn = true): string {
    try {
      return this.write(input, goesOn);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const [param, what] = this.refusesVariables(input, goesOn)
        ? ['chat_template_kwargs', 'variables']
        : ['messages', 'messages'];
      throw invalid(param, `The model's chat template refuses these ${what}: ${reason}`, 'chat_template');
    }
  }

  private write({ messages, tools, variables }: ChatInput, goesOn: boolean): string {
    return this.template.render({
      ...this.tokens,
      ...variables,
      messages: messages.map(plain),
      ...(tools && tools.length > 0 && { tools }),
      add_generation_prompt: goesOn,
    });
  }

  /** Whether the messages alone would have been no failure. */
  private refusesVariables({ variables, ...rest }: ChatInput, goesOn: boolean): boolean {
    if (!variables) return false;
    try {
      this.write(rest, goesOn);
      return true;
    } catch {
      return false;
    }
  }

  /**
   * The text of messages that a conversation is begun with, and how it stands then: `asked` where the assistant is to go on,
   * `told` where another message is to come; `said` is the end of the assistant's own words. The next turn adds what the template
   * writes of the whole conversation; a template that cannot be stopped there is refused.
   */
  opening(input: ChatInput): { text: string; stands: Standing } {
    const { messages } = input;
    const { role } = messages.at(-1)!;
    if (role !== 'system' && role !== 'assistant') return { text: this.render(input), stands: 'asked' };
    const whole = this.render({ ...input, messages: [...messages, NEXT] });
    const next = { ...input, messages: [NEXT] };
    if (role === 'assistant') {
      const rest = this.continuation(next);
      if (!whole.endsWith(rest)) throw unsplit(role);
      return { text: whole.slice(0, whole.length - rest.length), stands: 'said' };
    }
    const text = this.render(input, false);
    if (whole !== text + this.behindSystem(next)) throw unsplit(role);
    return { text, stands: 'told' };
  }

  /** What stands behind the system's words of a conversation that began with nothing else. */
  behindSystem(input: ChatInput): string {
    const before: ChatMessage[] = [{ role: 'system', content: SAID }];
    const start = this.render({ ...input, messages: before }, false);
    const text = this.render({ ...input, messages: [...before, ...input.messages] });
    if (!start.includes(SAID) || !text.startsWith(start)) throw unsplit('system');
    return text.slice(start.length);
  }

  /** Where the first and the last messages end in the text of a conversation, so far as the template writes one after the other. */
  ends(input: ChatInput, text: string): number[] {
    const { messages } = input;
    const ends: number[] = [];
    for (let count = 1; count <= messages.length; count++) {
      if (count > TOLD_ENDS && count <= messages.length - TOLD_ENDS) continue;
      try {
        const part = this.write({ ...input, messages: messages.slice(0, count) }, false);
        if (text.startsWith(part)) ends.push(part.length);
      } catch {
        // It takes no such beginning of a conversation: no end is told.
      }
    }
    return ends;
  }

  /**
   * What stands between the words of the assistant that a conversation ended with and the next ones, with these messages
   * between the two: the same as in the text of a whole conversation.
   */
  continuation(input: ChatInput): string {
    const before: ChatMessage[] = [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: SAID },
    ];
    const text = this.render({ ...input, messages: [...before, ...input.messages] });
    const at = text.indexOf(SAID);
    if (at < 0) {
      throw new ApiError(
        400,
        "The model's chat template leaves out what was said before: it takes whole conversations.",
        {
          code: 'chat_template',
        },
      );
    }
    return text.slice(at + SAID.length);
  }
}

/** Where a conversation stops: behind the assistant's words, where it is to say some, or behind those of the system. */
export type Standing = 'said' | 'asked' | 'told';

function unsplit(role: string): ApiError {
  const message =
    `The model's chat template cannot be stopped behind a message of the role ${role}: ` +
    "give the user's first message, too, or no messages.";
  return invalid('messages', message, 'chat_template');
}

/** Templates want arguments as they are, not as text. */
function plain(message: ChatMessage): Record<string, unknown> {
  const { tool_calls: calls, ...rest } = message;
  if (!calls) return rest;
  return {
    ...rest,
    content: rest.content ?? '',
    tool_calls: calls.map(({ function: { name, arguments: given }, ...call }) => ({
      ...call,
      function: { name, arguments: typeof given === 'string' ? parsed(given) : given },
    })),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** That of a model folder, or of `file`; null where there is none. */
export async function loadChatTemplate(folder: string, file?: string): Promise<ChatTemplate | null> {
  const config = (await readOptionalJson(join(folder, 'tokenizer_config.json'))) ?? {};
  const source = file === undefined ? await sourceOf(folder, config) : await readText(file, 'chat template');
  return source === undefined ? null : new ChatTemplate(source, specialTokens(config));
}

async function sourceOf(folder: string, config: Json): Promise<string | undefined> {
  const path = join(folder, 'chat_template.jinja');
  if (existsSync(path)) return readText(path, 'chat template');
  const older = await readOptionalJson(join(folder, 'chat_template.json'));
  for (const holder of [older, config]) {
    const found = isJsonObject(holder) ? holder.chat_template : undefined;
    if (typeof found === 'string') return found;
    if (!Array.isArray(found)) continue;
    // Several by name; the one for tools takes conversations without any, too.
    const named = found.filter(isJsonObject);
    const chosen = named.find(({ name }) => name === 'tool_use') ?? named.find(({ name }) => name === 'default');
    if (typeof chosen?.template === 'string') return chosen.template;
  }
  return undefined;
}

function specialTokens(config: Json): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [name, value] of Object.entries(isJsonObject(config) ? config : {})) {
    if (!name.endsWith('_token')) continue;
    const content = isJsonObject(value) ? value.content : value;
    if (typeof content === 'string') tokens[name] = content;
  }
  return tokens;
}
