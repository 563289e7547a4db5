// What the handlers of requests share.
import type { Engine } from './engine/engine';
import { ApiError } from './errors';
import type { Bodies } from './http/bodies';
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
  bodies: Bodies;
  tracing: Tracing | null;
  /** Whether no more requests are taken. */
  stopping: boolean;
  /** When the server was started, in seconds since 1970. */
  since: number;
}

/** The engine of a model that a request names, with or without an adapter. */
export function engineOf(services: Services, name: string): Engine {
  return modelOf(services, name).engine;
}

/** Of each engine the model's name, and `model:adapter` for each of its adapters. */
export function namesOf({ name, settings }: Engine): string[] {
  return [name, ...Object.keys(settings.adapters).map((adapter) => `${name}:${adapter}`)];
}

/** The engine, and the adapter where one is named behind a colon. */
export function modelOf({ engines }: Services, name: string): { engine: Engine; adapter?: string } {
  const engine = engines.find((each) => namesOf(each).includes(name));
  if (engine) return { engine, ...(name !== engine.name && { adapter: name.slice(engine.name.length + 1) }) };
  const known = engines.flatMap(namesOf).join(', ');
  throw new ApiError(404, `The model '${name}' does not exist; there are: ${known}.`, {
    param: 'model',
    code: 'model_not_found',
  });
}
