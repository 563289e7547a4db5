// States that replicas of a server share.
import { FastWeightsError } from '../../core';
import { RedisStore, type RecurrentModel } from '../../inference';
import { redisClient } from '../redisClient';

/** Connects to Redis, to keep states of a model under its `name`; an error says what is wrong with it. */
export async function connectRedis(url: string, model: RecurrentModel, name: string): Promise<RedisStore> {
  const client = redisClient(url);
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
