// Pages in a headless Chromium, where there is one: CHROMIUM names it, else the PATH has it. Spoken to over a pipe, without a
// library (Chrome DevTools Protocol, messages of JSON that end with a zero).
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'chrome', 'chromium-headless-shell'];

/** Where a Chromium is; undefined where there is none. */
export function findChromium(): string | undefined {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return NAMES.flatMap((name) => folders.map((folder) => path.join(folder, name))).find((file) => existsSync(file));
}

type Answer = {
  id?: number;
  method?: string;
  result?: Record<string, unknown>;
  error?: { message: string };
  params?: Record<string, unknown>;
};

/** A browser with one page. */
export class Browser {
  private readonly child: ChildProcess;
  private readonly profile = mkdtempSync(path.join(tmpdir(), 'fast-weights-chromium-'));
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private count = 0;
  private session?: string;
  /** What went wrong in the page, and what it asked the network for, but for the server that it is from. */
  readonly complaints: string[] = [];
  private origin = 'file://';

  private constructor(program: string) {
    const flags = [
      '--headless=shell',
      '--no-sandbox',
      '--no-zygote',
      '--disable-gpu',
      '--hide-scrollbars',
      '--remote-debugging-pipe',
    ];
    this.child = spawn(program, [...flags, `--user-data-dir=${this.profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    let rest = '';
    (this.child.stdio[4] as Readable).on('data', (chunk: Buffer) => {
      const messages = (rest + chunk.toString()).split('\0');
      rest = messages.pop()!;
      for (const message of messages) this.take(JSON.parse(message) as Answer);
    });
  }

  static async start(program: string): Promise<Browser> {
    const browser = new Browser(program);
    const { targetId } = await browser.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await browser.call('Target.attachToTarget', { targetId, flatten: true });
    browser.session = sessionId as string;
    await browser.call('Runtime.enable');
    await browser.call('Network.enable');
    await browser.call('Log.enable');
    return browser;
  }

  private take(answer: Answer): void {
    if (answer.id !== undefined) return this.waiting.get(answer.id)?.(answer);
    if (answer.method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(answer.params));
    if (answer.method === 'Network.requestWillBeSent') {
      const { url } = (answer.params as { request: { url: string } }).request;
      if (!url.startsWith(this.origin)) this.complaints.push(url);
    }
    if (answer.method === 'Log.entryAdded') {
      const { entry } = answer.params as { entry: { level: string; text: string } };
      if (entry.level === 'error') this.complaints.push(entry.text);
    }
  }

  private async call(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = ++this.count;
    const answer = await new Promise<Answer>((resolve) => {
      this.waiting.set(id, resolve);
      (this.child.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, sessionId: this.session })}\0`);
    });
    if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result!;
  }

  /** A file, or a page of a server. */
  async open(page: string): Promise<void> {
    const url = page.startsWith('http:') ? page : `file://${page}`;
    this.origin = page.startsWith('http:') ? new URL(page).origin : 'file://';
    await this.call('Page.navigate', { url });
    while ((await this.evaluate('document.readyState + location.href')) !== `complete${url}`) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async view(width: number, dark: boolean, height = 900): Promise<void> {
    await this.call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
    const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
    await this.call('Emulation.setEmulatedMedia', { features });
  }

  /** What an expression gives; promises are waited for. */
  async evaluate(expression: string): Promise<unknown> {
    const answer = await this.call('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    if (answer.exceptionDetails) throw new Error(JSON.stringify(answer.exceptionDetails));
    return (answer.result as { value: unknown }).value;
  }

  async press(key: string): Promise<void> {
    for (const type of ['rawKeyDown', 'keyUp']) {
      const code = { ArrowLeft: 37, ArrowRight: 39, ArrowUp: 38, ArrowDown: 40, Home: 36, End: 35 }[key];
      await this.call('Input.dispatchKeyEvent', { type, key, code: key, windowsVirtualKeyCode: code });
    }
  }

  /** The whole page as a PNG. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.call('Page.captureScreenshot', { captureBeyondViewport: true, format: 'png' });
    return Buffer.from(data as string, 'base64');
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await gone;
    // Its other processes may write for a moment yet.
    await rm(this.profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 20 });
  }
}
