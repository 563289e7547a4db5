// Models as a service over HTTP. What it is made of is loaded when one is started.
import { requirePackages } from './packages';
import type { ServeOptions } from './options';
import type { RunningServer } from './serve';

export { requirePackages } from './packages';
export type { ServedModel, ServeOptions } from './options';
export type { RunningServer } from './serve';

/** Starts a server; it listens when this resolves, and its models may still be loading. */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  requirePackages('serve');
  const { start } = await import('./serve.js');
  return start(options);
}
