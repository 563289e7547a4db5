// What is told to stop: the code of the signal, no error, and a later Ctrl-C at once.
import { EventEmitter } from 'node:events';
import { expect } from 'chai';
import { isAborted, mindingMessages, mindingResults, Stopped, withInterrupt } from '../../lib/cli/interrupt';
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

  it('end the process when they come again later, but not at once nor those of a terminal that goes', async () => {
    const { kill } = process;
    const { now } = performance;
    let [ends, ms] = [[] as string[], 0];
    process.kill = ((_: number, name: string) => ends.push(name)) as never;
    performance.now = () => ms;
    /** The first signal and the second one, so many milliseconds later, and what ends the process. */
    const after = async (first: NodeJS.Signals, wait: number, second: NodeJS.Signals): Promise<string[]> => {
      [ends, ms] = [[], 0];
      const running = withInterrupt(untilAborted, '').catch((error: unknown) => error);
      process.emit(first, first);
      ms = wait;
      process.emit(second, second);
      expect(await running).to.include({ by: first });
      return ends;
    };
    try {
      for (const first of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
        for (const second of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
          expect(await after(first, 900, second), `${first} ${second}`).to.eql([]);
          expect(await after(first, 1100, second)).to.eql(second === 'SIGHUP' ? [] : [second]);
        }
      }
    } finally {
      process.kill = kill;
      performance.now = now;
      process.exitCode = undefined;
    }
  });

  it('are not meant by output that is lost: messages end nothing, results end the work saved and with a code', async () => {
    const stream = new EventEmitter() as NodeJS.WriteStream;
    const lost = async (minding: typeof mindingResults, code: string): Promise<unknown> => {
      stream.removeAllListeners();
      minding(stream);
      const work: Work = (signal) => Promise.race([untilAborted(signal), Promise.resolve().then(() => 'all')]);
      const running = withInterrupt(work, '').catch((error: unknown) => error);
      stream.emit('error', Object.assign(new Error(code), { code }));
      return running;
    };
    const { error } = console;
    console.error = () => undefined;
    try {
      for (const code of ['EPIPE', 'ENOSPC', 'EIO']) expect(await lost(mindingMessages, code)).to.equal('all');
      expect(await lost(mindingResults, 'EIO')).to.equal('all');
      expect(await lost(mindingResults, 'EPIPE')).to.include({ exitCode: 0 });
      expect(process.exitCode).to.equal(undefined);
      expect(await lost(mindingResults, 'ENOSPC')).to.include({ exitCode: 1, message: 'saved' });
      expect(process.exitCode).to.equal(1);
    } finally {
      console.error = error;
      process.exitCode = undefined;
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
