// The demo's pictures fit the terminal, and its example is one that the first memory gets right and the other wrong.
import { expect } from 'chai';
import '../../lib';
import { LiveBars } from '../../lib/cli/demoBars';
import { storyReport, storyText, tellStory } from '../../lib/cli/demoStory';
import { fitParts, screen, wrapText } from '../../lib/cli/terminal';
import { type Tensor } from '../../lib/core';
import { createTask } from '../../lib/data';
import type { RecurrentModel, State } from '../../lib/inference';
import { tensor, zeros } from '../../lib/ops';
import { displayWidth } from '../../lib/viz/terminal';

const TITLES = ['delta rule (DeltaNet)', 'sum rule (linear attention)'];

/** Remembers the last value of every key, or the first one, in memory [1, 1, vocabulary, 1]. */
function table(vocabSize: number, firstKey: number, last: boolean): RecurrentModel {
  const read = (ids: Tensor, state: State): { logits: Tensor; state: State } => {
    const memory = Array.from((state as { memory: Tensor }).memory.dataSync());
    const tokens = Array.from(ids.dataSync());
    tokens.forEach((token, i) => {
      if (token < firstKey || i === 0 || tokens[i - 1] >= firstKey) return;
      const key = tokens[i - 1];
      if (last || memory[key] === 0) memory[key] = token;
    });
    const answer = memory[tokens.at(-1)!];
    const logits = Float32Array.from({ length: vocabSize }, (_, id) => (id === answer ? 9 : 0));
    return {
      logits: tensor(logits, { shape: [1, vocabSize], device: 'js' }),
      state: { memory: tensor(memory, { shape: [1, 1, vocabSize, 1], device: 'js' }) },
    };
  };
  return {
    vocabSize,
    device: 'js',
    stopTokens: [],
    initialState: () => ({ memory: zeros([1, 1, vocabSize, 1], { device: 'js' }) }),
    prefill: read,
    step: (ids, state) => read(ids, state).logits,
  };
}

function stream(columns: number, isTTY: boolean): NodeJS.WriteStream & { text: string } {
  const fake = { text: '', columns, isTTY, write: (part: string) => (fake.text += part) };
  return fake as unknown as NodeJS.WriteStream & { text: string };
}

describe('the demo', () => {
  it('draws bars that fit every terminal, and shows nothing of what is not known yet', () => {
    for (let columns = 20; columns <= 130; columns++) {
      const terminal = stream(columns, true);
      const bars = new LiveBars(screen(terminal), TITLES, 500);
      bars.update(0, 25, 0.5);
      expect(terminal.text).to.not.include(' 0.0 %');
      bars.update(1, 500, 1);
      for (const line of terminal.text.split('\n')) {
        expect(displayWidth(line.replaceAll('\r', '')), `${columns}: ${line}`).to.be.below(columns);
      }
      if (columns >= 80)
        expect(terminal.text)
          .to.include('linear attention')
          .and.to.match(/step 500/)
          .and.include('█');
    }
  });

  it('writes a line for every hundred steps of the slowest where nothing can be redrawn', () => {
    const { TERM } = process.env;
    process.env.TERM = 'dumb';
    for (const file of [stream(0, false), stream(80, true)]) {
      const bars = new LiveBars(screen(file), TITLES, 250);
      for (let step = 25; step <= 250; step += 25) {
        bars.update(0, Math.min(250, step + 25), 1);
        bars.update(1, step, 0.25);
      }
      bars.done();
      expect(file.text.split('\n').map((line) => line.slice(0, 12))).to.eql([
        'step 100/250',
        'step 200/250',
        'step 250/250',
        '',
      ]);
    }
    if (TERM === undefined) delete process.env.TERM;
    else process.env.TERM = TERM;
  });

  it('tells of a sequence that only the first memory gets right, in lines that fit', async () => {
    const data = createTask('associativeRecall', { nKeys: 8, nValues: 8, pairs: 6, replaced: 4, seed: 1 });
    const contestants = [true, false].map((last, i) => ({ title: TITLES[i], model: table(17, 9, last) }));
    const story = await tellStory(contestants, data);
    const { key, oldValue, newValue, accounts } = story;
    const [good, bad] = accounts.map(({ held }) => held.find((one) => one.key === key)!);
    expect(good.answers.after[0].token).to.equal(newValue);
    expect(bad.answers.after[0].token).to.not.equal(newValue);
    expect(good.answers.before[0].token).to.equal(oldValue);
    for (const columns of [40, 80, 200]) {
      for (const isTTY of [true, false]) {
        const text = storyText(story, stream(columns, isTTY));
        expect(text.includes('\x1b')).to.equal(isTTY && !process.env.NO_COLOR);
        expect(text)
          .to.match(/^delta rule.* right$/m)
          .and.to.match(/^sum rule.* wrong$/m);
        for (const line of text.split('\n')) expect(displayWidth(line), line).to.be.at.most(columns);
      }
    }
    const { answers } = storyReport(story, 1);
    const row = answers.rows.find(({ label }) => label === key)!;
    expect(row.cells[0].text).to.equal(`${oldValue}, then ${newValue}`);
    expect(row.cells[2].right).to.equal(false);
    expect(answers.rows.flatMap(({ cells }) => cells.slice(1)).every(({ text }) => !text.includes(' 0 %'))).to.equal(
      true,
    );
  });

  it('wraps words and leaves out what does not fit', () => {
    expect(wrapText('one two\nthree four', 9)).to.equal('one two\nthree\nfour');
    expect(fitParts(['a', 'bb', 'ccc'], 5)).to.equal('a  bb');
    expect(fitParts(['long'], 2)).to.equal('long');
  });
});
