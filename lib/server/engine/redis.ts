// States that replicas of a server share.
import { FastWeightsError } from '../../core';
import { RedisStore, type RecurrentModel } from '../../inference';
import { findModule, loadModule } from '../../platform';

/** What is used of the package. */
interface Connection {
  connect(): Promise<void>;
  on(event: 'error', act: () => void): void;
}
interface Package {
  Redis: new (url: string, options: object) => Connection;
}

/** Connects to Redis; an error says what is wrong with it, or that the package is not installed. */
export async function connectRedis(url: string, model: RecurrentModel): Promise<RedisStore> {
  if (findModule('ioredis') === undefined) {
    const message = 'serve: states in Redis need a package: npm install ioredis';
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'redis', expected: 'ioredis' });
  }
  const { Redis } = loadModule('ioredis') as Package;
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 2 });
  // What goes wrong later is told by the requests that it fails; the client tries again by itself.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FastWeightsError('IO', `serve: Redis cannot be reached: ${why}`, { argument: 'redis', cause });
  }
  return new RedisStore(client as unknown as ConstructorParameters<typeof RedisStore>[0], model);
}
