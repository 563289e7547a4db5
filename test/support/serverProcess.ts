// The program's server in a process of its own, which can be killed.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { LOADER, PROGRAM } from './library';

/** Characters of its log that an error shows. */
const SHOWN = 2000;

export class ServerProcess {
  private where = '';
  private said = '';

  private constructor(private readonly child: ChildProcess) {
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.said = (this.said + text).slice(-SHOWN)));
  }

  /** Serves the model of `folder` under `name`, Node.js with options of its own; resolves when it takes requests. */
  static async start(
    folder: string,
    options: readonly string[] = [],
    { name = 'small', port = 0, node = [] }: { name?: string; port?: number; node?: readonly string[] } = {},
  ): Promise<ServerProcess> {
    const args = [
      ...node,
      ...LOADER,
      PROGRAM,
      'serve',
      '--model',
      `${name}=${folder}`,
      '--port',
      String(port),
      ...options,
    ];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FAST_WEIGHTS_CHECK: '0' },
    });
    const server = new ServerProcess(child);
    for await (const line of createInterface({ input: child.stdout })) {
      server.where = line;
      if (line.startsWith('http')) return server;
    }
    throw new Error(`the server did not start: ${server.said}`);
  }

  /** Where it listens. */
  get url(): string {
    return this.where;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** What it wrote into its log last. */
  get log(): string {
    return this.said;
  }

  /** The status and the JSON of an answer. */
  async post<T = Record<string, unknown>>(path: string, body: object): Promise<{ status: number; body: T }> {
    const answer = await this.send(path, body);
    return { status: answer.status, body: (await answer.json()) as T };
  }

  /** What has come of a stream when `enough` says so, or when it breaks. */
  async stream(path: string, body: object, enough: (text: string) => boolean): Promise<string> {
    const answer = await this.send(path, { ...body, stream: true });
    let text = '';
    try {
      const decoder = new TextDecoder();
      for await (const piece of answer.body!) {
        text += decoder.decode(piece as Uint8Array, { stream: true });
        if (enough(text)) break;
      }
    } catch {
      // It was killed.
    }
    return text;
  }

  /** A number of its page of metrics. */
  async metric(name: string): Promise<number> {
    const page = await (await fetch(`${this.url}/metrics`)).text();
    const line = page.split('\n').find((each) => each.startsWith(`${name} `) || each.startsWith(`${name}{`));
    if (line === undefined) throw new Error(`there is no metric ${name}`);
    return Number(line.slice(line.lastIndexOf(' ') + 1));
  }

  /**
   * Milliseconds that each of its threads, ready to run, has waited for a processor so far; of none where the system does not
   * tell.
   */
  heldBack(): Map<string, number> {
    const tasks = `/proc/${this.child.pid}/task`;
    const waited = new Map<string, number>();
    try {
      for (const task of readdirSync(tasks)) {
        waited.set(task, Number(readFileSync(`${tasks}/${task}/schedstat`, 'latin1').split(' ')[1]) / 1e6);
      }
    } catch {
      // There is no such folder, or a thread has ended meanwhile.
    }
    return waited;
  }

  /** Ends it at once. */
  kill(): Promise<void> {
    return this.end('SIGKILL');
  }

  /** Asks it to end. */
  stop(): Promise<void> {
    return this.end('SIGTERM');
  }

  private send(path: string, body: object): Promise<Response> {
    return fetch(this.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  }

  private async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (!this.running) return;
    this.child.kill(signal);
    await once(this.child, 'exit');
  }
}
