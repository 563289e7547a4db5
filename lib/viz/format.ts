// Numbers and text for people: durations, counts, bytes, axis labels, and the escaping of text that goes into markup.
import { checkInteger, checkNumeric, checkString } from '../core';

/** `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 13 min`, `3 d 04 h`. */
export function formatDuration(seconds: number): string {
  checkNumeric('formatDuration', 'seconds', seconds);
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 0) return `-${formatDuration(-seconds)}`;
  if (Math.round(seconds * 1000) < 1000) return `${Math.round(seconds * 1000)} ms`;
  if (Math.round(seconds * 10) < 600) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)} d ${pad(hours % 24)} h`;
}

/** Three figures and a thousand's suffix: `987`, `1.23k`, `45.6M`, `7.89B`. */
export function formatCount(count: number): string {
  return scaled(count, 1000, ['', 'k', 'M', 'B', 'T']);
}

/** Three figures and a binary unit: `512 B`, `1.5 KiB`, `64 MiB`. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);
}

/** A measured number in at most `digits` significant figures, without a tail of zeros; `–` where there is none. */
export function formatNumber(value: number, digits = 4): string {
  checkNumeric('formatNumber', 'value', value);
  checkInteger('formatNumber', 'digits', digits, 1, 100);
  if (Number.isNaN(value)) return '–';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '-∞';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split('e');
    return `${Number(mantissa)}e${Number(exponent)}`;
  }
  return size >= 10 ** digits ? String(Math.round(value)) : String(Number(value.toPrecision(digits)));
}

/** Text for markup, elements and attributes alike; control characters become their visible pictures. */
export function escapeMarkup(text: string): string {
  checkString('escapeMarkup', 'text', text);
  return text
    .replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
    .replace(/\r\n?/g, '\n')
    .replace(/\p{Cc}/gu, (c) => (c === '\n' || c === '\t' ? c : pictureOf(c.charCodeAt(0))))
    .replace(/[\p{Cs}\ufffe\uffff]/gu, '\ufffd');
}

function pictureOf(code: number): string {
  return code < 32 ? String.fromCharCode(0x2400 + code) : code === 127 ? '\u2421' : '\ufffd';
}

function pad(n: number): string {
  return String(n).padStart(2, '0');
}

function scaled(value: number, base: number, suffixes: readonly string[]): string {
  if (!Number.isFinite(value)) return '?';
  let power = 0;
  let size = Math.abs(value);
  // 999.5 would round to 1000 of the unit below.
  while (power < suffixes.length - 1 && size >= (power === 0 ? base : base - 0.5)) {
    size /= base;
    power++;
  }
  const text = power === 0 ? String(Number(size.toFixed(2))) : String(Number(size.toPrecision(size >= 1000 ? 4 : 3)));
  return `${value < 0 ? '-' : ''}${text}${suffixes[power]}`;
}
