// Clients that do not take their answers: they hold on to nothing that others want.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { serving, type TestServer, until } from './running';

/** More than the buffers of a connection hold, which every event with the whole response repeats. */
const metadata = { a: 'x'.repeat(3_000_000) };

/** Asks for a stream and reads nothing of it. */
async function stalled(running: TestServer, tokens: number): Promise<Socket> {
  const asked = { model: 'small', input: 'ab', max_output_tokens: tokens, ignore_eos: true, stream: true, metadata };
  const body = JSON.stringify(asked);
  const socket = connect(running.server.port, '127.0.0.1').pause();
  socket.on('error', () => undefined);
  const head = ['POST /v1/responses HTTP/1.1', 'host: localhost', 'content-type: application/json'];
  socket.write(`${[...head, `content-length: ${body.length}`].join('\r\n')}\r\n\r\n${body}`);
  await once(socket, 'connect');
  await until(async () => /running_requests\{model="small"\} 1/.test((await running.ask('GET', '/metrics')).text));
  return socket;
}

const short = { model: 'small', prompt: 'ab', max_tokens: 2 };

describe('server: clients that do not take their answers', function () {
  this.timeout(30_000);

  describe('while there is time', () => {
    const running = serving({ maxRunning: 1, requestTimeout: 8 });

    it('give the place back when their text is written', async () => {
      const socket = await stalled(running(), 400);
      const { status } = await running().ask('POST', '/v1/completions', short);
      expect(status).to.equal(200);
      expect(running().log.filter(({ path }) => path === '/v1/responses')).to.eql([]);
      socket.destroy();
    });
  });

  describe('when their time is over', () => {
    const running = serving({ requestTimeout: 5, concurrent: 1, maxTokens: 100_000 });

    it('are hung up on, and no longer count for the limits of their key', async () => {
      const socket = await stalled(running(), 100_000);
      const closed = once(socket, 'close');
      expect((await running().ask('POST', '/v1/completions', short)).status).to.equal(429);
      await until(async () => (await running().ask('POST', '/v1/completions', short)).status === 200, 20_000);
      const { status, code } = running().log.find(({ path }) => path === '/v1/responses')!;
      expect([status, code]).to.eql([504, 'timeout']);
      // It sees the end when it reads again.
      socket.resume();
      await closed;
    });
  });
});
