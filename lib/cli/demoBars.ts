// Bars that fill while models train: redrawn in place on a terminal, a line now and then elsewhere.
import { bar, sparkline } from '../viz';

interface Stream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const WIDTH = 30;
const HISTORY = 24;

export class LiveBars {
  private readonly history: number[][];
  private readonly steps: number[];
  private drawn = false;
  private readonly label: number;

  constructor(
    private readonly stream: Stream,
    private readonly titles: readonly string[],
    private readonly total: number,
  ) {
    this.history = titles.map(() => []);
    this.steps = titles.map(() => 0);
    this.label = Math.max(...titles.map((title) => title.length));
  }

  /** Takes a share in [0, 1] for one of the titles. */
  update(index: number, step: number, share: number): void {
    this.history[index].push(share);
    this.steps[index] = step;
    if (this.stream.isTTY) this.draw();
    else if (this.steps.every((s) => s === step) && (step === this.total || step % 100 === 0)) this.line(step);
  }

  /** Ends the display. */
  done(): void {
    if (this.stream.isTTY) this.stream.write('\n');
  }

  private draw(): void {
    const up = this.drawn ? `\x1b[${this.titles.length}A` : '';
    const lines = this.titles.map((title, i) => {
      const values = this.history[i];
      const share = values.at(-1) ?? 0;
      const curve = sparkline([0, 1, ...values], HISTORY);
      return `\r\x1b[2K${title.padEnd(this.label)}  ${bar(share, WIDTH)} ${percent(share)}  ${curve}  step ${this.steps[i]}\n`;
    });
    this.stream.write(up + lines.join(''));
    this.drawn = true;
  }

  private line(step: number): void {
    const parts = this.titles.map((title, i) => `${title} ${percent(this.history[i].at(-1) ?? 0)}`);
    this.stream.write(`step ${String(step).padStart(String(this.total).length)}/${this.total}  ${parts.join('   ')}\n`);
  }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`.padStart(7);
}
