// Runs every vector in and below a folder and says which are not within their tolerance.
import type { Target } from '../support/golden';
import { type Vector, vectorsBelow } from './folder';
import { readWish, USAGE, UsageError, type Wish } from './wish';

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

async function run({ folder, ...where }: Wish): Promise<boolean> {
  const vectors = vectorsBelow(folder);
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

async function main(): Promise<void> {
  const wish = readWish(process.argv.slice(2));
  if (wish === null) process.stdout.write(USAGE);
  else if (!(await run(wish))) process.exitCode = 1;
}

main().catch((error: unknown) => {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
});
