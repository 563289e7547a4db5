// Where crashes happen: servers of one model, what they keep states in, and the killing of one of them under load.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RedisServer } from '../support/redis';
import { ServerProcess } from '../support/serverProcess';
import { CONVERSATIONS, converseAll, type Course, TURNS } from './conversations';

/** What is killed: the only server, which has a folder; one of two that share a Redis; that Redis. */
export const VICTIMS = ['server', 'replica', 'redis'] as const;
export type Victim = (typeof VICTIMS)[number];

/** Milliseconds. */
const LONGEST_OUTAGE = 2000;

/** What a crash came to. */
export interface Crash {
  /** Requests that were broken off or found nobody. */
  broken: number;
  /** Turns that were kept before the client was told so. */
  untold: number;
  /** Milliseconds until every conversation that was broken off had its next turn; null where none was. */
  recovery: number | null;
}

export class CrashSite {
  /** What the conversations come to where nothing is killed. */
  private expected: Course[] = [];

  private constructor(
    private readonly victim: Victim,
    private readonly model: string,
    private readonly options: string[],
    private readonly servers: ServerProcess[],
    private readonly redis: RedisServer | null,
  ) {}

  /** Starts everything, with states below `folder`, and has the conversations once without a crash. */
  static async open(victim: Victim, model: string, folder: string): Promise<CrashSite> {
    let redis: RedisServer | null = null;
    let options = ['--states', join(folder, 'states')];
    if (victim !== 'server') {
      mkdirSync(join(folder, 'redis'));
      redis = new RedisServer(join(folder, 'redis'));
      await redis.start();
      options = ['--redis', redis.url];
    }
    const site = new CrashSite(victim, model, options, [], redis);
    try {
      for (let i = 0; i < (redis ? 2 : 1); i++) site.servers.push(await ServerProcess.start(model, options));
      site.expected = await site.converse();
    } catch (error) {
      await site.close();
      throw error;
    }
    return site;
  }

  /**
   * Kills when a part of all turns, from 0 to 0.9, was told, and up to so many milliseconds have gone by then; an error where
   * something acknowledged is lost or anything differs.
   */
  async crash(part: number, milliseconds = 0): Promise<Crash> {
    let turns = 0;
    let reached: () => void = () => undefined;
    const there = new Promise<void>((resolve) => (reached = resolve));
    const running = this.converse(this.expected, () => {
      if (++turns > part * CONVERSATIONS * TURNS) reached();
    });
    await Promise.race([there, running]);
    await sleep(milliseconds);
    const at = performance.now();
    await this.kill(part);
    const courses = await running;
    let untold = 0;
    const recoveries: number[] = [];
    for (const [i, { texts, times, broken }] of courses.entries()) {
      for (const [turn, text] of texts.entries()) {
        if (text === null) untold++;
        else if (text !== this.expected[i].texts[turn]) {
          throw new Error(`turn ${turn} of conversation ${i} is another one than without a crash`);
        }
      }
      if (broken > 0) recoveries.push(times.find((time) => time > at)! - at);
    }
    return {
      broken: courses.reduce((sum, { broken }) => sum + broken, 0),
      untold,
      recovery: recoveries.length > 0 ? Math.max(...recoveries) : null,
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
    await this.redis?.stop();
  }

  private converse(expected?: readonly Course[], told?: () => void): Promise<Course[]> {
    return converseAll((i, tries) => this.servers[(i + tries) % this.servers.length].url, expected, told);
  }

  /** Kills and starts again; `part` decides which server it is, and how long there is no Redis. */
  private async kill(part: number): Promise<void> {
    if (this.victim === 'redis') {
      await this.redis!.kill();
      await sleep(part * LONGEST_OUTAGE);
      return this.redis!.start();
    }
    const which = Math.floor(part * 1e6) % this.servers.length;
    await this.servers[which].kill();
    this.servers[which] = await ServerProcess.start(this.model, this.options);
  }
}
