// The service that the soak loads: conversations over HTTP, each a session of one small model, text as it comes.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo } from 'node:net';
import * as fw from '../../lib';

/** What `POST /v1/completions` takes; the stream of events is that of OpenAI's API. */
interface Request {
  prompt: string;
  max_tokens: number;
  seed: number;
  /** Goes on with the session of this name. */
  conversation: string;
}

/** Sessions beyond these forget the one that was used longest ago. */
const MOST_SESSIONS = 32;

export class Service {
  private readonly model = fw.createModel('deltanet', { vocabSize: 256, hiddenSize: 64, numLayers: 2, numHeads: 1 });
  private readonly sessions = new Map<string, fw.Session>();
  /** What was asked last of each conversation: the next request waits until it is over, also when its client has left. */
  private readonly turns = new Map<string, Promise<void>>();
  private readonly server: Server = createServer((request, response) => {
    this.answer(request, response).catch((error: unknown) => {
      this.failures.push(String(error));
      response.destroy();
    });
  });
  /** Errors that no client has caused. */
  readonly failures: string[] = [];
  tokens = 0;

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    for (const session of this.sessions.values()) session.dispose();
    this.model.dispose();
  }

  private session(name: string): fw.Session {
    const session = this.sessions.get(name) ?? this.model.createSession();
    this.sessions.delete(name);
    this.sessions.set(name, session);
    const [oldest] = this.sessions.keys();
    if (this.sessions.size > MOST_SESSIONS) {
      this.sessions.get(oldest)!.dispose();
      this.sessions.delete(oldest);
    }
    return session;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    try {
      for await (const chunk of request) body += String(chunk);
    } catch {
      return; // The client left.
    }
    const asked = JSON.parse(body) as Request;
    const controller = new AbortController();
    response.on('close', () => controller.abort());
    const before = this.turns.get(asked.conversation);
    const turn = (async () => {
      await before;
      await this.complete(asked, response, controller.signal);
    })();
    const over = turn.catch(() => undefined);
    this.turns.set(asked.conversation, over);
    await turn;
    if (this.turns.get(asked.conversation) === over) this.turns.delete(asked.conversation);
  }

  private async complete(asked: Request, response: ServerResponse, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    try {
      const options = { maxNewTokens: asked.max_tokens, temperature: 1, seed: asked.seed, signal };
      const session = this.session(asked.conversation);
      for await (const { id } of session.generate([...Buffer.from(asked.prompt)], options)) {
        this.tokens++;
        response.write(`data: ${JSON.stringify({ choices: [{ text: String.fromCharCode(id) }] })}\n\n`);
      }
      response.end('data: [DONE]\n\n');
    } catch (error) {
      if (!(error instanceof fw.FastWeightsError) || error.code !== 'ABORTED') throw error;
    }
  }
}
