// The forms of bodies: JSON that is so deep, and has what an endpoint takes; what is wrong is said in OpenAI's words.
import type { z } from 'zod';
import { ApiError, type ApiErrorDetails, invalid, unsupported } from '../errors';
import * as schemas from './schemas';

/** Deeper nesting than that of any request. */
const DEEPEST = 100;

/** Parameters that OpenAI knows and this server does not act on, and why. */
type Refused = Readonly<Record<string, string>>;

const COMPLETION: Refused = { suffix: 'The models here write what comes behind a text, not between two.' };

/** What OpenAI's API has, changes the answer, and does nothing here. */
const CHAT: Refused = {
  functions: "It was replaced by 'tools'.",
  function_call: "It was replaced by 'tool_choice'.",
  audio: 'The models here write text only.',
  modalities: 'The models here write text only.',
  web_search_options: 'This server asks nothing of other machines.',
  verbosity: 'No model here is trained for it.',
  resume: 'It goes on without another message: /v1/sessions/{id}/completions takes it.',
};

const RESPONSE: Refused = {
  background: 'A response is written while its request waits for it.',
  conversation: "Go on from a response by 'previous_response_id', or use /v1/sessions.",
  prompt: 'There are no stored prompts.',
  max_tool_calls: 'Tools are called by the client.',
  context_management: 'A state has no context to manage.',
};

const FORMS = {
  completion: { schema: schemas.completionBody, refused: COMPLETION },
  chat: { schema: schemas.chatBody, refused: CHAT },
  response: { schema: schemas.responseBody, refused: RESPONSE },
  embedding: { schema: schemas.embeddingBody, refused: {} },
  session: { schema: schemas.sessionBody, refused: {} },
  snapshot: { schema: schemas.snapshotBody, refused: {} },
  rollback: { schema: schemas.rollbackBody, refused: {} },
  inspect: { schema: schemas.inspectBody, refused: {} },
} as const;

export type Form = keyof typeof FORMS;
export type Body<F extends Form> = z.output<(typeof FORMS)[F]['schema']>;

/** The body of a form from its bytes. */
export function readForm<F extends Form>(form: F, bytes: Uint8Array): Body<F> {
  const { schema, refused } = FORMS[form];
  return parse(schema, jsonOf(bytes), refused) as Body<F>;
}

function jsonOf(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw noJson('it is no UTF-8.');
  }
  checkDepth(text);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw noJson(error instanceof Error ? error.message : String(error));
  }
}

function noJson(reason: string): ApiError {
  return new ApiError(400, `We could not parse the JSON body of your request: ${reason}`, { code: 'invalid_json' });
}

/** Templates and schemas go through values by recursion. */
function checkDepth(text: string): void {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (quoted) {
      if (code === 92) i++;
      else if (code === 34) quoted = false;
    } else if (code === 34) quoted = true;
    else if (code === 123 || code === 91) {
      if (++depth > DEEPEST) throw invalid(null, `The body is nested deeper than ${DEEPEST}.`, 'invalid_json');
    } else if (code === 125 || code === 93) depth--;
  }
}

/** A value of a known form. */
export function parse<S extends z.ZodType>(schema: S, body: unknown, refused: Refused = {}): z.output<S> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalid(null, 'The body must be a JSON object.', 'invalid_type');
  }
  for (const [name, reason] of Object.entries(refused)) {
    const value: unknown = Object.hasOwn(body, name) ? (body as Record<string, unknown>)[name] : undefined;
    if (value !== undefined && value !== null) throw unsupported(name, reason);
  }
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw issueError(result.error.issues[0], body);
}

type Issue = z.core.$ZodIssue;

/** The first thing that is wrong, in OpenAI's words. */
function issueError(issue: Issue, body: unknown): ApiError {
  const path = pathOf(issue.path);
  const error = (message: string, details: ApiErrorDetails): ApiError => new ApiError(400, message, details);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const param = pathOf([...issue.path, issue.keys[0]]);
      return error(`Unknown parameter: '${param}'.`, { param, code: 'unknown_parameter' });
    }
    case 'invalid_type': {
      const found = valueAt(body, issue.path);
      if (found === undefined) {
        return error(`Missing required parameter: '${path}'.`, { param: path, code: 'missing_required_parameter' });
      }
      const expected = issue.expected === 'record' ? 'object' : issue.expected;
      const message = `Invalid type for '${path}': expected ${expected}, but got ${kindOf(found)} instead.`;
      return error(message, { param: path, code: 'invalid_type' });
    }
    case 'invalid_union': {
      // What the branch says that came farthest.
      const branches = issue.errors.map((issues) => issues[0]).filter((each) => each !== undefined);
      const far = branches.sort((a, b) => b.path.length - a.path.length)[0];
      if (far && far.path.length > 0) return issueError({ ...far, path: [...issue.path, ...far.path] }, body);
      const found = valueAt(body, issue.path);
      if (found === undefined) {
        return error(`Missing required parameter: '${path}'.`, { param: path, code: 'missing_required_parameter' });
      }
      return error(`Invalid value for '${path}': ${kindOf(found)} of a form that it does not take.`, {
        param: path,
        code: 'invalid_value',
      });
    }
    default:
      return error(`Invalid '${path}': ${issue.message}.`, { param: path, code: 'invalid_value' });
  }
}

/** `messages[0].role` */
function pathOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  );
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const part of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[part];
  }
  return at;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a decimal';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
