// A Redis server of the test's own, on a socket in a folder: no port that somebody else may have.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

/** Whether Debian's redis-server, or another one, is installed. */
export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

export class RedisServer {
  private readonly path: string;
  private readonly clients: Redis[] = [];
  private process: ChildProcess | undefined;

  /** What is acknowledged lies on the disk, in `folder`. */
  constructor(private readonly folder: string) {
    this.path = join(folder, 'redis.sock');
  }

  /** As clients take it. */
  get url(): string {
    return this.path;
  }

  async start(): Promise<void> {
    const options = ['--port', '0', '--unixsocket', this.path, '--dir', this.folder, '--save', ''];
    this.process = spawn('redis-server', [...options, '--appendonly', 'yes', '--appendfsync', 'always'], {
      stdio: 'ignore',
    });
    for (let tries = 0; tries < 200; tries++) {
      const client = new Redis({ path: this.path, lazyConnect: true, retryStrategy: () => null });
      client.on('error', () => undefined);
      try {
        await client.connect();
        await client.ping();
        return;
      } catch {
        await sleep(25);
      } finally {
        client.disconnect();
      }
    }
    throw new Error('redis-server does not answer');
  }

  /** A connection that is closed with the server. */
  client(): Redis {
    const client = new Redis({ path: this.path, maxRetriesPerRequest: 1, retryStrategy: () => 50 });
    client.on('error', () => undefined);
    this.clients.push(client);
    return client;
  }

  /** As when the machine loses power. */
  async kill(): Promise<void> {
    const { process } = this;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    process.kill('SIGKILL');
    await once(process, 'exit');
  }

  async stop(): Promise<void> {
    for (const client of this.clients) client.disconnect();
    await this.kill();
  }
}
