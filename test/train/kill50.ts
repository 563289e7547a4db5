// By hand: node --import=tsx test/train/kill50.ts. Kills fifty runs while they save and resumes every one.
import { join } from 'node:path';
import { killOnce } from './kill';
import { withFolder } from './support';

void withFolder(async (dir) => {
  for (let i = 1; i <= 50; i++) console.log(`${i}: resumed at step ${await killOnce(join(dir, String(i)), 400)}`);
});
