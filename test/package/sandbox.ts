// Temporary folders, and programs run in them without the npm and library settings of this process.
import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export const root = path.resolve(__dirname, '../..');

/** What `node scripts/build.mjs` leaves in a clone that has a compiler. */
export const localBuild = path.join(root, 'build', 'Release', 'fast_weights.node');

/** Registers a folder that is made before the tests of a suite and removed after them. */
export function temporaryFolder(): (...names: string[]) => string {
  let folder = '';
  before(() => {
    folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'fast-weights-package-')));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  return (...names) => path.join(folder, ...names);
}

/** Copies files and folders of the clone; those that it does not have are left out. */
export function copyTree(to: string, names: readonly string[]): void {
  for (const name of names) {
    if (existsSync(path.join(root, name))) cpSync(path.join(root, name), path.join(to, name), { recursive: true });
  }
}

export function linkModules(to: string): void {
  symlinkSync(path.join(root, 'node_modules'), path.join(to, 'node_modules'));
}

type Environment = Record<string, string | undefined>;

export interface Outcome {
  status: number | null;
  stdout: string;
  /** Both streams. */
  output: string;
}

export function run(cwd: string, command: string, args: readonly string[], settings: Environment = {}): Outcome {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(npm_|FAST_WEIGHTS_|NODE_OPTIONS$)/i.test(name));
  const env = { ...Object.fromEntries(inherited), ...settings };
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env, encoding: 'utf8' });
  if (error) throw error;
  return { status, stdout, output: `${stdout}${stderr}` };
}

/** Runs what must exit with 0, and returns what it wrote to stdout. */
export function succeed(cwd: string, command: string, args: readonly string[], settings: Environment = {}): string {
  const { status, stdout, output } = run(cwd, command, args, settings);
  expect(status, `${command} ${args.join(' ')}\n${output}`).to.equal(0);
  return stdout;
}

interface Packed {
  filename: string;
  files: { path: string }[];
}

/** Makes the tarball of a package; says its name and what it holds. */
export function pack(folder: string, destination: string): Packed {
  const args = ['pack', folder, '--json', '--ignore-scripts', '--pack-destination', destination];
  return (JSON.parse(succeed(destination, 'npm', args)) as Packed[])[0];
}

/** Makes a project that depends on tarballs, by package name, and installs them without a network. */
export function install(project: string, tarballs: Record<string, string>): void {
  mkdirSync(project);
  const dependencies = Object.fromEntries(Object.entries(tarballs).map(([name, file]) => [name, `file:${file}`]));
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: 'consumer', private: true, dependencies }));
  succeed(project, 'npm', ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund']);
}

/** Tarballs of what the library depends on, from the packages of this clone. */
export function packDependencies(destination: string): Record<string, string> {
  const { dependencies } = readJson<{ dependencies: Record<string, string> }>(path.join(root, 'package.json'));
  return Object.fromEntries(
    Object.keys(dependencies).map((name) => {
      const { filename } = pack(path.join(root, 'node_modules', name), destination);
      return [name, path.join(destination, filename)];
    }),
  );
}

/** Statements that train one step on the default device and print what happened as JSON; `fw` is the library. */
export const TRAIN_ONE_STEP = `
const [q, k, v, target] = [1, 2, 3, 4].map((i) => fw.tensor(
  Array.from({ length: 5 * 2 * 4 }, (_, n) => Math.sin(i * n + i)), { shape: [1, 5, 2, 4], requiresGrad: i < 4 }));
const optimizer = new fw.optim.AdamW([['q', q], ['k', k], ['v', v]], { lr: 0.01 });
const loss = () => fw.deltaRule(q, k, v, { qkL2Norm: true }).output.sub(target).pow(2).mean();
const first = loss();
const before = first.item();
first.backward();
optimizer.step();
const after = loss().item();
console.log(JSON.stringify({ device: q.device, before, after, devices: fw.devices(), attempts: fw.loadAttempts() }));
`;

export interface Training {
  device: string;
  before: number;
  after: number;
  devices: { device: string; available: boolean; name: string; reason?: string }[];
  attempts: { step: string; ok: boolean; reason?: string }[];
}

/** Reads what TRAIN_ONE_STEP printed: the step must have lowered the loss. */
export function training(stdout: string): Training {
  const report = JSON.parse(stdout) as Training;
  expect(report.before).to.be.greaterThan(0);
  expect(report.after).to.be.greaterThan(0).and.lessThan(report.before);
  return report;
}

export function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(file, 'utf8')) as T;
}
