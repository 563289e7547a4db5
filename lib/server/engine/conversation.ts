// What a stored state is told apart by: how the conversation stands, and the tools that it has read. It is the note of its
// snapshot, and goes where that goes.
import { isJsonObject, parseJson } from '../../io';
import { sha256 } from '../../platform';
import { invalid } from '../errors';
import type { Standing } from './chatTemplate';
import type { From } from './encoding';
import type { Prompt } from './protocol';

export interface Conversation {
  /** A hash of the tools of its first turn; none without. */
  tools?: string;
  /** How it stood behind so many tokens, those that it was begun with; it stands at the end of what was said without. */
  opening?: { stands: Standing; length: number };
}

/** Of a snapshot's note; whatever has none went on from what was said. */
export function readNote(note: string): Conversation {
  if (note === '') return {};
  const value = parseJson(note, 'the note of a stored state');
  return isJsonObject(value) ? value : {};
}

export function noteOf({ tools, opening }: Conversation): string {
  return tools === undefined && opening === undefined ? '' : JSON.stringify({ tools, opening });
}

/** Where a prompt goes on from, in a state of so many tokens. */
export function placeIn({ opening }: Conversation, length: number): From {
  if (length === 0) return 'empty';
  return opening?.length === length ? opening.stands : 'said';
}

/** What a conversation is that begins with a prompt. */
export function begunWith(prompt: Prompt | undefined): Conversation {
  const tools = toolsOf(prompt);
  return tools === undefined ? {} : { tools };
}

/** Requires of a later turn the tools of the first one, which the state has read, or none. */
export function checkTools(prompt: Prompt, { tools }: Conversation): void {
  const given = toolsOf(prompt);
  if (given === undefined || given === tools) return;
  const had = tools === undefined ? 'none' : 'others';
  const message =
    `The conversation began with ${had}, and its state has read no more than those: ` +
    'give the tools of its first turn or leave them out, or begin another conversation.';
  throw invalid('tools', message, 'tools_changed');
}

function toolsOf(prompt: Prompt | undefined): string | undefined {
  if (prompt?.kind !== 'chat' || !prompt.tools || prompt.tools.length === 0) return undefined;
  const hash = sha256();
  hash.update(new TextEncoder().encode(JSON.stringify(prompt.tools)));
  return hash.hex().slice(0, 32);
}
