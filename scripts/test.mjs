// Runs the tests on processors, in two processes at once: those of what computes, which keep one core busy, and those of
// devices and everything around, which wait for other processes and for files, too. What the first prints is shown when it has ended.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { Failure, isMain, root, runMain } from './support.mjs';

const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');
const COMPUTING = 'test/{autograd,core,golden,models,nn,ops,optim,ports,rules}/**/*.test.ts';

/** Whether the tests pass. */
function run(...args) {
  return new Promise((settle) => {
    const aside = args[0] === COMPUTING;
    const stdio = ['ignore', aside ? 'pipe' : 'inherit', aside ? 'pipe' : 'inherit'];
    const child = spawn(process.execPath, [mocha, ...args], { cwd: root, stdio });
    let output = '';
    if (aside) for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (output += part));
    child.on('close', (code) => {
      process.stdout.write(output);
      settle(code === 0);
    });
  });
}

async function main() {
  const passed = await Promise.all([run(COMPUTING), run('test/**/*.test.ts', '--ignore', COMPUTING)]);
  if (passed.includes(false)) throw new Failure('some tests failed');
}

if (isMain(import.meta.url)) await runMain(main);
