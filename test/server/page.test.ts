// The pages of a server: what they may load, and in a Chromium, where there is one, a talk beside the inspector.
import { expect } from 'chai';
import { Browser, findChromium } from '../support/chromium';
import { serving, until } from './running';

const KEY = 'key-of-alice-0123456789';

describe('server: pages', function () {
  this.timeout(60_000);
  const running = serving({ keys: KEY });

  it('load nothing else; the inspector stands in no page of others', async () => {
    for (const [path, frames] of [
      ['/', /frame-src 'self'; frame-ancestors 'none'/],
      ['/inspector', /frame-ancestors 'self'$/],
    ] as const) {
      const { status, headers, text } = await running().ask('GET', path);
      expect([status, headers.get('content-type')]).to.eql([200, 'text/html; charset=UTF-8']);
      const policy = headers.get('content-security-policy')!;
      expect(policy)
        .to.match(frames)
        .and.match(/default-src 'none'.*connect-src 'self'/);
      expect(text).to.not.match(
        /<(script|link|img)[^>]+(src|href)=|@import|url\(|https?:(?!\/\/www\.w3\.org\/2000\/svg)/,
      );
    }
  });

  const chromium = findChromium();
  if (chromium) {
    describe('in Chromium', () => {
      let browser: Browser;
      before(async () => (browser = await Browser.start(chromium)));
      after(() => browser.close());
      const evaluate = (expression: string): Promise<unknown> => browser.evaluate(expression);
      /** In the inspector. */
      const seen = (expression: string): Promise<unknown> =>
        evaluate(
          `(() => { const { document, getComputedStyle } = at('inspector').contentWindow; return ${expression}; })()`,
        );
      const textOf = async (id: string): Promise<string> =>
        String(await seen(`document.getElementById('${id}').textContent`));
      const say = async (text: string): Promise<void> => {
        const before = await evaluate(`at('length').textContent`);
        await evaluate(`at('text').value = ${JSON.stringify(text)}; at('form').requestSubmit()`);
        await until(
          async () => (await evaluate(`running === null && at('length').textContent !== '${String(before)}'`)) === true,
        );
      };
      const shown = (tokens: number): Promise<void> =>
        until(async () => {
          const text = await textOf('read').catch(() => '');
          return text === `${tokens} tokens` && (await seen(`document.getElementById('shown-all').ariaBusy`)) === null;
        });

      it('the inspector follows a talk: its tokens, layers and heads, what is chosen, another session', async () => {
        await browser.view(1400, false);
        await browser.open(`${running().server.url}/`);
        await evaluate(
          `at('key').value = '${KEY}'; at('key').dispatchEvent(new Event('change')); at('tokens').value = 4`,
        );
        await until(async () => (await evaluate('models.size')) === 1);
        await evaluate(`at('look').click()`);
        await until(async () => (await evaluate(`typeof at('inspector').contentWindow.inspect`)) === 'function');
        await until(async () => /Nothing has been read/.test(await textOf('state')));
        expect(await seen(`document.getElementById('shown-all').hidden`)).to.equal(true);
        await say('the key, the value, the key');
        const length = Number(await evaluate(`at('length').textContent`));
        await shown(length);
        expect(await seen(`document.querySelectorAll('#text span').length`)).to.equal(length);
        expect(await textOf('text')).to.include('the key, the value, the key');
        expect(await textOf('moment')).to.match(new RegExp(`^After step ${length} of ${length}`));
        await seen(`document.querySelectorAll('#text span')[10].click()`);
        expect(await textOf('token-step')).to.equal(`step 11 of ${length}`);
        const before = await textOf('norm');
        await seen(
          `(() => { const head = document.getElementById('head'); head.value = '2'; head.dispatchEvent(new Event('change')); })()`,
        );
        await until(async () => (await textOf('norm')) !== before);
        expect(await textOf('token-step')).to.equal(`step 11 of ${length}`);
        const cells = `[...document.querySelectorAll('#heads button')]`;
        expect(await seen(`${cells}.map((cell) => cell.ariaPressed).join()`)).to.equal('false,true');
        await seen(`${cells}[0].click()`);
        await until(async () => (await textOf('norm')) === before);
        expect(await seen(`document.getElementById('head').value`)).to.equal('1');
        await seen(`${cells}[1].click()`);
        await until(async () => (await textOf('norm')) !== before);
        await say('and more');
        await shown(Number(await evaluate(`at('length').textContent`)));
        expect(await seen(`document.getElementById('head').value`)).to.equal('2');
        await evaluate(`at('undo').click()`);
        await shown(length);
        await evaluate(`at('fresh').click()`);
        await until(async () => /Nothing has been read/.test(await textOf('state')));
      });

      for (const [width, dark] of [
        [1400, true],
        [420, false],
      ] as const) {
        it(`fits ${width} pixels, ${dark ? 'dark' : 'light'}`, async () => {
          await browser.view(width, dark);
          await say('a');
          await until(async () => (await textOf('state')) === '');
          expect(await evaluate('document.documentElement.scrollWidth')).to.equal(width);
          expect(await seen('document.documentElement.scrollWidth <= document.documentElement.clientWidth')).to.equal(
            true,
          );
          const ground = String(await seen('getComputedStyle(document.body).backgroundColor'));
          expect(Math.max(...ground.match(/\d+/g)!.slice(0, 3).map(Number)) < 60, ground).to.equal(dark);
        });
      }

      it('says what cannot be shown', async () => {
        await evaluate(`at('inspector').contentWindow.inspect('sess_none', ask)`);
        expect(await textOf('state')).to.match(/No session 'sess_none' is there/);
      });

      it('fails nowhere, but for what was refused, and asks no one else', () => {
        expect(browser.complaints.filter((text) => !/status of 40[14]/.test(text))).to.eql([]);
      });
    });
  }
});
