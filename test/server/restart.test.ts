// A server with a folder of states that is killed in the middle of a streamed answer and started again: the client asks again
// and has the tokens that it would have had.
import { expect } from 'chai';
import { temporaryFolder } from '../io/folder';
import { ServerProcess } from '../support/serverProcess';
import { type SmallModel, smallModel } from './folder';
import type { Answered } from './running';

/** Events after which it is killed: far from all of `LONG`, which the client never has. */
const TOLD = 8;
const LONG = 4000;

describe('server: started again', function () {
  this.timeout(120_000);
  const inFolder = temporaryFolder();
  let model: SmallModel;
  let server: ServerProcess;

  const start = async (): Promise<void> => {
    server = await ServerProcess.start(model.folder, ['--states', inFolder('states')]);
  };
  before(async () => {
    model = await smallModel();
    await start();
  });
  after(async () => {
    await server?.kill();
    model?.remove();
  });

  const post = async (path: string, body: object): Promise<Answered> => {
    const answer = await server.post<Answered>(path, body);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    return answer.body;
  };
  const get = async (path: string): Promise<Answered> => (await (await fetch(server.url + path)).json()) as Answered;

  /** The data of the events that came before the server was killed in the middle of them. */
  async function brokenOff(path: string, body: object): Promise<Record<string, unknown>[]> {
    const text = await server.stream(path, body, (told) => told.split('\n\n').length > TOLD);
    expect(text).to.not.match(/\[DONE\]|response\.completed/);
    await server.kill();
    await start();
    const whole = text.split('\n\n').slice(0, -1);
    return whole.map((event) => JSON.parse(event.slice(event.indexOf('data: ') + 6)) as Record<string, unknown>);
  }

  const drawn = { model: 'small', temperature: 1, seed: 7, ignore_eos: true };

  it('a session goes on from its last answer, with the same tokens', async () => {
    const { id } = await post('/v1/sessions', { model: 'small', prompt: 'Once upon a time' });
    const path = `/v1/sessions/${id}/completions`;
    await post(path, { ...drawn, max_tokens: 20, prompt: ' there was' });
    const { length } = await get(`/v1/sessions/${id}`);
    const turn = { ...drawn, max_tokens: 60, prompt: ' and then' };
    const long = { ...turn, max_tokens: LONG };
    const onCopy = async (body: object): Promise<Answered> => {
      const copy = await post(`/v1/sessions/${id}/fork`, {});
      return post(`/v1/sessions/${copy.id}/completions`, body);
    };
    const expected = await onCopy(turn);
    const all = await onCopy(long);

    const events = await brokenOff(path, long);
    const told = events.map(({ choices }) => (choices as Answered['choices'])[0].text).join('');
    expect(told).to.not.equal('');
    expect(all.choices[0].text.startsWith(told)).to.equal(true);
    expect((await get(`/v1/sessions/${id}`)).length).to.equal(length);
    const again = await post(path, turn);
    expect(again.choices).to.eql(expected.choices);
    expect(again.usage.prompt_tokens_details.cached_tokens).to.equal(length);
  });

  it('a response goes on from the one before, with the same tokens', async () => {
    const first = await post('/v1/responses', { ...drawn, max_output_tokens: 20, input: 'Who is there?' });
    const turn = { ...drawn, input: 'And who else?', previous_response_id: first.id };
    const expected = await post('/v1/responses', { ...turn, max_output_tokens: 60 });
    const long = { ...turn, max_output_tokens: LONG };
    const all = await post('/v1/responses', long);

    const events = await brokenOff('/v1/responses', long);
    const [{ response }] = events as { response: { id: string } }[];
    const told = events.map(({ delta }) => delta ?? '').join('');
    expect(told).to.not.equal('');
    expect(textOf(all).startsWith(told)).to.equal(true);
    // What was broken off is nowhere; what was answered before is.
    expect((await fetch(`${server.url}/v1/responses/${response.id}`)).status).to.equal(404);
    const { status } = await server.post('/v1/responses', { ...turn, previous_response_id: response.id });
    expect(status).to.be.within(400, 404);
    expect((await get(`/v1/responses/${expected.id}`)).output).to.eql(expected.output);
    expect(textOf(await post('/v1/responses', { ...turn, max_output_tokens: 60 }))).to.equal(textOf(expected));
    const next = { ...drawn, max_output_tokens: 5, input: 'No more?' };
    await post('/v1/responses', { ...next, previous_response_id: expected.id });
  });
});

function textOf({ output }: Answered): string {
  const [{ content }] = output as { content: { text: string }[] }[];
  return content[0].text;
}
