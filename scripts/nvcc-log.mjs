// Runs nvcc as CMake calls it, and keeps what `ptxas -v` says of the kernels beside the object, as <object>.log. What is
// left to print are warnings and errors.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

const [compiler, ...args] = process.argv.slice(2);
const started = Date.now();
const { status, stdout, stderr, error } = spawnSync(compiler, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
if (error) throw error;
const output = `${stdout}${stderr}`;
const isReport = (line) => /^ptxas info +:|^ +\d+ bytes stack frame/.test(line);
const lines = output.split('\n');
const object = args[args.indexOf('-o') + 1];
if (status === 0 && args.includes('-c')) {
  const seconds = `${(Date.now() - started) / 1000} seconds`;
  writeFileSync(`${object}.log`, `${[seconds, ...lines.filter(isReport)].join('\n')}\n`);
}
process.stderr.write(lines.filter((line) => !isReport(line)).join('\n'));
process.exitCode = status ?? 1;
