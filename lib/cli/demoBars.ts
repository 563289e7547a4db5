// Bars that fill while models train: redrawn in place on a terminal, a line now and then elsewhere.
import { bar, type ProgressStream, sparkline } from '../viz';

const WIDTH = 30;
const HISTORY = 24;
/** Fewer characters tell nothing. */
const LEAST = 8;
const PERCENT = 7;
/** Steps between lines. */
const INTERVAL = 100;

export class LiveBars {
  private readonly history: number[][];
  private readonly steps: number[];
  private drawn = false;
  /** The step of the last line. */
  private announced = 0;

  constructor(
    private readonly stream: ProgressStream,
    private readonly titles: readonly string[],
    private readonly total: number,
  ) {
    this.history = titles.map(() => []);
    this.steps = titles.map(() => 0);
  }

  /** Takes a share in [0, 1] for one of the titles. */
  update(index: number, step: number, share: number): void {
    this.history[index].push(share);
    this.steps[index] = step;
    if (this.stream.isTTY) this.draw();
    else this.line();
  }

  /** Ends the display. */
  done(): void {
    if (this.stream.isTTY) this.stream.write('\n');
  }

  private draw(): void {
    const up = this.drawn ? `\x1b[${this.titles.length}A` : '';
    const columns = (this.stream.columns ?? 80) - 1;
    const titles = fittingTitles(this.titles, columns);
    const label = Math.max(...titles.map((title) => title.length));
    const lines = titles.map((title, i) => {
      const start = `${title.padEnd(label)}  `;
      return `\r\x1b[2K${(start + this.gauge(i, columns - start.length)).slice(0, columns)}\n`;
    });
    this.stream.write(up + lines.join(''));
    this.drawn = true;
  }

  /** Share, bar, step and curve, as many of them, in this order, as there is room for. */
  private gauge(index: number, columns: number): string {
    const values = this.history[index];
    let left = columns - PERCENT - 1;
    const width = Math.min(WIDTH, Math.floor(left / 2));
    const filled = width < LEAST ? '' : `${bar(values.at(-1) ?? 0, width)} `;
    left -= filled.length;
    const step = `  step ${String(this.steps[index]).padStart(String(this.total).length)}`;
    const counted = step.length <= left ? step : '';
    left -= counted.length + 2;
    const curve = left < LEAST ? '' : `  ${sparkline(values, Math.min(HISTORY, left), [0, 1])}`;
    return `${filled}${percent(values.at(-1))}${curve}${counted}`;
  }

  /** When the slowest has done a hundred steps more, or all. */
  private line(): void {
    const step = Math.min(...this.steps);
    if (step <= this.announced || (step < this.total && step < this.announced + INTERVAL)) return;
    this.announced = step;
    const titles = this.titles.map(short);
    const parts = titles.map((title, i) => `${title} ${percent(this.history[i].at(-1))}`);
    this.stream.write(`step ${String(step).padStart(String(this.total).length)}/${this.total}  ${parts.join('   ')}\n`);
  }
}

/** Without what stands in brackets where that would take more than half of the columns. */
export function fittingTitles(titles: readonly string[], columns: number): readonly string[] {
  return titles.some((title) => 2 * title.length > columns) ? titles.map(short) : titles;
}

function short(title: string): string {
  return title.replace(/ \(.*\)$/, '');
}

function percent(share: number | undefined): string {
  return (share === undefined ? '–' : `${(100 * share).toFixed(1)} %`).padStart(PERCENT);
}
