// Progress of a training run on a stream: one line redrawn in place on a terminal, a plain line now and then elsewhere.
// The cursor is never hidden, so nothing has to be undone when a process dies.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  checkString,
  describe,
  type OptionNames,
} from '../core';
import { formatCount, formatDuration, formatNumber } from './format';
import { bar, displayWidth } from './terminal';

/** The part of a writable stream that is used; process.stderr is one. */
export interface ProgressStream {
  /** Whether to redraw one line in place; otherwise plain lines are written now and then. */
  readonly isTTY?: boolean;
  /** Width of the terminal, 80 where it is not known. */
  readonly columns?: number;
  /** Takes text with carriage returns and escapes on a terminal, whole lines elsewhere. */
  write(text: string): unknown;
}

/** What `Progress.update` takes; everything but the step may be left out. */
export interface ProgressFields {
  /** Steps done. */
  step: number;
  /** Steps of the whole run, where the first guess has changed. */
  total?: number;
  /** Of training, shown as `loss`. */
  loss?: number;
  /** Shown as `val`. */
  validationLoss?: number;
  /** Shown as `tok/s`, with k or M for thousands or millions. */
  tokensPerSecond?: number;
}

/** Options of `createProgress`. */
export interface ProgressOptions {
  /** Steps of the whole run; left out while they are not known, then an update brings them. */
  total?: number;
  /** What is counted, before the numbers. */
  label?: string;
  /** Steps done before, in a resumed run: the remaining time is reckoned from those after. Default 0. */
  start?: number;
  /** Seconds between plain lines where the stream is no terminal. Default 10. */
  interval?: number;
  /** Milliseconds of a clock that never goes back. Default performance.now. */
  now?: () => number;
}

const OPTIONS: OptionNames<ProgressOptions> = { total: true, label: true, start: true, interval: true, now: true };
const FIELDS: OptionNames<ProgressFields> = {
  step: true,
  total: true,
  loss: true,
  validationLoss: true,
  tokensPerSecond: true,
};

/** A display that is fed with numbers while a run goes on. */
export interface Progress {
  /** Takes new values; those left out stay as they were. */
  update(fields: ProgressFields): void;
  /** Prints a line of its own; on a terminal above the bar. */
  note(line: string): void;
  /** Shows the last state and ends the line. Further calls do nothing. */
  done(): void;
}

const REDRAW_MS = 100;
const BAR = 20;
const ERASE = '\r\x1b[2K';

/**
 * A display on a stream: on a terminal a bar, redrawn at most every 100 ms and cut to its width, else a plain line per
 * interval.
 */
export function createProgress(stream: ProgressStream, options: ProgressOptions): Progress {
  if (typeof stream?.write !== 'function') {
    throw argumentError('INVALID_ARGUMENT', 'createProgress', 'stream', 'a stream to write on', describe(stream));
  }
  checkOptions('createProgress', options, OPTIONS);
  const { total, label } = options;
  if (total !== undefined) checkInteger('createProgress', 'total', total);
  if (label !== undefined) checkString('createProgress', 'label', label);
  const start = checkInteger('createProgress', 'start', options.start ?? 0, 0, total);
  const interval = 1000 * checkNumber('createProgress', 'interval', options.interval ?? 10, 0);
  const now = options.now ?? (() => performance.now());
  const terminal = stream.isTTY === true;
  const period = terminal ? REDRAW_MS : interval;
  const begun = now();
  let fields: ProgressFields = { step: start, total };
  let shownAt = -Infinity;
  let stale = false;
  let ended = false;

  const show = (): void => {
    shownAt = now();
    stale = false;
    const parts = describeFields(fields, label, start, (shownAt - begun) / 1000);
    const share = fields.total === undefined ? undefined : fields.step / fields.total;
    stream.write(terminal ? ERASE + fitLine(parts, share, stream.columns || 80) : `${parts.join('  ')}\n`);
  };

  return {
    update(next) {
      checkOptions('progress', next, FIELDS);
      checkInteger('progress', 'step', next.step);
      if (next.total !== undefined) checkInteger('progress', 'total', next.total);
      if (ended) return;
      const given = Object.entries(next).filter(([, value]) => value !== undefined);
      fields = { ...fields, ...Object.fromEntries(given) };
      stale = true;
      if (now() - shownAt >= period) show();
    },
    note(line) {
      stream.write(terminal && !ended ? `${ERASE}${line}\n` : `${line}\n`);
      if (terminal && !ended) show();
    },
    done() {
      if (ended) return;
      if (stale || terminal) show();
      ended = true;
      if (terminal) stream.write('\n');
    },
  };
}

/** In order of importance: a narrow terminal loses the last ones first. */
function describeFields(fields: ProgressFields, label: string | undefined, start: number, elapsed: number): string[] {
  const { step, total, loss, validationLoss, tokensPerSecond } = fields;
  const remaining = total === undefined || step >= total ? 0 : (elapsed / (step - start)) * (total - step);
  const count = total === undefined ? `step ${step}` : `${step}/${total}`;
  return [
    label === undefined ? count : `${label} ${count}`,
    loss === undefined ? '' : `loss ${formatNumber(loss)}`,
    step > start && remaining > 0 ? `ETA ${formatDuration(remaining)}` : '',
    validationLoss === undefined ? '' : `val ${formatNumber(validationLoss)}`,
    tokensPerSecond === undefined ? '' : `${formatCount(tokensPerSecond)} tok/s`,
    formatDuration(elapsed),
  ].filter((part) => part !== '');
}

/** As many parts as fit, the bar first to go; the last column stays free, where some terminals wrap. */
function fitLine(parts: readonly string[], share: number | undefined, columns: number): string {
  const whole = share === undefined ? [] : [[bar(share, BAR), ...parts]];
  const candidates = [...whole, ...parts.map((_, i) => parts.slice(0, parts.length - i))];
  const fitting = candidates.map((list) => list.join('  ')).find((line) => displayWidth(line) < columns);
  return fitting ?? parts[0].slice(0, Math.max(0, columns - 1));
}
