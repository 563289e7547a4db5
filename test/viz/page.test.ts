// The report of several runs in Chromium, where one is installed: no page is wider than its window, no number is broken.
import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { renderReport } from '../../lib/viz';
import { Browser, findChromium } from '../support/chromium';

const NAMES = ['deltanet', 'gated-deltanet', 'kda', 'gla', 'mamba2', 'rwkv7', 'ttt-linear', 'titans', 'transformer'];
const summary = { parameters: '99.8k', 'tokens/s': '20.5k', 'state per sequence': '15.1 KiB', sizes: '1 x 88, 1 head' };

const chromium = findChromium();
if (chromium) {
  describe('the report of a comparison in Chromium', function () {
    this.timeout(60_000);
    let folder: string;
    let browser: Browser;
    before(async () => {
      folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-report-'));
      const html = renderReport({ title: 't', runs: NAMES.map((name) => ({ name, summary })) });
      writeFileSync(path.join(folder, 'report.html'), html);
      browser = await Browser.start(chromium);
    });
    after(async () => {
      await browser.close();
      rmSync(folder, { recursive: true });
    });

    for (const width of [420, 1600]) {
      it(`fits ${width} pixels, its numbers whole`, async () => {
        await browser.view(width, false);
        await browser.open(path.join(folder, 'report.html'));
        expect(await browser.evaluate('document.documentElement.scrollWidth')).to.equal(width);
        const lines = await browser.evaluate(`(() => {
          const cells = [...document.querySelectorAll('.summary tbody tr:first-child td')];
          return Math.max(...cells.map((cell) => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return range.getClientRects().length;
          }));
        })()`);
        expect(lines).to.equal(1);
      });
    }
  });
}
