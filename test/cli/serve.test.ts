// `serve` as a process: how it begins, is asked, killed and ended.
import { expect } from 'chai';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type SmallModel, smallModel } from '../server/folder';
import { type Finished, run, start } from './run';

describe('cli: serve', function () {
  this.timeout(60_000);
  let model: SmallModel;
  const folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-serve-'));
  before(async () => (model = await smallModel()));
  after(() => {
    model.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  interface Served {
    child: ChildProcess;
    finished: Promise<Finished>;
    url: string;
  }

  /** Waits for the address that is printed when models are there. */
  async function served(...args: string[]): Promise<Served> {
    const { child, finished } = start(['serve', '--model', `small=${model.folder}`, '--port', '0', ...args]);
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout!.once('data', (data: Buffer) => resolve(data.toString().trim()));
      void finished.then(({ err }) => reject(new Error(err)));
    });
    return { child, finished, url };
  }

  interface Said {
    id: string;
    length: number;
    choices: { text: string }[];
  }
  async function ask(url: string, where: string, body?: object): Promise<Said> {
    const headers = { 'content-type': 'application/json', authorization: 'Bearer a-key-that-is-long-enough' };
    const answer = await fetch(url + where, {
      method: body ? 'POST' : 'GET',
      headers,
      body: body && JSON.stringify(body),
    });
    expect(answer.status).to.equal(200);
    return (await answer.json()) as Said;
  }
  const prompt = { model: 'small', prompt: 'ab', max_tokens: 6, seed: 1 };

  it('answers until a signal ends it, which the process ends by', async () => {
    const keys = path.join(folder, 'keys');
    writeFileSync(keys, 'a-key-that-is-long-enough name=me');
    const { child, finished, url } = await served('--keys', keys);
    expect((await ask(url, '/v1/completions', prompt)).choices).to.have.lengthOf(1);
    expect((await fetch(`${url}/v1/models`)).status).to.equal(401);
    child.kill('SIGTERM');
    const { code, signal, out, err } = await finished;
    expect([code, signal, out.trim()]).to.eql([143, 'SIGTERM', url]);
    const lines = err
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { message: string; key?: string });
    expect(lines.map(({ message }) => message)).to.include.members(['listening', 'model ready', 'request', 'stopped']);
    expect(lines.find(({ key }) => key === 'me')).not.to.equal(undefined);
  });

  it('loses nothing that it has acknowledged when it is killed', async () => {
    const states = path.join(folder, 'states');
    const first = await served('--states', states);
    const { id } = await ask(first.url, '/v1/sessions', { model: 'small', prompt: 'abc' });
    const fork = await ask(first.url, `/v1/sessions/${id}/fork`, {});
    const expected = await ask(first.url, `/v1/sessions/${fork.id}/completions`, prompt);
    // In the middle of a turn that nobody has an answer of.
    void fetch(`${first.url}/v1/sessions/${id}/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...prompt, max_tokens: 2000, ignore_eos: true }),
    }).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 200));
    first.child.kill('SIGKILL');
    await first.finished;
    const second = await served('--states', states);
    expect((await ask(second.url, `/v1/sessions/${id}`)).length).to.equal(3);
    expect((await ask(second.url, `/v1/sessions/${id}/completions`, prompt)).choices).to.eql(expected.choices);
    second.child.kill('SIGINT');
    expect((await second.finished).code).to.equal(130);
  });

  it('refuses what it cannot do, before it listens', async () => {
    const refused = async (pattern: RegExp, code: number, ...args: string[]): Promise<void> => {
      const finished = await run('serve', ...args);
      expect(finished.err).to.match(pattern);
      expect([finished.code, finished.out]).to.eql([code, '']);
    };
    const given = ['--model', model.folder];
    await refused(/required option '--model/, 2);
    await refused(
      /--draft must be name=dir with the name of a model \(.+\), got other=/,
      2,
      ...given,
      '--draft',
      `other=${model.folder}`,
    );
    await refused(
      /--adapter must be model:name=dir with the name of a model \(.+\), got fr/,
      2,
      ...given,
      '--adapter',
      'fr',
    );
    await refused(/--adapter must be model:name=dir/, 2, ...given, '--adapter', 'other:fr=x');
    await refused(/--adapter is given twice for fr/, 2, ...given, '--adapter', 'fr=x', '--adapter', 'fr=y');
    await refused(/--draft is given twice for /, 2, ...given, ...['--draft', model.folder, '--draft', model.folder]);
    const place = ['--model-device', `${path.basename(model.folder)}=gpu`];
    await refused(
      /--model-device must be name=device with the name of a model \(.+\) and 'cuda'/,
      2,
      ...given,
      ...place,
    );
    await refused(/--model-device must be name=device .* got other=js/, 2, ...given, '--model-device', 'other=js');
    await refused(/--model must be a run folder/, 1, '--model', path.join(folder, 'nothing'));
    await refused(/host must be a loopback address/, 1, ...given, '--host', '0.0.0.0');
    await refused(/there is no|no such file/i, 1, ...given, '--keys', path.join(folder, 'nothing'));
    await refused(/It must be a whole number/, 2, ...given, '--port', 'x');
    await refused(/holds no tokenizer.json/, 1, '--port', '0', '--model', folder);
  });
});
