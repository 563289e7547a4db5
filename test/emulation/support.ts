// Child processes with the emulated card, which shows itself only to those who ask for it by name.
import { finish, type Finished, runSource, start } from '../support/child';
import { onEmulation } from './device';

/** A describe block for `npm run test:emulation`, which builds the card first. */
export function describeEmulated(title: string, body: (this: Mocha.Suite) => void): void {
  if (onEmulation) describe(title, body);
  else describe.skip(`${title} (npm run test:emulation)`, body);
}

function environment(card: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { FAST_WEIGHTS_DEVICE: 'cuda-emulation', FAST_WEIGHTS_EMULATED_CARD: card, ...env };
}

/** Runs source text with the library as `fw`; `card` is what test/emulation/card.h reads. */
export function onCard(source: string, card = '', env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return runSource(source, environment(card, env));
}

/** Runs a file of the clone. */
export function runOnCard(args: string[], card = '', env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return finish(start(args, environment(card, env)));
}
