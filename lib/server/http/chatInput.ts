// Messages, tools and what an answer must be, as the model's thread takes them.
import type { Engine } from '../engine/engine';
import type { ChatMessage, Constraint, Prompt } from '../engine/protocol';
import { invalid, unsupported } from '../errors';
import { type ChatMessageBody, textOf } from './schemas';

/** A function that a model may call. */
export interface FunctionTool {
  name: string;
  description?: string;
  parameters?: Record<string, unknown>;
}

/** `none`, `auto`, `required`, or the name of a function. */
export type ToolChoice = 'none' | 'auto' | 'required' | { name: string };

export function messagesOf(given: readonly ChatMessageBody[]): ChatMessage[] {
  return given.map((message, i) => {
    const param = `messages[${i}].content`;
    const named = message.name === undefined ? {} : { name: message.name };
    switch (message.role) {
      case 'assistant': {
        const { content, tool_calls: calls } = message;
        return {
          role: 'assistant',
          content: content === undefined ? null : textOf(content, param),
          ...(calls && calls.length > 0 && { tool_calls: calls }),
          ...named,
        };
      }
      case 'tool':
        return { role: 'tool', content: textOf(message.content, param), tool_call_id: message.tool_call_id, ...named };
      default:
        // Templates know the older name of the role.
        return {
          role: message.role === 'developer' ? 'system' : message.role,
          content: textOf(message.content, param),
          ...named,
        };
    }
  });
}

export interface ToolUse {
  tools: FunctionTool[];
  constraint?: Constraint;
  /** Whether calls are looked for in the answer. */
  reads: boolean;
}

/** What tools mean for a generation; `format` is what else constrains it. */
export function toolUse(
  engine: Engine,
  tools: readonly FunctionTool[],
  choice: ToolChoice,
  format: Constraint | undefined,
): ToolUse {
  if (tools.length === 0) {
    if (choice !== 'none' && choice !== 'auto') throw invalid('tool_choice', "'tool_choice' needs 'tools'.");
    return { tools: [], constraint: format, reads: false };
  }
  if (choice === 'none') return { tools: [], constraint: format, reads: false };
  if (engine.info?.toolForm === null) {
    throw unsupported('tools', `The chat template of '${engine.name}' takes no tools in a form that is known here.`);
  }
  if (choice === 'auto') {
    if (format)
      throw unsupported('response_format', "With tools the answer is free: give tool_choice 'none' beside it.");
    return { tools: [...tools], reads: true };
  }
  const wanted = choice === 'required' ? tools : tools.filter(({ name }) => name === choice.name);
  if (wanted.length === 0) throw invalid('tool_choice', "'tool_choice' names a function that 'tools' has not.");
  const calls = wanted.map(({ name, parameters = { type: 'object' } }) => ({
    name,
    parameters: JSON.stringify(parameters),
  }));
  return { tools: [...tools], constraint: { kind: 'tools', tools: calls }, reads: true };
}

export function chatPrompt(
  messages: readonly ChatMessage[],
  tools: readonly FunctionTool[],
  variables: Record<string, unknown> | undefined,
): Prompt {
  return {
    kind: 'chat',
    messages,
    tools: tools.map(({ name, description, parameters }) => ({
      type: 'function',
      function: { name, ...(description !== undefined && { description }), ...(parameters && { parameters }) },
    })),
    ...(variables && { variables }),
  };
}

/** What a template is given by the server itself. */
const OWN = ['messages', 'tools', 'add_generation_prompt'];

/** Further variables of the template. */
export function variablesOf(
  given: Record<string, unknown> | undefined,
  effort?: string,
): Record<string, unknown> | undefined {
  for (const name of OWN) {
    if (!Object.hasOwn(given ?? {}, name)) continue;
    throw invalid(
      `chat_template_kwargs.${name}`,
      `'${name}' is no further variable of a template: it has its own from the request.`,
    );
  }
  if (given === undefined && effort === undefined) return undefined;
  return { ...(effort !== undefined && { reasoning_effort: effort }), ...given };
}
