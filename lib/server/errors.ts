// What clients are told of failures: OpenAI's form and status codes.
import { FastWeightsError, type ErrorCode } from '../core';

/** The classes of failures that OpenAI's API has. */
export type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'not_found_error'
  | 'conflict_error'
  | 'rate_limit_error'
  | 'server_error';

export interface ApiErrorDetails {
  /** The parameter of the request at fault. */
  param?: string | null;
  /** For programs, where the status is not enough. */
  code?: string | null;
  /** Seconds after which it is worth another try. */
  retryAfter?: number;
  cause?: unknown;
}

const TYPES: Readonly<Record<number, ErrorType>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  409: 'conflict_error',
  429: 'rate_limit_error',
};

/** Of what a request says itself an error repeats no more characters. */
const [LONGEST_MESSAGE, LONGEST_PARAM] = [1000, 200];

function clipped(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}

/** A failure with the status that a client is to see. */
export class ApiError extends Error {
  readonly param: string | null;
  readonly code: string | null;
  readonly retryAfter: number | undefined;

  constructor(
    readonly status: number,
    message: string,
    { param = null, code = null, retryAfter, cause }: ApiErrorDetails = {},
  ) {
    super(clipped(message, LONGEST_MESSAGE), cause === undefined ? undefined : { cause });
    this.name = 'ApiError';
    this.param = param && clipped(param, LONGEST_PARAM);
    this.code = code;
    this.retryAfter = retryAfter;
  }

  get type(): ErrorType {
    return TYPES[this.status] ?? (this.status < 500 ? 'invalid_request_error' : 'server_error');
  }

  /** The same of another parameter. */
  withParam(param: string | null): ApiError {
    const { status, message, code, retryAfter, cause } = this;
    return param === this.param ? this : new ApiError(status, message, { param, code, retryAfter, cause });
  }

  /** The body of the answer. */
  get body(): { error: { message: string; type: ErrorType; param: string | null; code: string | null } } {
    const { message, type, param, code } = this;
    return { error: { message, type, param, code } };
  }
}

/** A parameter that is there and not acted on. */
export function unsupported(param: string, reason: string): ApiError {
  const message = `Unsupported parameter: '${param}'. ${reason}`;
  return new ApiError(400, message, { param, code: 'unsupported_parameter' });
}

/** A value that a parameter cannot have. */
export function invalid(param: string | null, message: string, code = 'invalid_value'): ApiError {
  return new ApiError(400, message, { param, code });
}

/** The status of what was broken off: mostly a client has gone, who does not see it. */
export const GONE = 499;

/** What ends with the request that it was for, or with the server. */
export function brokenOff(cause?: unknown): ApiError {
  return new ApiError(GONE, 'The request was broken off.', { code: 'aborted', cause });
}

/** An error as it crosses threads. */
export interface WireError {
  message: string;
  status?: number;
  code: string | null;
  param: string | null;
  retryAfter?: number;
  /** For the log alone. */
  detail?: string;
}

export function toWire(error: unknown): WireError {
  if (error instanceof ApiError) {
    const { message, status, code, param, retryAfter, cause } = error;
    const detail = cause instanceof Error ? { detail: cause.message } : {};
    return { message, status, code, param, retryAfter, ...detail };
  }
  if (error instanceof FastWeightsError) {
    if (error.code === 'ABORTED') return toWire(brokenOff(error));
    const { message, code, argument } = error;
    const status = STATUS[code];
    const param = paramOf(argument);
    const told = status === 400 && param !== null ? message.replace(/^\w+: /, '').replace(argument!, param) : message;
    return { message: told, status, code, param, ...(status === 503 && { retryAfter: 1 }) };
  }
  return { message: error instanceof Error ? error.message : String(error), code: null, param: null };
}

/** What requests call the options of the library that they set. */
const PARAMS: Readonly<Record<string, string>> = {
  ids: 'prompt',
  text: 'prompt',
  maxNewTokens: 'max_tokens',
  samples: 'n',
  seed: 'seed',
  resume: 'resume',
  n: 'tokens',
  stopTokens: 'stop_token_ids',
  stopStrings: 'stop',
  temperature: 'temperature',
  topK: 'top_k',
  topP: 'top_p',
  minP: 'min_p',
  typicalP: 'typical_p',
  repetitionPenalty: 'repetition_penalty',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  logitBias: 'logit_bias',
  topLogprobs: 'top_logprobs',
  speculate: 'speculate',
  layer: 'layer',
  head: 'head',
  matrix: 'matrix',
};

/** The name of a parameter from that of the library's option, whose lists may be longer; null where a request has none. */
function paramOf(argument: string | undefined): string | null {
  const name = /^\w*/.exec(argument ?? '')![0];
  return Object.hasOwn(PARAMS, name) ? PARAMS[name] : null;
}

/** What has no status is the server's own failure: its words, which may name files, are for the log alone. */
export function fromWire({ message, status, code, param, retryAfter }: WireError): ApiError {
  if (code === 'IO') return statesUnavailable(new Error(message));
  if (status !== undefined) {
    return new ApiError(status, message, { code: code?.toLowerCase() ?? null, param, retryAfter });
  }
  const told = 'The model had an error while it worked on this request.';
  return new ApiError(500, told, { code: 'internal_error', cause: new Error(message) });
}

export function statesUnavailable(cause: unknown): ApiError {
  const told = 'What keeps the states of conversations does not answer; try again later.';
  return new ApiError(503, told, { code: 'states_unavailable', retryAfter: 1, cause });
}

/** What the library refuses of a request; a model folder that is wrong is the server's own fault. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  INVALID_ARGUMENT: 400,
  SHAPE: 400,
  UNSUPPORTED: 400,
  OUT_OF_MEMORY: 503,
  OVERLOADED: 503,
};

/** Any failure as one that clients may see: of those nobody expected nothing is told but the request's name. */
export function toApiError(error: unknown, requestId: string): ApiError {
  if (error instanceof ApiError) return error;
  const message = `The server had an error while processing your request. Its log says more of request ${requestId}.`;
  return new ApiError(500, message, { code: 'internal_error', cause: error });
}
