// What the handlers of requests share.
import type { Engine } from './engine/engine';
import { ApiError } from './errors';
import type { Keys } from './keys';
import type { Limits } from './limits';
import type { Log } from './log';
import type { Metrics } from './metrics';
import type { CheckedOptions } from './options';
import type { ResponseTexts } from './responseTexts';
import type { Tracing } from './tracing';

export interface Services {
  engines: readonly Engine[];
  options: CheckedOptions;
  keys: Keys;
  limits: Limits;
  metrics: Metrics;
  log: Log;
  responses: ResponseTexts;
  tracing: Tracing | null;
  /** Whether no more requests are taken. */
  stopping: boolean;
  /** When the server was started, in seconds since 1970. */
  since: number;
}

/** The engine of a model that a request names. */
export function engineOf({ engines }: Services, name: string): Engine {
  const engine = engines.find((each) => each.name === name);
  if (engine) return engine;
  const known = engines.map((each) => each.name).join(', ');
  throw new ApiError(404, `The model '${name}' does not exist; there are: ${known}.`, {
    param: 'model',
    code: 'model_not_found',
  });
}
