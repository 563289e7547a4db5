// Terminal pictures, formats, and the progress line.
import { expect } from 'chai';
import { FastWeightsError } from '../../lib/core';
import {
  bar,
  createProgress,
  formatBytes,
  formatCount,
  formatDuration,
  formatNumber,
  heat,
  type ProgressFields,
  sparkline,
  table,
} from '../../lib/viz';
import { displayWidth } from '../../lib/viz/terminal';

describe('terminal pictures', () => {
  it('formats durations, counts, bytes and numbers', () => {
    expect([0, 0.85, 0.9996, 12.34, 59.96, 245, 7980, 3599.6, 86400 * 3.2, NaN, -5].map(formatDuration)).to.eql([
      '0 ms',
      '850 ms',
      '1.0 s',
      '12.3 s',
      '1 min 00 s',
      '4 min 05 s',
      '2 h 13 min',
      '1 h 00 min',
      '3 d 05 h',
      '?',
      '-5.0 s',
    ]);
    expect([0, 987, 1234, 45600000, 7.891e9, 999.6e3, -1500].map(formatCount)).to.eql([
      '0',
      '987',
      '1.23k',
      '45.6M',
      '7.89B',
      '1M',
      '-1.5k',
    ]);
    expect([512, 1536, 64 * 2 ** 20, 1023.9 * 2 ** 10].map(formatBytes)).to.eql([
      '512 B',
      '1.5 KiB',
      '64 MiB',
      '1 MiB',
    ]);
    expect([1.23456, 0, 1e-5, 123456, 12345678, NaN, Infinity].map((x) => formatNumber(x))).to.eql([
      '1.235',
      '0',
      '1e-5',
      '123456',
      '1.235e7',
      '–',
      '∞',
    ]);
  });

  it('draws sparklines, pooled, with gaps, constant and empty', () => {
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7])).to.equal('▁▂▃▄▅▆▇█');
    expect(sparkline([0, 0, 1, 1], 2)).to.equal('▁█');
    expect(sparkline([0, NaN, 1])).to.equal('▁ █');
    expect(sparkline([2, 2])).to.equal('▄▄');
    expect(sparkline([])).to.equal('');
    expect(sparkline([0.5, 1, 2, -1], 4, [0, 1])).to.equal('▅██▁');
    expect(sparkline([NaN, Infinity])).to.equal('  ');
  });

  it('draws bars in eighths and of one width', () => {
    expect(bar(0, 4)).to.equal('░░░░');
    expect(bar(0.5, 4)).to.equal('██░░');
    expect(bar(1, 4)).to.equal('████');
    expect(bar(9 / 32, 4)).to.equal('█▏░░');
    for (const fraction of [-1, NaN, 0.999, 2]) expect(bar(fraction, 7)).to.have.lengthOf(7);
  });

  it('aligns tables, numbers flush right', () => {
    const lines = table(
      ['name', 'loss'],
      [
        ['a', 1.5],
        ['日本', 22],
      ],
    ).split('\n');
    expect(lines).to.eql(['name  loss', '────  ────', 'a      1.5', '日本    22']);
    expect(table(['x'], [])).to.equal('x\n─');
  });

  it('draws matrices in half blocks', () => {
    const text = heat({ rows: 3, columns: 2, data: [1, -1, 0, NaN, 0.5, 0] });
    const lines = text.split('\n');
    expect(lines).to.have.lengthOf(2);
    for (const line of lines) {
      expect(displayWidth(line)).to.equal(2);
      expect(line.endsWith('\x1b[0m')).to.equal(true);
    }
    const wide = heat({ rows: 5, columns: 200, data: new Float32Array(1000).fill(1) }, { width: 50 });
    expect(displayWidth(wide.split('\n')[0])).to.equal(50);
    expect(heat({ rows: 0, columns: 0, data: [] })).to.equal('');
    expect(() => heat({ rows: 2, columns: 2, data: [1] })).to.throw(FastWeightsError, 'matrix.data');
  });
});

describe('progress', () => {
  class Recorder {
    text = '';
    constructor(
      readonly isTTY: boolean,
      public columns = 80,
    ) {}
    write(text: string): void {
      this.text += text;
    }
  }

  const at = (step: number): ProgressFields => ({ step, loss: 2.5, validationLoss: 2.75, tokensPerSecond: 12345 });

  it('redraws at most ten times a second and never hides the cursor', () => {
    let clock = 0;
    const stream = new Recorder(true);
    const progress = createProgress(stream, { total: 1000, now: () => clock });
    for (let step = 1; step <= 1000; step++) {
      clock += 1;
      progress.update(at(step));
    }
    progress.done();
    progress.done();
    progress.update(at(3));
    const draws = stream.text.split('\r').length - 1;
    expect(draws).to.be.within(9, 12);
    expect(stream.text).to.not.include('\x1b[?25');
    expect(stream.text.endsWith('\n')).to.equal(true);
    expect(stream.text).to.match(/1000\/1000 {2}loss 2\.5 {2}val 2\.75 {2}12\.3k tok\/s {2}1\.0 s\n$/);
  });

  it('fits every width and reckons the remaining time from the resumed step', () => {
    for (let columns = 1; columns < 100; columns++) {
      let clock = 0;
      const stream = new Recorder(true, columns);
      const progress = createProgress(stream, { total: 400, start: 200, now: () => clock });
      clock = 10_000;
      progress.update(at(300));
      const line = stream.text.replace('\r\x1b[2K', '');
      expect(displayWidth(line), `${columns}`).to.be.below(Math.max(columns, 1));
      if (columns > 90) expect(line).to.include('ETA 10.0 s').and.include('█');
    }
  });

  it('counts without a bar until it is known how many there are, under a name', () => {
    let clock = 0;
    const stream = new Recorder(true);
    const progress = createProgress(stream, { label: 'windows', now: () => clock });
    progress.update({ step: 3 });
    expect(stream.text).to.equal('\r\x1b[2Kwindows step 3  0 ms');
    clock = 1000;
    progress.update({ step: 5, total: 10 });
    expect(stream.text).to.match(/█+.*windows 5\/10 {2}ETA 1\.0 s {2}1\.0 s$/);
  });

  it('prints notes above the bar', () => {
    const stream = new Recorder(true);
    const progress = createProgress(stream, { total: 10, now: () => 0 });
    progress.update({ step: 1 });
    progress.note('saved');
    expect(stream.text).to.match(/\r\x1b\[2Ksaved\n\r\x1b\[2K.*1\/10/);
  });

  it('writes plain lines elsewhere, one per interval and the last state', () => {
    let clock = 0;
    const stream = new Recorder(false);
    const progress = createProgress(stream, { total: 30, interval: 10, now: () => clock });
    for (let step = 1; step <= 30; step++) {
      clock += 1000;
      progress.update({ step, loss: step });
    }
    progress.note('note');
    progress.done();
    const lines = stream.text.trimEnd().split('\n');
    expect(lines.map((line) => line.split(' ')[0])).to.eql(['1/30', '11/30', '21/30', 'note', '30/30']);
    expect(stream.text).to.not.match(/[\r\x1b]/);
  });

  it('keeps values that an update leaves out', () => {
    let clock = 0;
    const stream = new Recorder(false);
    const progress = createProgress(stream, { total: 2, interval: 0, now: () => clock });
    progress.update({ step: 1, loss: 3 });
    clock = 1;
    progress.update({ step: 2, loss: undefined });
    expect(stream.text.split('\n')[1]).to.include('2/2  loss 3');
  });
});
