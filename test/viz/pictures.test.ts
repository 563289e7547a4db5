// Charts, matrices as PNG, and the HTML report.
import { inflateSync } from 'node:zlib';
import { expect } from 'chai';
import fc from 'fast-check';
import { FastWeightsError } from '../../lib/core';
import {
  answerTable,
  bar,
  createProgress,
  encodePng,
  heat,
  heatmapGrid,
  heatmapImage,
  heatmapPng,
  lineChart,
  type Matrix,
  renderReport,
  type Report,
  scoreGrid,
  smooth,
  sparkline,
  table,
  tokenStrips,
} from '../../lib/viz';
import { makeAxis } from '../../lib/viz/axis';

/** Checks tags and attributes as an XML parser would (a doctype aside) and returns the names of the elements. */
function wellFormed(markup: string): string[] {
  const names: string[] = [];
  const open: string[] = [];
  let rest = markup.replace(/^<!DOCTYPE html>/, '').replace(/<style>[^<]*<\/style>/g, '');
  const tag = /^<(\/?)([a-zA-Z][a-zA-Z0-9]*)((?:\s+[a-zA-Z:-]+="[^"<]*")*)\s*(\/?)>/;
  const references = /&(?!#\d+;|[a-z]+;)/;
  while (rest !== '') {
    const at = rest.indexOf('<');
    const text = at < 0 ? rest : rest.slice(0, at);
    expect(text).to.not.match(references);
    expect(text).to.not.include('>');
    if (at < 0) break;
    rest = rest.slice(at);
    const found = tag.exec(rest);
    if (!found) throw new Error(`not a tag: ${rest.slice(0, 120)}`);
    const [whole, closing, name, attributes, empty] = found;
    expect(attributes).to.not.match(references);
    const keys = [...attributes.matchAll(/([a-zA-Z:-]+)="/g)].map((m) => m[1]);
    expect(new Set(keys).size).to.equal(keys.length);
    if (closing) expect(open.pop()).to.equal(name);
    else {
      names.push(name);
      if (!empty) open.push(name);
    }
    rest = rest.slice(whole.length);
  }
  expect(open).to.eql([]);
  return names;
}

/** Bit by bit, unlike the table of the encoder. */
function crc(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) {
    c ^= byte;
    for (let i = 0; i < 8; i++) c = (c >>> 1) ^ (c & 1 ? 0xedb88320 : 0);
  }
  return ~c >>> 0;
}

function decodePng(bytes: Uint8Array): { width: number; height: number; rgba: Buffer } {
  const png = Buffer.from(bytes);
  expect([...png.subarray(0, 8)]).to.eql([137, 80, 78, 71, 13, 10, 26, 10]);
  const chunks: Record<string, Buffer> = {};
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    chunks[type] = png.subarray(at + 8, at + 8 + length);
    expect(png.readUInt32BE(at + 8 + length), type).to.equal(crc(png.subarray(at + 4, at + 8 + length)));
    at += 12 + length;
  }
  expect(Object.keys(chunks)).to.eql(['IHDR', 'IDAT', 'IEND']);
  const [width, height] = [chunks.IHDR.readUInt32BE(0), chunks.IHDR.readUInt32BE(4)];
  expect([...chunks.IHDR.subarray(8)]).to.eql([8, 6, 0, 0, 0]);
  const lines = inflateSync(chunks.IDAT);
  expect(lines.length).to.equal(height * (1 + 4 * width));
  const rows = Array.from({ length: height }, (_, y) => lines.subarray(y * (1 + 4 * width), (y + 1) * (1 + 4 * width)));
  for (const row of rows) expect(row[0]).to.equal(0);
  return { width, height, rgba: Buffer.concat(rows.map((row) => row.subarray(1))) };
}

const matrix: Matrix = { rows: 2, columns: 3, data: [0, 1, -1, NaN, 5, -0.5] };

describe('line charts', () => {
  const chartOf = (y: ArrayLike<number>, yScale: 'linear' | 'log' = 'linear'): string =>
    lineChart({ title: 'loss', yScale, series: [{ name: 'a', y, smoothing: 0.5 }] });

  it('draws gaps, empty series, single points, constants and values beyond the scale', () => {
    const cases = [
      [],
      [1],
      [NaN],
      [3, 3, 3],
      [-1.0000000000000001e250, 1.0000000000000003e-241],
      [0, 0],
      [1, NaN, 2],
      [-1, 0, 1],
      [Infinity, 1, -Infinity],
      [1e-300, 1e300],
    ];
    for (const y of cases) {
      for (const scale of ['linear', 'log'] as const) {
        const svg = chartOf(y, scale);
        wellFormed(svg);
        expect(svg, `${y} ${scale}`).to.not.match(/NaN|Infinity|undefined/);
      }
    }
    expect(chartOf([])).to.include('no data');
    expect(chartOf([-1, 0], 'log')).to.include('no data');
    expect(chartOf([1])).to.match(/d="M[\d.]+ [\d.]+h0"/);
  });

  it('holds for any finite and non-finite data', () => {
    fc.assert(
      fc.property(fc.array(fc.double(), { maxLength: 30 }), fc.constantFrom('linear', 'log'), (y, scale) => {
        const svg = chartOf(y, scale);
        wellFormed(svg);
        expect(svg.replace(/aria-label="[^"]*"/, '')).to.not.match(/NaN|Infinity|undefined/);
      }),
      { numRuns: 100 },
    );
  });

  it('breaks the line at gaps', () => {
    const svg = lineChart({ title: 't', series: [{ name: 'a', y: [1, 2, NaN, 3, 4] }] });
    expect(svg).to.match(/d="M\S+ \S+L\S+ \S+M\S+ \S+L\S+ [\d.]+"/);
  });

  it('keeps a chart of many points small and its spikes in it', () => {
    const y = new Float64Array(200_000).fill(1);
    y[123_456] = 9;
    const svg = lineChart({ title: 't', series: [{ name: 'a', y }] });
    expect(svg.length).to.be.below(60_000);
    // The spike of 9 lies higher than everything else in a chart from 1 to 9.
    const heights = [...svg.matchAll(/[ML]([\d.]+) ([\d.]+)/g)].map((m) => Number(m[2]));
    expect(Math.min(...heights)).to.be.below(80);
  });

  it('escapes names and is the same every time', () => {
    const chart = {
      title: '<b>&"',
      xLabel: "x'",
      series: [
        { name: '</svg>', y: [1] },
        { name: '日本', y: [2] },
      ],
    };
    expect(wellFormed(lineChart(chart)).filter((name) => name === 'svg')).to.have.lengthOf(1);
    expect(lineChart(chart)).to.equal(lineChart(chart));
  });

  it('names many lines at their ends, in their order, none over another and none outside', () => {
    const names = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];
    const ends = [5, 5.01, 1, 1, 1, 3, 9, 8.9, 2];
    const series = names.map((name, i) => ({ name, y: [4, ends[i], i === 2 ? NaN : ends[i]] }));
    const svg = lineChart({ title: 't', labels: 'ends', series });
    wellFormed(svg);
    const at = names.map((name) => {
      const [, x, y] = new RegExp(`<text x="([\\d.]+)" y="([\\d.]+)" dy="0.35em">${name}</text>`).exec(svg)!;
      return { name, x: Number(x), y: Number(y) };
    });
    const height = Number(/viewBox="0 0 520 ([\d.]+)"/.exec(svg)![1]);
    const sorted = [...at].sort((a, b) => a.y - b.y);
    sorted.slice(1).forEach(({ y }, i) => expect(y - sorted[i].y).to.be.at.least(16));
    for (const { x, y } of at) {
      expect(x).to.be.within(300, 520 - 5 * 7);
      expect(y).to.be.within(30, height - 30);
    }
    expect(sorted.map(({ name }) => ends[names.indexOf(name)])).to.eql([...ends].sort((a, b) => b - a));
    // The ninth has the colour of the first, and another dash.
    const strokes = [...svg.matchAll(/<path d="M[^"]*" fill="none" stroke="(#\w+)"[^>]*stroke-width="2"([^>]*)>/g)];
    expect(new Set(strokes.map(([, colour, dash]) => colour + dash)).size).to.equal(names.length);
    const many = Array.from({ length: 40 }, (_, i) => ({ name: `line ${i}`, y: [1, i] }));
    expect(
      Number(/viewBox="0 0 520 ([\d.]+)"/.exec(lineChart({ title: 't', labels: 'ends', series: many }))![1]),
    ).to.be.above(40 * 16);
    expect(lineChart({ title: 't', labels: 'ends', series: [] })).to.include('no data');
  });

  it('smooths without lag, and shows the raw points beside the mean', () => {
    const falling = Float64Array.from({ length: 200 }, (_, i) => 200 - i);
    const mean = smooth(falling, 0.9);
    for (let i = 60; i < 140; i++) expect(mean[i]).to.be.closeTo(falling[i], 0.1);
    expect([...smooth([1, 3, 2], 0.5)]).to.eql([(1 + 1.5 + 0.5) / 1.75, (0.5 + 3 + 1) / 2, (0.25 + 1.5 + 2) / 1.75]);
    expect(chartOf([1, 3, 2]).match(/h0/g)).to.have.lengthOf(3);
  });

  it('smooths without bias at the start and across gaps', () => {
    expect([...smooth([2, 2, NaN, 2], 0.9)].map((x) => Math.round(x * 1e9) / 1e9)).to.eql([2, 2, NaN, 2]);
    expect(smooth([0, 1], 0.5)[1]).to.be.closeTo(0.5 / 0.75, 1e-12);
    expect(() => lineChart({ title: 't', series: [{ name: 'a', y: [1], smoothing: 1 }] })).to.throw(FastWeightsError);
    expect(() => lineChart({ title: 't', series: [{ name: 'a', x: [1, 2], y: [1] }] })).to.throw(FastWeightsError);
  });

  it('puts round ticks inside [0, 1], in order', () => {
    expect(makeAxis([0, 97], 'linear', 5).ticks.map((t) => t.label)).to.eql(['0', '20', '40', '60', '80', '100']);
    expect(makeAxis([0, 0.0029], 'linear', 6).ticks[1].label).to.equal('0.0005');
    expect(makeAxis([84010, 84035], 'linear', 3).ticks.map((t) => t.label)).to.eql([
      '84010',
      '84020',
      '84030',
      '84040',
    ]);
    expect(makeAxis([1e-6, 1], 'log', 6).ticks.map((t) => t.value)).to.eql([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]);
    fc.assert(
      fc.property(
        fc.double({ min: 1e-12, max: 1e12, noNaN: true }),
        fc.double({ min: 1, max: 1e12, noNaN: true }),
        fc.constantFrom('linear', 'log'),
        (low, factor, scale) => {
          const axis = makeAxis([low, low * factor], scale, 6);
          expect(axis.ticks.length).to.be.within(1, 14);
          expect(new Set(axis.ticks.map((t) => t.label)).size).to.equal(axis.ticks.length);
          const positions = axis.ticks.map((t) => axis.position(t.value));
          positions.forEach((p, i) => {
            expect(p).to.be.within(-1e-9, 1 + 1e-9);
            if (i > 0) expect(p).to.be.above(positions[i - 1]);
          });
          for (const x of [low, low * factor]) expect(axis.position(x)).to.be.within(-1e-6, 1 + 1e-6);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('score grids', () => {
  const grid = {
    title: 'right & wrong',
    columnLabels: ['recall', 'selective-copy'],
    rows: [
      { label: 'delta', scores: [1, 0.124] },
      { label: '<sum>', scores: [NaN, 0] },
    ],
  };

  it('say every score in figures, as a shade and in words, and nothing where there is none', () => {
    const svg = scoreGrid(grid);
    expect(wellFormed(svg).filter((name) => name === 'rect')).to.have.lengthOf(3);
    expect([...svg.matchAll(/text-anchor="middle"[^>]*>(\d+)</g)].map(([, figure]) => figure)).to.eql([
      '100',
      '12',
      '0',
    ]);
    expect([...svg.matchAll(/fill-opacity="([\d.]+)"/g)].map(([, shade]) => shade)).to.eql(['0.75', '0.09', '0.00']);
    expect(svg).to.include('delta: recall 100 %, selective-copy 12 %; &#60;sum&#62;: selective-copy 0 %');
    const [, width] = /viewBox="0 0 (\d+) /.exec(svg)!;
    const right = [...svg.matchAll(/<rect x="([\d.]+)"/g)].map(([, x]) => Number(x) + 50);
    expect(Math.max(...right)).to.be.below(Number(width));
    const html = renderReport({ title: 't', runs: [{ name: 'a', summary: {}, scores: grid }] });
    expect(wellFormed(html)).to.include('rect');
    expect(html).to.include('<h2>Scores</h2>');
    expect(wellFormed(scoreGrid({ title: 't', columnLabels: [], rows: [] }))).to.eql(['svg', 'style'].slice(0, 1));
  });

  it('refuse rows of another length', () => {
    const rows = [{ label: 'a', scores: [1] }];
    expect(() => scoreGrid({ ...grid, rows })).to.throw(FastWeightsError, 'scores must be 2 in row a, got 1');
  });
});

describe('options of pictures', () => {
  it('are refused by name, whatever is wrong with them', () => {
    const series = { name: 'a', y: [1, 2] };
    const chart =
      (change: object): (() => string) =>
      () =>
        lineChart({ title: 't', series: [{ ...series, ...change }] });
    const grid = { title: 'g', columnLabels: ['c'], rows: [{ label: 'r', cells: [matrix] }] };
    const bad = <T>(value: unknown): T => value as T;
    const cases: [() => unknown, string][] = [
      [() => lineChart(bad({ title: 't', series: [series], labels: 'left' })), 'labels'],
      [chart({ colour: -1 }), 'colour'],
      [chart({ colour: 1.5 }), 'colour'],
      [chart({ dash: NaN }), 'dash'],
      [chart({ smoothing: '0.5' }), 'smoothing'],
      [chart({ y: 3 }), 'y of series a'],
      [chart({ x: {} }), 'x of series a'],
      [chart({ name: 7 }), 'name'],
      [() => lineChart(bad({ title: 't', series: series })), 'series'],
      [() => lineChart(bad({ series: [] })), 'title'],
      [() => smooth([1], 2), 'smoothing'],
      [() => heatmapPng(matrix, 0), 'limit'],
      [() => heatmapPng(matrix, -1), 'limit'],
      [() => heatmapPng(matrix, NaN), 'limit'],
      [() => heatmapPng(bad(null)), 'matrix'],
      [() => heatmapImage(matrix, 'd', Infinity), 'limit'],
      [() => heatmapImage(matrix, 'd', 1, 0), 'size'],
      [() => heatmapImage(matrix, 'd', 1, 12.5), 'size'],
      [() => heatmapImage(bad({ rows: 1, columns: 1 }), 'd'), 'matrix.data'],
      [() => heatmapGrid({ ...grid, limit: 0 }), 'limit'],
      [() => heatmapGrid(bad({ ...grid, rows: null })), 'rows'],
      [() => heatmapGrid(bad({ ...grid, columnLabels: 'c' })), 'columnLabels'],
      [() => heat(matrix, { limit: -1 }), 'limit'],
      [() => heat(matrix, { width: 0 }), 'width'],
      [() => bar(0.5, -1), 'width'],
      [() => sparkline([1], 1, [0, NaN]), 'range'],
      [() => sparkline(bad(undefined)), 'values'],
      [() => table(bad('header'), []), 'header'],
      [() => answerTable({ title: 't', columnLabels: ['c'], rows: [{ label: 'r', cells: [] }] }), 'rows'],
      [() => tokenStrips({ title: 't', tokens: ['a'], rows: [], limit: 0 }), 'limit'],
      [() => tokenStrips({ title: 't', tokens: ['a'], rows: [{ label: 'r', values: [] }] }), 'rows'],
      [() => renderReport(bad({ runs: [] })), 'title'],
      [() => renderReport(bad({ title: 't', runs: {} })), 'runs'],
      [() => renderReport({ title: 't', runs: [bad({ name: 'a' })] }), 'summary'],
      [() => createProgress({ write: () => 0 }, { total: -1 }), 'total'],
      [() => createProgress({ write: () => 0 }, {}).update({ step: 0.5 }), 'step'],
    ];
    for (const [draw, argument] of cases) {
      let error: unknown;
      try {
        draw();
      } catch (thrown) {
        error = thrown;
      }
      expect(error, `${argument}: ${String(draw)}`).to.be.instanceOf(FastWeightsError);
      expect((error as FastWeightsError).message, String(draw)).to.include(argument);
    }
  });
});

describe('matrices as pictures', () => {
  it('writes PNGs that decode to the pixels', () => {
    for (const [width, height] of [
      [1, 1],
      [3, 2],
      [64, 65],
      [257, 1],
    ]) {
      const rgba = Uint8Array.from({ length: width * height * 4 }, (_, i) => (i * 37) % 256);
      const image = decodePng(encodePng(width, height, rgba));
      expect([image.width, image.height]).to.eql([width, height]);
      expect(Buffer.compare(image.rgba, Buffer.from(rgba))).to.equal(0);
    }
    expect(() => encodePng(2, 2, new Uint8Array(4))).to.throw(FastWeightsError, 'rgba');
    expect(() => encodePng(0, 2, new Uint8Array(0))).to.throw(FastWeightsError, 'width');
  });

  it('colours by sign and strength: nothing at zero, grey for NaN, full beyond the limit', () => {
    const { rgba, width, height } = decodePng(heatmapPng(matrix, 1));
    expect([width, height]).to.eql([3, 2]);
    const pixel = (i: number): number[] => [...rgba.subarray(4 * i, 4 * i + 4)];
    expect(pixel(0)[3]).to.equal(0);
    expect(pixel(1)[0]).to.be.above(pixel(1)[2]);
    expect(pixel(2)[2]).to.be.above(pixel(2)[0]);
    expect(pixel(3)).to.eql([128, 128, 128, 255]);
    expect(pixel(4)).to.eql(pixel(1));
    expect(pixel(5)[3]).to.equal(128);
  });

  it('labels grids and shares one scale', () => {
    const one = { rows: 1, columns: 1, data: [1] };
    const two = { rows: 1, columns: 1, data: [2] };
    const html = heatmapGrid({ title: 'S', columnLabels: ['a', 'b'], rows: [{ label: 'h', cells: [one, two] }] });
    expect(wellFormed(html).filter((name) => name === 'img')).to.have.lengthOf(2);
    const images = [...html.matchAll(/base64,([^"]+)"/g)].map((m) => decodePng(Buffer.from(m[1], 'base64')));
    expect(images.map((image) => image.rgba[3])).to.eql([128, 255]);
    expect(() => heatmapGrid({ title: 'S', columnLabels: ['a'], rows: [{ label: 'h', cells: [] }] })).to.throw(
      FastWeightsError,
    );
    expect(heatmapImage({ rows: 0, columns: 4, data: [] }, 'none')).to.include('empty');
    wellFormed(heatmapGrid({ title: 'S', columnLabels: [], rows: [] }));
  });
});

describe('report', () => {
  const nasty = `<script>alert("1")</script>&amp;'\0\ud800`;
  const run = (name: string): Report['runs'][number] => ({
    name,
    summary: { rule: nasty, parameters: '1.2M', 'best validation loss': 1.23456, [nasty]: name },
    charts: [
      {
        title: 'loss',
        series: [
          { name: nasty, y: [3, 2, NaN, 1] },
          { name: 'validation', x: [3], y: [1.5] },
        ],
      },
    ],
    answers: {
      title: nasty,
      columnLabels: [nasty, 'b'],
      rows: [
        {
          label: nasty,
          cells: [
            { text: nasty, right: false },
            { text: 'v1', right: true },
          ],
        },
      ],
    },
    writes: {
      title: nasty,
      tokens: [nasty, ' '],
      rows: [
        { label: nasty, values: [0.5, -2] },
        { label: 'b', values: [NaN, 0] },
      ],
    },
    fastWeights: { title: nasty, columnLabels: [nasty], rows: [{ label: nasty, cells: [matrix] }] },
    samples: [{ title: nasty, prompt: nasty, text: `\n${nasty}` }],
  });

  it('is well formed and needs nothing from outside', () => {
    for (const runs of [[], [run('a')], [run('a'), run('b')], [{ name: 'bare', summary: {} }]]) {
      const html = renderReport({ title: nasty, subtitle: nasty, runs });
      const names = wellFormed(html);
      expect(names).to.not.include('script');
      expect(names).to.not.include('link');
      for (const [, url] of html.matchAll(/(?:src|href)="([^"]*)"/g)) expect(url).to.match(/^data:image\/png;base64,/);
      expect(html).to.not.match(/url\(|@import/);
      expect(html.replaceAll('xmlns="http://www.w3.org/2000/svg"', '')).to.not.match(/https?:/);
      expect(html).to.not.match(/[\0\ud800-\udfff]/);
    }
  });

  it('marks what a memory answers right and wrong, not by colour alone', () => {
    const html = renderReport({ title: 't', runs: [run('a')] });
    expect(html)
      .to.match(/class="wrong">✗ /)
      .and.to.include('class="right">✓ v1');
  });

  it('colours what tokens do, white space as signs, nothing where there is no number', () => {
    const rows = [{ label: 'strength', values: [0.5, -2, NaN] }];
    const html = tokenStrips({ title: 't', tokens: ['a', ' \n', 'absolutely'], rows });
    expect(html).to.include('>a</th>').and.include('>␣⏎</th>').and.include('>absolut…</th>');
    expect(html).to.include('<td class="more" style="--s:0.5" title="0.5"></td>');
    expect(html).to.include('<td class="less" style="--s:1" title="-2"></td>').and.include('<td title="–">–</td>');
  });

  it('has charts in two columns where there is room, and larger text where there is little', () => {
    const html = renderReport({ title: 't', runs: [run('a')] });
    const [, wide] = /main \{ max-width: (\d+)rem/.exec(html)!;
    const [, column] = /\.charts \{.*minmax\(min\((\d+)rem/.exec(html)!;
    expect(Number(wide)).to.be.above(2 * Number(column) + 8);
    const [, width, size] = /viewBox="0 0 (\d+) \d+".*?max-width: 30rem\) \{ .fw-chart \{ font-size: (\d+)px/s.exec(
      html,
    )!;
    // On a screen of 420 pixels, of which paddings take 60.
    expect((Number(size) * 360) / Number(width)).to.be.at.least(11);
  });

  it('keeps a leading newline of a sample', () => {
    const html = renderReport({
      title: 't',
      runs: [{ name: 'a', summary: {}, samples: [{ title: 's', text: '\nx' }] }],
    });
    expect(html).to.include('<pre>\n\nx</pre>');
  });

  it('puts runs side by side: columns of the summary, one chart per title', () => {
    const html = renderReport({
      title: 't',
      runs: [run('first'), { ...run('second'), summary: { rule: 'x', device: 'cpu' } }],
    });
    expect(wellFormed(html).filter((name) => name === 'svg')).to.have.lengthOf(1);
    expect(html).to.include('first, validation').and.include('second, validation');
    expect(html).to.match(/<th scope="row">device<\/th><td>–<\/td><td>cpu<\/td>/);
    expect(html).to.equal(
      renderReport({ title: 't', runs: [run('first'), { ...run('second'), summary: { rule: 'x', device: 'cpu' } }] }),
    );
  });
});
