// Child processes with the emulated card, which shows itself only to those who ask for it by name.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { finish, type Finished, repository, runSource, start } from '../support/child';

const built = existsSync(path.join(repository, 'build-emulation', 'fast_weights_emulation.node'));

/** A describe block; skipped where `npm run build:emulation` has not been run. */
export function describeEmulated(title: string, body: (this: Mocha.Suite) => void): void {
  if (built) describe(title, body);
  else describe.skip(`${title} (not built: npm run build:emulation)`, body);
}

function environment(card: string): NodeJS.ProcessEnv {
  return { FAST_WEIGHTS_DEVICE: 'cuda-emulation', FAST_WEIGHTS_EMULATED_CARD: card };
}

/** Runs source text with the library as `fw`; `card` is what test/emulation/card.h reads. */
export function onCard(source: string, card = ''): Promise<Finished> {
  return runSource(source, environment(card));
}

/** Runs a file of the clone. */
export function runOnCard(args: string[], card = ''): Promise<Finished> {
  return finish(start(args, environment(card)));
}
