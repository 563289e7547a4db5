// From messages to the text that a model was trained on: the folder's own Jinja template.
import { Template } from '@huggingface/jinja';
import { isJsonObject, type Json, readOptionalJson, readText } from '../../io';
import { existsSync, join } from '../../platform';
import { ApiError, invalid } from '../errors';
import type { ChatMessage, ToolForm } from './protocol';

/** Stands for what the assistant has said, which the state has read. */
const SAID = 'fast-weights:said-before';

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

  /** The text of a conversation, up to where the assistant goes on. */
  render({ messages, tools, variables }: ChatInput): string {
    try {
      return this.template.render({
        ...this.tokens,
        ...variables,
        messages: messages.map(plain),
        ...(tools && tools.length > 0 && { tools }),
        add_generation_prompt: true,
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw invalid('messages', `The model's chat template refuses these messages: ${reason}`, 'chat_template');
    }
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
