// Calls of functions in what a model writes: found while the text comes.
import type { ToolForm } from './engine/protocol';

/** A call that is complete. */
export interface ToolCall {
  name: string;
  /** JSON, as the model gave it. */
  arguments: string;
}

/** What a piece of text adds to an answer. */
export interface Found {
  content: string;
  calls: ToolCall[];
}

/** Whether a parameter of a function is a text: in forms that do not quote texts, `3` may be one. */
export type IsText = (name: string, parameter: string) => boolean;

interface Form {
  begin: string;
  end: string;
  /** The calls between the two; null where there are none to be read. */
  read(inside: string, isText: IsText): ToolCall[] | null;
}

const FORMS: Readonly<Record<ToolForm, Form>> = {
  // {"name": ..., "arguments": {...}}
  hermes: { begin: '<tool_call>', end: '</tool_call>', read: readJson },
  // <function=name><parameter=key>value</parameter>...</function>
  'qwen-xml': { begin: '<tool_call>', end: '</tool_call>', read: readXml },
  // <|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{...}<|tool_call_end|> ...
  kimi: { begin: '<|tool_calls_section_begin|>', end: '<|tool_calls_section_end|>', read: readKimi },
};

/** Splits a text that comes piece by piece into content and calls. What is no call after all stays content. */
export class ToolReader {
  private held = '';
  private inside = false;
  private readonly form: Form;
  /** White space in front of a call belongs to its form. */
  private space = '';

  constructor(
    form: ToolForm,
    private readonly isText: IsText = () => false,
  ) {
    this.form = FORMS[form];
  }

  push(piece: string): Found {
    this.held += piece;
    const found: Found = { content: '', calls: [] };
    const { begin, end, read } = this.form;
    for (;;) {
      if (!this.inside) {
        const at = this.held.indexOf(begin);
        if (at < 0) {
          const keep = beginning(this.held, begin);
          this.say(found, this.held.slice(0, this.held.length - keep));
          this.held = this.held.slice(this.held.length - keep);
          return found;
        }
        this.say(found, this.held.slice(0, at));
        this.held = this.held.slice(at + begin.length);
        this.inside = true;
      }
      const at = this.held.indexOf(end);
      if (at < 0) return found;
      const inside = this.held.slice(0, at);
      const calls = read(inside, this.isText);
      if (calls) {
        found.calls.push(...calls);
        this.space = '';
      } else this.say(found, begin + inside + end);
      this.held = this.held.slice(at + end.length);
      this.inside = false;
    }
  }

  /** What is left where no text follows: a call that was cut off is read if it is whole. */
  end(): Found {
    const { begin, read } = this.form;
    const found: Found = { content: '', calls: [] };
    if (this.inside) {
      const calls = read(this.held, this.isText);
      if (calls) found.calls.push(...calls);
      else this.say(found, begin + this.held);
    } else this.say(found, this.held);
    if (found.calls.length === 0) found.content += this.space;
    this.held = '';
    this.space = '';
    return found;
  }

  private say(found: Found, text: string): void {
    const all = this.space + text;
    const kept = all.trimEnd();
    found.content += kept;
    this.space = all.slice(kept.length);
  }
}

/** How much of the end of a text may be the beginning of a mark. */
function beginning(text: string, mark: string): number {
  for (let n = Math.min(text.length, mark.length - 1); n > 0; n--) if (mark.startsWith(text.slice(-n))) return n;
  return 0;
}

function readJson(inside: string): ToolCall[] | null {
  try {
    const call = JSON.parse(inside) as { name?: unknown; arguments?: unknown; parameters?: unknown } | null;
    const given = call?.arguments ?? call?.parameters ?? {};
    if (typeof call?.name !== 'string') return null;
    return [{ name: call.name, arguments: typeof given === 'string' ? given : JSON.stringify(given) }];
  } catch {
    return null;
  }
}

function readXml(inside: string, isText: IsText): ToolCall[] | null {
  const calls = [...inside.matchAll(/<function=([^>\n]+)>([^]*?)<\/function>/g)];
  if (calls.length === 0) return readJson(inside);
  return calls.map(([, name, body]) => {
    const given: Record<string, unknown> = {};
    for (const [, key, value] of body.matchAll(/<parameter=([^>\n]+)>\n?([^]*?)\n?<\/parameter>/g)) {
      given[key] = isText(name, key) ? value : valueOf(value);
    }
    return { name, arguments: JSON.stringify(given) };
  });
}

/** Numbers, lists and the like are written as JSON, texts as they are. */
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function readKimi(inside: string): ToolCall[] | null {
  const mark = /<\|tool_call_begin\|>\s*([^<]*?)\s*<\|tool_call_argument_begin\|>([^]*?)<\|tool_call_end\|>/g;
  const calls = [...inside.matchAll(mark)].map(([, id, given]) => ({
    name: id.replace(/^functions\./, '').replace(/:\d+$/, ''),
    arguments: given.trim(),
  }));
  return calls.length > 0 ? calls : null;
}
