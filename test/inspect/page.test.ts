// The page of an inspection: that it needs nothing else, that its numbers are those of the inspection, and in a Chromium,
// where there is one, that it works.
import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createContext, runInContext } from 'node:vm';
import * as fw from '../../lib';
import { type Inspection, renderInspection, statesOf } from '../../lib/inspect';
import { numbersScript } from '../../lib/inspect/page/script/numbers';
import { Browser, findChromium } from '../support/chromium';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

const TEXT = [...'ab<c a</script>b\nca&b'];
const alphabet = [...new Set(TEXT)];

async function inspection(name: fw.ModelName, tokens = TEXT): Promise<Inspection> {
  fw.manualSeed(5);
  const sizes = { vocabSize: alphabet.length, hiddenSize: 16, numLayers: 2, numHeads: 2, device: 'js' } as const;
  using model = fw.createModel(name, sizes);
  return await fw.inspectFastWeights(
    model,
    tokens.map((c) => alphabet.indexOf(c)),
  );
}

/** The parts of a page that its script reads and is. */
function partsOf(html: string): { data: string; script: string } {
  const [data, script] = [...html.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)].map(([, text]) => text);
  return { data, script };
}

/** As the page has them: rounded to 16 bits. */
const ROUNDED = 1e-3;

describe('the page of an inspection', () => {
  for (const name of ['gated-deltanet', 'srwm', 'kda'] as const) {
    it(`${name}: its script finds the states of the inspection`, async () => {
      const found = await inspection(name);
      const { data, script } = partsOf(renderInspection(found, { tokens: TEXT }));
      expect(script).to.include(numbersScript);
      const context = createContext({ page: JSON.parse(data) as object, atob, Uint8Array });
      const at = (i: number, steps: number): ArrayLike<number> =>
        runInContext(`Array.from(stateAt(open(page.memories[${i}]), ${steps}))`, context) as number[];
      runInContext(numbersScript, context);
      found.memories.forEach((memory, i) => {
        let last: Float64Array = memory.inputs.initialState;
        for (const { after } of statesOf(memory.inputs)) last = Float64Array.from(after);
        expectClose('the last state', at(i, memory.inputs.steps), last, ROUNDED);
        const weights = runInContext(
          `open(page.memories[${i}]).weights.map((row) => Array.from(row))`,
          context,
        ) as number[][];
        expectClose(
          'weights',
          weights.flat(),
          memory.course.dual.flatMap((row) => [...row.weights]),
          ROUNDED,
        );
        const { steps } = memory.inputs;
        const fate = (j: number): { kept: number; taken: number; faded: number } =>
          runInContext(`fateOf(open(page.memories[${i}]), ${j}, ${steps})`, context) as never;
        memory.course.fates.forEach(({ kept, taken }, j) => {
          const [left, lost] = [kept.at(-1)!, taken.reduce((sum, x) => sum + x, 0)];
          const { kept: here, taken: there, faded } = fate(j);
          expect(here).to.be.closeTo(left, ROUNDED);
          expect(there).to.be.closeTo(lost, 20 * ROUNDED);
          expect(faded).to.be.closeTo(1 - left - lost, 20 * ROUNDED);
        });
      });
    });
  }

  it('needs nothing else, and takes text as text', async () => {
    const html = renderInspection(await inspection('deltanet'), { tokens: TEXT, title: '<b>', subtitle: 'a & b' });
    expect(html.match(/<script/g)).to.have.lengthOf(2);
    expect(html).to.not.match(
      /\b(src|href)=|@import|url\(|https?:(?!\/\/www\.w3\.org\/2000\/svg)|<b>\s*<\/h1>|fetch\(/,
    );
    expect(html).to.include('<h1>&#60;b&#62;</h1>').and.include('a &#38; b');
    const { tokens } = JSON.parse(partsOf(html).data) as { tokens: string[] };
    expect(tokens).to.eql(TEXT);
  });

  it('says what was left out, and refuses texts of other lengths and unknown options', async () => {
    const found = { ...(await inspection('deltanet')), omitted: 3 };
    expect(renderInspection(found, { tokens: TEXT })).to.include('3 more memories are left out');
    expectError('SHAPE', /tokens must be 21 texts, got 1/, () => renderInspection(found, { tokens: ['a'] }));
    expectError('INVALID_ARGUMENT', /token\b/, () => renderInspection(found, { token: TEXT } as never));
  });
});

const chromium = findChromium();
if (chromium) {
  describe('the page of an inspection in Chromium', function () {
    this.timeout(60_000);
    let folder: string;
    let file: string;
    let browser: Browser;
    let found: Inspection;
    before(async () => {
      folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-page-'));
      file = path.join(folder, 'page.html');
      found = await inspection('srwm');
      writeFileSync(file, renderInspection(found, { tokens: TEXT }));
      browser = await Browser.start(chromium);
    });
    after(async () => {
      await browser.close();
      rmSync(folder, { recursive: true });
    });
    const text = async (id: string): Promise<string> =>
      String(await browser.evaluate(`document.getElementById('${id}').textContent`));

    for (const width of [420, 800, 1600]) {
      for (const dark of [false, true]) {
        it(`fits ${width} pixels, ${dark ? 'dark' : 'light'}`, async () => {
          await browser.view(width, dark);
          await browser.open(file);
          expect(await browser.evaluate('document.documentElement.scrollWidth')).to.equal(width);
          const ground = String(await browser.evaluate('getComputedStyle(document.body).backgroundColor'));
          const channels = ground.match(/\d+/g)!.slice(0, 3).map(Number);
          expect(Math.max(...channels) < 60, ground).to.equal(dark);
          expect(await browser.evaluate('document.querySelectorAll("#series svg[role=img]").length')).to.equal(5);
        });
      }
    }

    it('goes through time by keyboard and by click, and reads entries out', async () => {
      await browser.view(1000, false);
      await browser.open(file);
      await browser.evaluate(`document.getElementById('step').focus()`);
      await browser.press('Home');
      expect(await text('moment')).to.match(/^The start/);
      expect(await browser.evaluate(`document.getElementById('write').hidden`)).to.equal(true);
      await browser.press('ArrowRight');
      expect(await text('moment')).to.equal(`After step 1 of ${TEXT.length}, token a`);
      for (let t = 2; t <= 7; t++) await browser.press('ArrowRight');
      expect(await text('moment')).to.match(/^After step 7 /);
      expect(await browser.evaluate(`document.getElementById('step').getAttribute('aria-valuetext')`)).to.match(
        /step 7/,
      );
      expect(await text('write-facts')).to.match(/rate of W_y.*rate of W_q.*rate of W_k.*rate of w_b/);
      // The first matrix of the first layer, first head, after 7 steps, its entry [2, 1].
      const { inputs } = found.memories[0];
      const state = stateAfter(inputs, 7);
      await browser.evaluate(`document.getElementById('matrix').focus()`);
      for (const key of ['ArrowDown', 'ArrowDown', 'ArrowRight']) await browser.press(key);
      const said = (await text('matrix-value')).replace('\u2212', '-').match(/component 3, value component 2: (\S+)/)!;
      expect(Number(said[1])).to.be.closeTo(state[2 * inputs.valueDim + 1], 1e-3);
    });

    it('looks at a token by click and by keyboard: what it reads, what has overwritten it, what is left', async () => {
      const file = path.join(folder, 'delta.html');
      const delta = await inspection('gated-deltanet');
      writeFileSync(file, renderInspection(delta, { tokens: TEXT }));
      await browser.open(file);
      const { fates, dual } = delta.memories[0].course;
      const stepsIn = async (id: string): Promise<number[]> =>
        (await browser.evaluate(
          `[...document.querySelectorAll('#${id} tr td:first-of-type')].map((cell) => Number(cell.textContent) - 1)`,
        )) as number[];
      const largest = (values: [step: number, value: number][]): number[] =>
        values
          .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))
          .map(([t]) => t)
          .slice(0, 6);
      expect(await text('token-step')).to.equal(`step ${TEXT.length} of ${TEXT.length}`);
      expect(await stepsIn('overwritten')).to.eql([]);
      await browser.evaluate(`document.querySelectorAll('#text span')[6].click()`);
      expect(await text('token-step')).to.equal(`step 7 of ${TEXT.length}`);
      expect(await text('moment')).to.match(/^After step 21 /);
      expect(await stepsIn('reads')).to.eql(largest([...dual[6].weights.entries()]));
      const took = [...fates[6].taken.entries()].map(([n, x]): [number, number] => [6 + n, x]);
      expect(await stepsIn('overwritten')).to.eql(largest(took.filter(([, x]) => x > 0)));
      const gave = Array.from({ length: 6 }, (_, j): [number, number] => [j, fates[j].taken[6 - j]]);
      expect(await stepsIn('overwrote')).to.eql(largest(gave.filter(([, x]) => x > 0)));
      const left = Math.round(100 * fates[6].kept.at(-1)!);
      expect(await text('fate-words')).to.include(`still reads ${left < 10 ? '' : `${left} %`}`);
      const marked = `[...document.querySelectorAll('#text span')].findIndex((span) => span.classList.contains('now'))`;
      expect(await browser.evaluate(marked)).to.equal(6);
      // The text is green by what is left, and marked by what reads and takes.
      const spans = (await browser.evaluate(
        `[...document.querySelectorAll('#text span')].map((span) => [span.className, Number(span.style.getPropertyValue('--left'))])`,
      )) as [string, number][];
      const most = Math.max(...dual[6].weights.map(Math.abs));
      spans.forEach(([mark, green], i) => {
        expect(green).to.be.closeTo(0.62 * Math.max(0, Math.min(1, fates[i].kept.at(-1)!)), 2e-3);
        const share = i < 6 ? dual[6].weights[i] / most : i > 6 ? fates[6].taken[i - 6] : 0;
        if (Math.abs(Math.abs(share) - 0.05) < 1e-3) return;
        const expected = Math.abs(share) < 0.05 ? '' : i > 6 ? 'took' : share < 0 ? 'minus' : 'plus';
        expect(mark, `${i}`).to.equal(i === 6 ? 'now' : expected);
      });
      // So is the lane, from the bottom up: what is left, then what was taken.
      const bars = (await browser.evaluate(`(() => {
        const lane = document.getElementById('lane');
        const { width, height } = lane;
        const paint = (name) => colour(name).split(' ').join();
        const names = { [paint('--kept')]: 'kept', [paint('--taken')]: 'taken', [paint('--faded')]: 'faded' };
        return page.tokens.map((_, j) => {
          const x = Math.floor((j + 0.5) * width / memory.steps);
          const column = lane.getContext('2d').getImageData(x, height - LANE.fates, 1, LANE.fates).data;
          const seen = Array.from({ length: LANE.fates }, (_, y) => names[column.slice(4 * y, 4 * y + 3).join()]);
          return ['kept', 'taken', 'faded'].map((name) => seen.filter((one) => one === name).length / LANE.fates);
        });
      })()`)) as number[][];
      bars.forEach(([kept, taken], j) => {
        if (j === 6) return;
        const left = Math.max(0, Math.min(1, fates[j].kept.at(-1)!));
        const lost = Math.max(
          0,
          Math.min(
            1 - left,
            fates[j].taken.reduce((sum, x) => sum + x, 0),
          ),
        );
        expect(kept).to.be.closeTo(left, 0.05);
        expect(taken).to.be.closeTo(lost, 0.05);
      });
      await browser.evaluate(`document.getElementById('lane').focus()`);
      await browser.press('ArrowLeft');
      expect(await browser.evaluate(marked)).to.equal(5);
      expect(await text('lane-value')).to.match(/^step 6 \(.*%.* left, .*% overwritten, .*% faded/);
      await browser.press('End');
      expect(await browser.evaluate(marked)).to.equal(TEXT.length - 1);
      await browser.evaluate(`document.querySelector('#overwrote button').click()`);
      expect(await browser.evaluate(marked)).to.be.below(TEXT.length - 1);
    });

    it('shows which heads hold how much, and goes to one', async () => {
      fw.manualSeed(5);
      using model = fw.createModel('gated-deltanet', { vocabSize: 5, hiddenSize: 16, numLayers: 2, numHeads: 2 });
      const tokens = [...'abcab'];
      const shown = path.join(folder, 'heads.html');
      const surveyed = await fw.inspectFastWeights(
        model,
        tokens.map((c) => c.charCodeAt(0) - 97),
        { survey: true, limit: 0 },
      );
      const rest = await fw.inspectFastWeights(model, [0, 1, 2, 0, 1], { layer: 2, head: 2 });
      const both = { ...surveyed, memories: [...surveyed.memories, ...rest.memories] };
      writeFileSync(shown, renderInspection(both, { tokens }));
      await browser.open(shown);
      const cells = `[...document.querySelectorAll('#heads button')]`;
      const read = async (what: string): Promise<unknown> => browser.evaluate(`${cells}.map((cell) => ${what})`);
      const holds = surveyed.places.flatMap((place) => [...place.holds!]);
      ((await read('Number(cell.textContent)')) as number[]).forEach((x, i) =>
        expect(x).to.be.closeTo(holds[i], 0.06 * holds[i]),
      );
      expect(await read('cell.disabled')).to.eql([false, true, true, false]);
      await browser.evaluate(`${cells}[3].click()`);
      expect(await read(`cell.ariaPressed`)).to.eql(['false', 'false', 'false', 'true']);
      expect(await browser.evaluate('[memory.layer, memory.head]')).to.eql([2, 2]);
      expect(await browser.evaluate(`document.getElementById('layer').value`)).to.equal('2');
    });

    it('shows a text of one token', async () => {
      const short = path.join(folder, 'short.html');
      writeFileSync(short, renderInspection(await inspection('srwm', ['a']), { tokens: ['a'] }));
      await browser.open(short);
      expect(await text('moment')).to.equal('After step 1 of 1, token a');
      expect(await browser.evaluate(`document.getElementById('write').hidden`)).to.equal(false);
      expect(Number(await text('norm'))).to.be.above(0);
    });

    it('fits 420 pixels with long tokens, too', async () => {
      const long = path.join(folder, 'long.html');
      const tokens = TEXT.map((c) => c.repeat(40));
      writeFileSync(long, renderInspection(await inspection('deltanet'), { tokens }));
      await browser.view(420, false);
      await browser.open(long);
      expect(await browser.evaluate('document.documentElement.scrollWidth')).to.equal(420);
    });

    it('shows every memory that there is', async () => {
      await browser.open(file);
      const seen = await browser.evaluate(`(() => {
        const seen = [];
        const set = (id, value) => { const list = document.getElementById(id); list.value = value; list.dispatchEvent(new Event('change')); };
        const options = (id) => [...document.getElementById(id).options].map((o) => o.value);
        for (const layer of options('layer')) { set('layer', layer);
          for (const name of options('name')) { set('name', name);
            for (const head of options('head')) { set('head', head); seen.push([layer, name, head, memory.layer, memory.matrix, memory.head].join(' ')); } } }
        return seen;
      })()`);
      expect(seen).to.eql(
        found.memories.map(({ layer, matrix, head }) => `${layer} ${matrix} ${head} ${layer} ${matrix} ${head}`),
      );
    });

    it('fails nowhere and asks the network for nothing', () => {
      expect(browser.complaints).to.eql([]);
    });
  });
}

function stateAfter(inputs: Inspection['memories'][number]['inputs'], steps: number): Float64Array {
  let state = inputs.initialState;
  for (const { t, after } of statesOf(inputs)) if (t < steps) state = Float64Array.from(after);
  return state;
}
