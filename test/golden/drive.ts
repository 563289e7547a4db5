// Runs vectors and says which are not within their tolerance.
import type { Target } from '../support/golden';
import { type Vector, vectorsBelow } from './folder';
import { readWish, UsageError, usageOf, type Wish } from './wish';

/** Why a case fails, on one line; empty where it does not. */
async function reasonOf(vector: Vector, where: Target): Promise<string> {
  try {
    return (await vector.failures(where)).join('; ');
  } catch (error) {
    return (
      (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, ' ') ||
      'an error without a message'
    );
  }
}

async function run({ folder, ...where }: Wish, chosen: (vector: Vector) => boolean): Promise<boolean> {
  const vectors = vectorsBelow(folder).filter(chosen);
  const progress = (text: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  };
  let within = 0;
  for (const [i, vector] of vectors.entries()) {
    progress(`${i} of ${vectors.length}: ${vector.name}`);
    const reason = await reasonOf(vector, where);
    if (reason === '') within++;
    else {
      progress('');
      console.log(`${vector.name}: ${reason}`);
    }
  }
  progress('');
  console.log(`${within} of ${vectors.length} cases within tolerance`);
  return within === vectors.length && within > 0;
}

/** The program of a script: what it is called, what it runs, and which of the vectors below the folder. */
export async function runProgram(script: string, what: string, chosen: (vector: Vector) => boolean): Promise<void> {
  const usage = usageOf(script, what);
  try {
    const wish = readWish(process.argv.slice(2));
    if (wish === null) process.stdout.write(usage);
    else if (!(await run(wish, chosen))) process.exitCode = 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n\n${usage}`);
    process.exitCode = 2;
  }
}
