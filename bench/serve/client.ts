// A client that costs little beside the server that it measures: it counts the events of a stream and reads none of them.
import http from 'node:http';

const NEWLINE = 10;

/** Milliseconds after which a request counts as lost. */
const LONGEST = 300_000;

export class Client {
  private readonly agent = new http.Agent({ keepAlive: true });

  constructor(private readonly url: string) {}

  /** The JSON of an answer; an error with what the server says where it is a failure. */
  async ask<T = Record<string, unknown>>(path: string, body: object, method = 'POST'): Promise<T> {
    const response = await this.send(path, body, method, AbortSignal.timeout(LONGEST));
    return JSON.parse(await textOf(response)) as T;
  }

  /** Calls `arrived` with the number of tokens of each piece of a stream; resolves when it has ended or was broken off. */
  async stream(path: string, body: object, arrived: (tokens: number) => void, signal?: AbortSignal): Promise<void> {
    const bound = AbortSignal.any([AbortSignal.timeout(LONGEST), ...(signal ? [signal] : [])]);
    try {
      const response = await this.send(path, { ...body, stream: true }, 'POST', bound);
      // Two of them end an event; the last event is no token.
      let newlines = 0;
      let told = 0;
      for await (const piece of response as AsyncIterable<Buffer>) {
        for (let at = piece.indexOf(NEWLINE); at >= 0; at = piece.indexOf(NEWLINE, at + 1)) newlines++;
        const events = newlines >> 1;
        if (events > told) arrived(events - told);
        told = events;
      }
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  }

  close(): void {
    this.agent.destroy();
  }

  private send(path: string, body: object, method: string, signal: AbortSignal): Promise<http.IncomingMessage> {
    const text = method === 'GET' ? '' : JSON.stringify(body);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    return new Promise((resolve, reject) => {
      const request = http.request(this.url + path, { method, headers, agent: this.agent, signal }, (response) => {
        if (response.statusCode === 200) return resolve(response);
        textOf(response).then((told) => reject(new Error(`${path}: ${response.statusCode} ${told}`)), reject);
      });
      // The server closes connections that were idle for some seconds, sometimes at this very moment.
      request.on('error', (error: NodeJS.ErrnoException) => {
        const closed = request.reusedSocket && error.code === 'ECONNRESET';
        if (closed) this.send(path, body, method, signal).then(resolve, reject);
        else reject(error);
      });
      request.end(text);
    });
  }
}

async function textOf(response: http.IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of response.setEncoding('utf8') as AsyncIterable<string>) text += piece;
  return text;
}
