// States that replicas of a server share.
import { FastWeightsError } from '../../core';
import { RedisStore, type RecurrentModel } from '../../inference';
import { findModule, loadModule } from '../../platform';

/** What is used of the package. */
interface Connection {
  connect(): Promise<void>;
  on(event: 'error', act: (error: unknown) => void): void;
}
interface Package {
  Redis: new (url: string, options: object) => Connection;
}

/** Connects to Redis, to keep states of a model under its `name`; an error says what is wrong with it, or that the package is not installed. */
export async function connectRedis(url: string, model: RecurrentModel, name: string): Promise<RedisStore> {
  if (findModule('ioredis') === undefined) {
    const message = 'serve: states in Redis need a package: npm install ioredis';
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'redis', expected: 'ioredis' });
  }
  const { Redis } = loadModule('ioredis') as Package;
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 2 });
  // What goes wrong later is told by the requests that it fails; the client tries again by itself.
  let last: unknown;
  client.on('error', (error) => (last = error));
  try {
    await client.connect();
  } catch (cause) {
    const reason = last ?? cause;
    const why = reason instanceof Error ? reason.message || String(reason) : String(reason);
    throw new FastWeightsError('IO', `serve: Redis cannot be reached: ${why}`, { argument: 'redis', cause });
  }
  return new RedisStore(client as unknown as ConstructorParameters<typeof RedisStore>[0], model, {
    prefix: `fast-weights:${name}`,
  });
}
