// Long prompts as ids in a thread of their own: the same ids, and nothing else waits for them.
import { expect } from 'chai';
import { watchEventLoop } from '../../lib/platform';
import { loadChatTemplate } from '../../lib/server/engine/chatTemplate';
import { Encoder } from '../../lib/server/engine/encoder';
import { type Codec, encodePrompt } from '../../lib/server/engine/encoding';
import { loadTokenizer } from '../../lib/io';
import { type SmallModel, smallModel } from './folder';

describe('server: prompts as ids', function () {
  this.timeout(60_000);
  let model: SmallModel;
  let codec: Codec;
  let encoder: Encoder;
  before(async () => {
    model = await smallModel();
    const { folder } = model;
    codec = {
      tokenizer: await loadTokenizer(folder),
      template: await loadChatTemplate(folder),
      maxPromptTokens: 1_000_000,
    };
    encoder = new Encoder(codec, { folder });
  });
  after(() => {
    encoder.dispose();
    model.remove();
  });
  const text = 'A long text, of which there is more. '.repeat(6000);
  const signal = (): AbortSignal => new AbortController().signal;

  it('are those of the same thread, with the ends of messages', async () => {
    const message = (role: string, content: string) => ({ role, content });
    for (const prompt of [
      { kind: 'text', text } as const,
      { kind: 'chat', messages: [message('system', 'Be brief.'), message('user', text)] } as const,
    ]) {
      const found = await encoder.encode(prompt, 'empty', signal());
      expect(found).to.eql(encodePrompt(codec, prompt, 'empty'));
      if (prompt.kind === 'chat') expect(found.messageEnds).to.eql([8 + 9 + 2, found.ids.length - 11]);
    }
  });

  it('hold up nothing in this one', async () => {
    const began = performance.now();
    encodePrompt(codec, { kind: 'text', text }, 'empty');
    const here = performance.now() - began;
    const loop = watchEventLoop();
    const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
    await turn();
    await encoder.encode({ kind: 'text', text }, 'empty', signal());
    await turn();
    const late = loop.quantile(1);
    loop.stop();
    expect(late).to.be.below(Math.max(50, here / 2));
  });

  it('are broken off, refused and made again', async () => {
    const failure = (promise: Promise<unknown>): Promise<unknown> =>
      promise.then(
        () => 'made',
        (error: { status: number; code: string }) => [error.status, error.code],
      );
    const controller = new AbortController();
    const broken = failure(encoder.encode({ kind: 'text', text }, 'empty', controller.signal));
    const next = encoder.encode({ kind: 'text', text: text.slice(0, 5000) }, 'empty', signal());
    controller.abort();
    expect(await broken).to.eql([499, 'aborted']);
    expect((await next).ids).to.have.lengthOf(5000);
    const few = new Encoder({ ...codec, maxPromptTokens: 10 }, { folder: model.folder });
    expect(await failure(few.encode({ kind: 'text', text }, 'empty', signal()))).to.eql([
      400,
      'context_length_exceeded',
    ]);
    few.dispose();
    const nowhere = new Encoder(codec, { folder: `${model.folder}/none` });
    expect(await failure(nowhere.encode({ kind: 'text', text }, 'empty', signal()))).to.eql([503, 'engine_died']);
    // A thread that has died is begun again.
    expect(await failure(nowhere.encode({ kind: 'text', text }, 'empty', signal()))).to.eql([503, 'engine_died']);
  });
});
