// The packages that a server is made of, which nothing else needs.
import { FastWeightsError } from '../core';
import { findModule } from '../platform';

/** They are no dependencies: together they are larger than the library. */
const PACKAGES = ['hono', '@hono/node-server', 'zod', 'prom-client', '@huggingface/jinja'];

/** An UNSUPPORTED error that says how to install what is missing. */
export function requirePackages(where: string): void {
  const missing = PACKAGES.filter((name) => findModule(name) === undefined);
  if (missing.length === 0) return;
  const expected = missing.join(' ');
  throw new FastWeightsError('UNSUPPORTED', `${where}: it needs packages: npm install ${expected}`, { expected });
}
