// Tables for people, JSON for later comparisons.
import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import type { CaseResult, PeerResult } from './harness';
import type { Selection } from './suite';

/** What ran, when, and on what. */
export interface ReportHead {
  suite: string;
  date: string;
  commit: string;
  machine: {
    processor: string;
    cores: number;
    memory: number;
    instructionSet: string;
    node: string;
    card?: Selection['card'];
  };
}

export interface Report extends ReportHead {
  /** How to read the figures. */
  notes?: string[];
  results: CaseResult[];
}

function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: __dirname, encoding: 'utf8', stdio: 'pipe' }).trim();
    return (
      git('rev-parse', '--short', 'HEAD') +
      (git('status', '--porcelain', '--untracked-files=no') ? ' with changes' : '')
    );
  } catch {
    return 'unknown';
  }
}

/** As it is now; `instructionSet` is the processor's in use, `card` what computed instead of it. */
export function headOf(suite: string, instructionSet = 'none', card?: Selection['card']): ReportHead {
  return {
    suite,
    date: new Date().toISOString(),
    commit: commit(),
    machine: {
      processor: cpus()[0]?.model.trim() ?? 'unknown',
      cores: cpus().length,
      memory: totalmem(),
      instructionSet,
      node: process.version,
      card,
    },
  };
}

export function makeReport(suite: string, results: CaseResult[], { card, notes }: Omit<Selection, 'cases'>): Report {
  const instructionSet = results.find((result) => result.instructionSet)?.instructionSet;
  return {
    ...headOf(suite, instructionSet, card),
    notes: notes.length > 0 ? notes : undefined,
    results,
  };
}

/** What computes, and the software. */
export function machineOf({ machine: { processor, instructionSet, card, node }, commit }: ReportHead): string {
  const device = card ? card.name : `${processor} (${instructionSet})`;
  return `${device}, Node.js ${node}, commit ${commit}`;
}

function duration(ms: number): string {
  if (ms < 1) return `${(1000 * ms).toFixed(ms < 0.01 ? 2 : 1)} us`;
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 2 : 1)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

const percent = (x: number): string => `${(100 * x).toFixed(0)} %`;
export const signed = (x: number): string => `${x < 0 ? '-' : '+'}${(100 * Math.abs(x)).toFixed(1)} %`;

/** The quartiles as changes from the median. */
function spread({ median, quartiles, samples }: CaseResult): string {
  if (samples === 1) return '1 sample';
  return quartiles.map((q) => signed(q / median - 1)).join(' ');
}

function rate({ rate, unit }: CaseResult): string {
  if (rate === null) return '-';
  return unit === 'GFLOP/s' && rate >= 1000 ? `${(rate / 1000).toFixed(1)} TFLOP/s` : `${rate.toFixed(1)} ${unit}`;
}

function ratio(peer: PeerResult | undefined): string {
  if (!peer) return '-';
  return peer.ratio === undefined ? peer.absent!.split(':')[0] : `${peer.ratio.toFixed(2)}x`;
}

/** Pads columns; the first two to the left, figures to the right. */
export function align(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd(),
  );
}

/** The table of a run; a column for every peer that has something to say. */
export function table(results: readonly CaseResult[]): string {
  const peers = [...new Set(results.flatMap((result) => Object.keys(result.peers)))];
  const onCard = results.some((result) => result.numbers);
  const header = [
    'case',
    'shape',
    ...(onCard ? ['numbers'] : ['threads']),
    'median',
    'spread',
    'rate',
    'of peak',
    'tokens/s',
    'memory',
    'error',
    ...peers,
  ];
  const rows = results.map((result) => [
    result.name,
    result.shape,
    result.numbers ?? String(result.threads),
    duration(result.median),
    spread(result),
    rate(result),
    result.share === null ? '-' : percent(result.share),
    result.tokensPerSecond === undefined ? '-' : result.tokensPerSecond.toExponential(2),
    `${(result.memory / 2 ** 20).toFixed(0)} MiB`,
    result.worst.error.toExponential(0),
    ...peers.map((name) => ratio(result.peers[name])),
  ]);
  return align([header, ...rows]).join('\n');
}

/** What the peers' columns leave out: why they are empty, which versions ran. */
export function peerNotes(results: readonly CaseResult[]): string[] {
  const notes = results.flatMap(({ name, threads, peers }) =>
    Object.entries(peers).flatMap(([peer, { absent, version }]) => {
      if (version) return [`${peer}: ${version}`];
      const where = threads === undefined ? name : `${name}, ${threads} threads`;
      return absent && absent !== 'missing' ? [`${peer} on ${where}: ${absent}`] : [];
    }),
  );
  return [...new Set(notes)];
}

/** Changes against an older report, cases that both have. */
export function comparison(old: Report, now: Report): string {
  const rows = now.results.flatMap((result) => {
    const before = old.results.find(
      ({ name, shape, threads }) => name === result.name && shape === result.shape && threads === result.threads,
    );
    if (!before) return [];
    const share = (x: CaseResult): string => (x.share === null ? '-' : percent(x.share));
    const cells = [duration(before.median), duration(result.median), signed(result.median / before.median - 1)];
    return [
      [result.name, result.shape, result.numbers ?? String(result.threads), ...cells, share(before), share(result)],
    ];
  });
  const header = [
    'case',
    'shape',
    now.machine.card ? 'numbers' : 'threads',
    'before',
    'now',
    'time',
    'of peak before',
    'of peak now',
  ];
  const title = `against ${old.date.slice(0, 10)}, ${machineOf(old)}`;
  return [title, ...(rows.length > 0 ? align([header, ...rows]) : ['no case in common'])].join('\n');
}
