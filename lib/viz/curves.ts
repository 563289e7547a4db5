// Line charts as SVG: several named series on one pair of axes. Text and axes take the surrounding text colour, and the
// series' colours hold on light and dark grounds.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkList,
  checkNumbers,
  checkOptions,
  checkString,
  type OptionNames,
} from '../core';
import { canShow, makeAxis, type Axis, type Scale } from './axis';
import { displayWidth } from './terminal';
import { escapeMarkup, formatNumber } from './format';

/** One line of a chart. */
export interface Series {
  /** Shown in the legend or at the end of the line in charts of two lines or more. */
  name: string;
  /** Default 0, 1, 2, ... */
  x?: ArrayLike<number>;
  /** The line breaks at values that cannot be shown. */
  y: ArrayLike<number>;
  /** Weight of the next neighbour in a mean drawn over the raw values, which become dots, in [0, 1). Default 0: none. */
  smoothing?: number;
  /** Index into the colours and into the dash patterns; default: the index of the series, and the first pattern. */
  colour?: number;
  /** Index into the dash patterns, of which the first, the default, is a whole line. */
  dash?: number;
}

/** What `lineChart` takes. */
export interface LineChart {
  /** Above the chart; a report of several runs puts charts of one title together. */
  title: string;
  /** Below the x axis, none by default. */
  xLabel?: string;
  /** Beside the y axis, turned; none by default. */
  yLabel?: string;
  /** Default `linear`. */
  yScale?: Scale;
  /**
   * Where names stand: in a `legend` above the lines, the default, or at their `ends`, which tells many of them apart without
   * colours.
   */
  labels?: 'legend' | 'ends';
  /** Drawn in this order; `no data` stands where none has a value to show. */
  series: readonly Series[];
}

const SERIES: OptionNames<Series> = { name: true, x: true, y: true, smoothing: true, colour: true, dash: true };
const CHART: OptionNames<LineChart> = {
  title: true,
  xLabel: true,
  yLabel: true,
  yScale: true,
  labels: true,
  series: true,
};

const WIDTH = 520;
const HEIGHT = 320;
/** From one name at the end of a line to the next, and for its stroke. */
const LABEL_LINE = 18;
const LEADER = 16;
const LEFT = 66;
const RIGHT = 16;
const BOTTOM = 50;
const TITLE = 34;
const LEGEND_LINE = 20;
const CHARACTER = 7.6;
/** In pixels of a chart as wide as it is, and where a narrow screen shrinks it. */
const FONT = 13;
const NARROW_FONT = 16;
const COLOURS = ['#2f7ed8', '#e0662b', '#2a9d6f', '#b65fc9', '#c99a18', '#d4496f', '#1fa3b5', '#8c8c8c'];
const DASHES = ['', '7 4', '2 3', '10 3 2 3'];

/**
 * The mean around each value, each step away counting less by `smoothing`: both sides, so that it does not lag behind.
 * Gaps stay gaps and do not touch the mean.
 */
export function smooth(values: ArrayLike<number>, smoothing: number): Float64Array {
  checkNumbers('smooth', 'values', values);
  checkSmoothing('smooth', smoothing);
  const n = values.length;
  const sums = new Float64Array(n);
  const weights = new Float64Array(n);
  // Past with present, then what comes after.
  for (const forward of [true, false]) {
    let sum = 0;
    let weight = 0;
    for (let i = 0; i < n; i++) {
      const at = forward ? i : n - 1 - i;
      const x = values[at];
      if (!Number.isFinite(x)) continue;
      sums[at] += smoothing * sum + (forward ? x : 0);
      weights[at] += smoothing * weight + (forward ? 1 : 0);
      sum = smoothing * sum + x;
      weight = smoothing * weight + 1;
    }
  }
  return sums.map((sum, i) => (weights[i] === 0 ? NaN : sum / weights[i]));
}

function checkSmoothing(where: string, smoothing: number): void {
  if (typeof smoothing === 'number' && smoothing >= 0 && smoothing < 1) return;
  throw argumentError('INVALID_ARGUMENT', where, 'smoothing', 'in [0, 1)', String(smoothing));
}

function checkSeries(series: Series): void {
  const where = 'lineChart';
  checkOptions(where, series, SERIES);
  const { name, x, y, smoothing, colour, dash } = series;
  checkString(where, 'name', name);
  for (const [key, values] of Object.entries({ x, y })) {
    if (key === 'y' || values !== undefined) checkNumbers(where, `${key} of series ${name}`, values);
  }
  if (x !== undefined && x.length !== y.length) {
    throw argumentError('SHAPE', where, `series ${name}`, `as many x as y (${y.length})`, `${x.length}`);
  }
  if (smoothing !== undefined) checkSmoothing(where, smoothing);
  for (const [key, index] of Object.entries({ colour, dash })) if (index !== undefined) checkInteger(where, key, index);
}

/** The chart as one `<svg>` element, which is also a file of its own. */
export function lineChart(chart: LineChart): string {
  checkOptions('lineChart', chart, CHART);
  const scale = checkChoice('lineChart', 'yScale', chart.yScale ?? 'linear', ['linear', 'log']);
  checkString('lineChart', 'title', chart.title);
  for (const key of ['xLabel', 'yLabel'] as const) {
    if (chart[key] !== undefined) checkString('lineChart', key, chart[key]);
  }
  checkList('lineChart', 'series', chart.series);
  chart.series.forEach(checkSeries);
  const lines = chart.series.map((series, i) => line(series, i, scale));
  const atEnds = checkChoice('lineChart', 'labels', chart.labels ?? 'legend', ['legend', 'ends']) === 'ends';
  const named = atEnds && lines.length > 1;
  const legend = named ? { markup: '', height: 0 } : legendRows(lines);
  const top = TITLE + legend.height;
  const right = WIDTH - RIGHT - (named ? LEADER + labelWidth(lines) : 0);
  const bottom = Math.max(HEIGHT, named ? top + LABEL_LINE * lines.length + BOTTOM : 0) - BOTTOM;
  const frame: Frame = { top, right, bottom };
  const xAxis = makeAxis(
    lines.flatMap((l) => l.points.filter((p) => canShow(p.y, scale)).map((p) => p.x)),
    'linear',
    6,
  );
  const yAxis = makeAxis(
    lines.flatMap((l) => l.points.map((p) => p.y)),
    scale,
    6,
  );
  const px = (x: number): number => LEFT + xAxis.position(x) * (right - LEFT);
  const py = (y: number): number => bottom - yAxis.position(y) * (bottom - top);
  const empty = !lines.some((l) => l.points.some((p) => canShow(p.y, scale)));
  const title = escapeMarkup(chart.title);
  return [
    `<svg class="fw-chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + BOTTOM}" width="${WIDTH}" height="${bottom + BOTTOM}" `,
    `role="img" aria-label="${escapeMarkup(describeChart(chart))}" font-family="system-ui, sans-serif" font-size="${FONT}" fill="currentColor">\n`,
    '<style>.fw-chart { color: #1c2024; max-width: 100%; height: auto; } ',
    '@media (prefers-color-scheme: dark) { .fw-chart { color: #e4e6e8; } } ',
    `@media (max-width: 30rem) { .fw-chart { font-size: ${NARROW_FONT}px; } } `,
    '@media print { .fw-chart { color: #000; } }</style>\n',
    `<text x="${LEFT}" y="20" font-size="15" font-weight="600">${title}</text>\n`,
    legend.markup,
    grid(xAxis, yAxis, px, py, frame),
    axisLabels(chart, frame),
    ...lines.map((l) => drawLine(l, scale, px, py)),
    named ? endLabels(lines, scale, px, py, frame) : '',
    empty ? `<text x="${WIDTH / 2}" y="${(top + bottom) / 2}" text-anchor="middle" opacity="0.6">no data</text>\n` : '',
    '</svg>',
  ].join('');
}

/** Where the plot lies; its left is LEFT. */
interface Frame {
  top: number;
  right: number;
  bottom: number;
}

interface Line {
  name: string;
  colour: string;
  dash: string;
  points: { x: number; y: number }[];
  smoothed?: { x: number; y: number }[];
}

function line(series: Series, index: number, scale: Scale): Line {
  const { name, x, y, smoothing = 0 } = series;
  const at = series.colour ?? index;
  const join = (values: ArrayLike<number>): Line['points'] =>
    Array.from(values, (value, i) => ({ x: x?.[i] ?? i, y: value })).filter((p) => canShow(p.x, 'linear'));
  return {
    name,
    colour: COLOURS[at % COLOURS.length],
    // Where colours come again, dashes do not.
    dash: DASHES[((series.dash ?? 0) + Math.floor(at / COLOURS.length)) % DASHES.length],
    points: join(y),
    // What cannot be shown would pull the mean out of the axis.
    smoothed:
      smoothing > 0
        ? join(
            smooth(
              Array.from(y, (v) => (canShow(v, scale) ? v : NaN)),
              smoothing,
            ),
          )
        : undefined,
  };
}

function grid(
  xAxis: Axis,
  yAxis: Axis,
  px: (x: number) => number,
  py: (y: number) => number,
  { top, right, bottom }: Frame,
): string {
  const horizontal = yAxis.ticks.map(({ value, label }) => {
    const y = fixed(py(value));
    return (
      `<path d="M${LEFT} ${y}H${right}" stroke="currentColor" stroke-opacity="0.13" />` +
      `<text x="${LEFT - 8}" y="${y}" dy="0.35em" text-anchor="end" opacity="0.75">${escapeMarkup(label)}</text>`
    );
  });
  const vertical = xAxis.ticks.map(({ value, label }) => {
    const x = fixed(px(value));
    return (
      `<path d="M${x} ${bottom}v4" stroke="currentColor" stroke-opacity="0.5" />` +
      `<text x="${x}" y="${bottom + 18}" text-anchor="middle" opacity="0.75">${escapeMarkup(label)}</text>`
    );
  });
  const frame = `<path d="M${LEFT} ${bottom}H${right}" stroke="currentColor" stroke-opacity="0.5" />`;
  return top < bottom ? `${[...horizontal, ...vertical, frame].join('\n')}\n` : '';
}

function axisLabels({ xLabel, yLabel }: LineChart, { top, right, bottom }: Frame): string {
  const middle = (top + bottom) / 2;
  const x =
    xLabel &&
    `<text x="${(LEFT + right) / 2}" y="${bottom + BOTTOM - 8}" text-anchor="middle" opacity="0.75">${escapeMarkup(xLabel)}</text>\n`;
  const y =
    yLabel &&
    `<text transform="translate(14 ${middle}) rotate(-90)" text-anchor="middle" opacity="0.75">${escapeMarkup(yLabel)}</text>\n`;
  return (x || '') + (y || '');
}

function legendRows(lines: readonly Line[]): { markup: string; height: number } {
  if (lines.length < 2) return { markup: '', height: 0 };
  let x = LEFT;
  let y = TITLE + 6;
  const entries = lines.map((l) => {
    const width = 30 + displayWidth(l.name) * CHARACTER + 16;
    if (x > LEFT && x + width > WIDTH - RIGHT) {
      x = LEFT;
      y += LEGEND_LINE;
    }
    const sample = `<path d="M${fixed(x)} ${y}h22" stroke="${l.colour}" stroke-width="2.5"${dashOf(l)} />`;
    const text = `<text x="${fixed(x + 28)}" y="${y}" dy="0.35em">${escapeMarkup(l.name)}</text>`;
    x += width;
    return sample + text;
  });
  return { markup: `${entries.join('\n')}\n`, height: y - TITLE + 16 };
}

/** Room for the longest name, also where a narrow screen makes letters larger. */
function labelWidth(lines: readonly Line[]): number {
  const longest = Math.max(...lines.map(({ name }) => displayWidth(name)));
  return (longest * CHARACTER * NARROW_FONT) / FONT;
}

/** Names beside the ends of their lines, in the order of these and as near as they do not touch. */
function endLabels(
  lines: readonly Line[],
  scale: Scale,
  px: (x: number) => number,
  py: (y: number) => number,
  { top, right, bottom }: Frame,
): string {
  const ends = lines.flatMap((l) => {
    const last = (l.smoothed ?? l.points).findLast((p) => canShow(p.y, scale));
    return last ? [{ l, x: px(last.x), y: py(last.y), at: 0 }] : [];
  });
  ends.sort((a, b) => a.y - b.y);
  // From above each at its end or below the one before, then from below none under the frame.
  ends.forEach((end, i) => (end.at = Math.max(end.y, i === 0 ? top : ends[i - 1].at + LABEL_LINE)));
  for (let i = ends.length - 1, most = bottom; i >= 0; i--, most -= LABEL_LINE) ends[i].at = Math.min(ends[i].at, most);
  const labels = ends.map(({ l, x, y, at }) => {
    const leader = `M${fixed(x)} ${fixed(y)}L${fixed(right + LEADER - 4)} ${fixed(at)}`;
    return (
      `<path d="${leader}" fill="none" stroke="${l.colour}" stroke-opacity="0.6" stroke-width="1"${dashOf(l)} />` +
      `<text x="${fixed(right + LEADER)}" y="${fixed(at)}" dy="0.35em">${escapeMarkup(l.name)}</text>`
    );
  });
  return labels.length === 0 ? '' : `${labels.join('\n')}\n`;
}

function drawLine(l: Line, scale: Scale, px: (x: number) => number, py: (y: number) => number): string {
  const cloud = (points: Line['points']): string => {
    const dots = thin(points, scale).flatMap((p) => (p ? `M${fixed(px(p.x))} ${fixed(py(p.y))}h0` : []));
    const style = `fill="none" stroke="${l.colour}" stroke-opacity="0.45" stroke-linecap="round" stroke-width="3"`;
    return dots.length === 0 ? '' : `<path d="${dots.join('')}" ${style} />\n`;
  };
  const stroke = (points: Line['points'], width: number, opacity: number): string => {
    const shown = thin(points, scale).map((p) => p && `${fixed(px(p.x))} ${fixed(py(p.y))}`);
    let path = '';
    let dots = '';
    shown.forEach((p, i) => {
      if (p === undefined) return;
      if (shown[i - 1] !== undefined) path += `L${p}`;
      else if (shown[i + 1] !== undefined) path += `M${p}`;
      // A point without a neighbour: a stroke of no length, which round caps make a dot.
      else dots += `M${p}h0`;
    });
    const style = `fill="none" stroke="${l.colour}" stroke-opacity="${opacity}" stroke-linejoin="round" stroke-linecap="round"`;
    return [
      path && `<path d="${path}" ${style} stroke-width="${width}"${dashOf(l)} />\n`,
      dots && `<path d="${dots}" ${style} stroke-width="${width + 4}" />\n`,
    ].join('');
  };
  return l.smoothed ? cloud(l.points) + stroke(l.smoothed, 2, 1) : stroke(l.points, 2, 1);
}

/**
 * The points to draw, undefined for a gap. Long series keep only the lowest and the highest point of each half pixel
 * column, so spikes survive and a chart of a million steps stays small.
 */
function thin(points: Line['points'], scale: Scale): (Line['points'][number] | undefined)[] {
  const shown = points.map((p) => (canShow(p.y, scale) ? p : undefined));
  const bucket = Math.ceil(shown.length / WIDTH);
  if (bucket < 4) return shown;
  const kept: (Line['points'][number] | undefined)[] = [];
  for (let i = 0; i < shown.length; i += bucket) {
    const part = shown.slice(i, i + bucket);
    const finite = part.filter((p) => p !== undefined);
    if (finite.length < part.length) kept.push(undefined);
    if (finite.length === 0) continue;
    const low = finite.reduce((a, b) => (b.y < a.y ? b : a));
    const high = finite.reduce((a, b) => (b.y > a.y ? b : a));
    kept.push(...(low === high ? [low] : finite.indexOf(low) < finite.indexOf(high) ? [low, high] : [high, low]));
  }
  return kept;
}

/** What someone who does not see the chart should know. */
function describeChart(chart: LineChart): string {
  const series = chart.series.map(({ name, y }) => {
    const finite = Array.from(y).filter(Number.isFinite);
    if (finite.length === 0) return `${name}: no data`;
    return `${name}: from ${formatNumber(finite[0])} to ${formatNumber(finite[finite.length - 1])}`;
  });
  return `${chart.title}. ${series.join('; ')}`;
}

function dashOf(l: Line): string {
  return l.dash ? ` stroke-dasharray="${l.dash}"` : '';
}

function fixed(x: number): string {
  return String(Number(x.toFixed(1)));
}
