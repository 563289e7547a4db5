// A client of Redis, by the optional package `ioredis`.
import { FastWeightsError } from '../core';
import { findModule, loadModule } from '../platform';
import type { TextClient } from './responseTexts';

/** What is used of the package. */
export interface Connection extends TextClient {
  connect(): Promise<void>;
  on(event: 'error', act: (error: unknown) => void): void;
}
interface Package {
  Redis: new (url: string, options: object) => Connection;
}

/** One that connects with its first command; an UNSUPPORTED error where the package is not installed. */
export function redisClient(url: string): Connection {
  if (findModule('ioredis') === undefined) {
    const message = 'serve: states in Redis need a package: npm install ioredis';
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'redis', expected: 'ioredis' });
  }
  const { Redis } = loadModule('ioredis') as Package;
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 2 });
  // What goes wrong is told by the requests that it fails; the client tries again by itself.
  client.on('error', () => undefined);
  return client;
}
