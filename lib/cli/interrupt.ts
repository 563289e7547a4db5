// Ctrl-C: the first asks the work to stop and save, the second ends the process at once.

export async function withInterrupt<T>(work: (signal: AbortSignal) => Promise<T>, notice = 'stopping'): Promise<T> {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    console.error(`\n${notice}; once more to stop at once`);
    controller.abort();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}
