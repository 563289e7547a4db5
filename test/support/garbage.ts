// What the garbage collector has done is done when `collectGarbage` resolves.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Frees every tensor that nothing reaches. Code must not be on the stack of what it wants collected. */
export async function collectGarbage(): Promise<void> {
  // A first round finds graphs, which hold others.
  for (let i = 0; i < 3; i++) {
    await turn();
    collect();
    await turn();
  }
}
