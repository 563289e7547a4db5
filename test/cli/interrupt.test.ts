// What is told to stop: the code of the signal, no error, and a second Ctrl-C at once.
import { expect } from 'chai';
import { isAborted, Stopped, withInterrupt } from '../../lib/cli/interrupt';
import { FastWeightsError } from '../../lib/core';

type Work = (signal: AbortSignal) => Promise<string>;

const untilAborted: Work = (signal) =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new FastWeightsError('ABORTED', 'saved')));
  });
const withWhatThereIs: Work = (signal) =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve('text')));

/** How work ends that gets these signals. */
async function ended(work: Work, signals: readonly NodeJS.Signals[]): Promise<unknown> {
  const running = withInterrupt(work, '').catch((error: unknown) => error);
  for (const name of signals) process.emit(name, name);
  return running;
}

describe('signals', () => {
  it('end work with their code, whether it throws or returns what it has', async () => {
    const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
    for (const [name, code] of Object.entries(codes) as [NodeJS.Signals, number][]) {
      const before = process.listenerCount(name);
      expect(await ended(untilAborted, [name]))
        .to.be.instanceOf(Stopped)
        .and.include({ exitCode: code, message: 'saved' });
      expect(await ended(withWhatThereIs, [name]))
        .to.be.instanceOf(Stopped)
        .and.include({ exitCode: code, message: '' });
      expect(process.listenerCount(name)).to.equal(before);
    }
  });

  it('end the process at once when they come again, but not those of a terminal that goes', async () => {
    const { exit } = process;
    const exits: unknown[] = [];
    process.exit = ((code: number) => exits.push(code)) as never;
    try {
      await ended(untilAborted, ['SIGHUP', 'SIGHUP', 'SIGTERM']);
      expect(exits).to.eql([]);
      await ended(untilAborted, ['SIGTERM', 'SIGINT']);
      await ended(untilAborted, ['SIGINT', 'SIGINT']);
      await ended(untilAborted, ['SIGTERM', 'SIGTERM']);
      expect(exits).to.eql([130, 130, 143]);
    } finally {
      process.exit = exit;
    }
  });

  it('leave other failures, and work that nobody stopped, as they are', async () => {
    const failure = new FastWeightsError('OUT_OF_MEMORY', 'full');
    expect(await ended(() => Promise.reject(failure), [])).to.equal(failure);
    expect(await ended(() => Promise.reject(failure), ['SIGINT'])).to.equal(failure);
    const own = new FastWeightsError('ABORTED', 'by itself');
    expect(isAborted(await ended(() => Promise.reject(own), []))).to.equal(true);
    expect(await ended(() => Promise.resolve('all'), [])).to.equal('all');
  });
});
