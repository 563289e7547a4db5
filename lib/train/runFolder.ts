// The folder of a run: its configuration, its metrics line by line, its checkpoints.
//   config.json   metrics.jsonl   report.html   checkpoints/step-<n>/   tokens.safetensors (of a large text)
//   lock-<pid> while a process works in it
import {
  appendFile,
  basename,
  dirname,
  existsSync,
  join,
  readdir,
  readFile,
  rename,
  resolve,
  rm,
  rmdir,
} from '../platform';
import { FastWeightsError } from '../core';
import {
  checkPath,
  createFolder,
  findFolder,
  isJsonObject,
  lockFolder,
  lockHolders,
  readJson,
  unlockFolder,
  writeFileAtomic,
  writeJson,
} from '../io';
import type { Evaluation } from './evaluate';

/** One line of metrics.jsonl: a training step, or a validation after one. */
export interface Metrics {
  /** Steps done. */
  step: number;
  /** Seconds of work so far, over all resumed parts of the run. */
  seconds: number;
  loss?: number;
  gradNorm?: number;
  learningRate?: number;
  tokensPerSecond?: number;
  validation?: Evaluation;
}

/** A checkpoint on disk. */
export interface CheckpointInfo {
  dir: string;
  step: number;
  /** Of the validation made at this step, if there was one. */
  validationLoss: number | null;
}

const KEPT = 2;

const TOKENS = 'tokens.safetensors';

export class RunFolder {
  readonly dir: string;
  private lines: string[] = [];
  /** Folders that were made for this run, parents first. */
  private made: string[] = [];

  private constructor(dir: string) {
    this.dir = resolve(checkPath('run', dir, 'dir'));
  }

  /**
   * Makes a new run folder, of this process until `unlock`. An existing run is not overwritten, but one that ended before
   * its first checkpoint is replaced. Fails before any work if the folder cannot be written.
   */
  static async create(dir: string, config: object): Promise<RunFolder> {
    await RunFolder.checkFree(dir);
    const folder = new RunFolder(dir);
    folder.made = await folder.attempt('create', () => createFolder(folder.checkpoints));
    await folder.lock();
    try {
      await folder.attempt('create', () => folder.clear());
      await folder.writeConfig(config);
    } catch (error) {
      await folder.discard();
      throw error;
    }
    return folder;
  }

  /** Requires a folder that holds no run that could go on, or none. */
  static async checkFree(dir: string): Promise<void> {
    const folder = new RunFolder(dir);
    const names = await folder.attempt('create', () => filesIn(folder.dir));
    const fail = (what: string): never => {
      throw new FastWeightsError('IO', `${dir} already holds ${what}`, { argument: dir });
    };
    if (!names.includes('config.json')) {
      if (names.includes('report.html')) fail('a report; give another folder');
      return;
    }
    const [holder] = await folder.attempt('create', () => lockHolders(folder.dir));
    if (holder !== undefined) fail(`a run, on which process ${holder} works; give another folder`);
    const config = names.includes('checkpoints') ? await folder.config().catch(() => null) : null;
    const parts = ['model', 'data', 'training'];
    const isRun = isJsonObject(config as never) && parts.every((key) => key in (config as object));
    if (!isRun) fail('a config.json that is not of a run; give another folder');
    if ((await folder.listCheckpoints()).length > 0) fail('a run; resume it, or give another folder');
  }

  static async open(dir: string): Promise<RunFolder> {
    const folder = new RunFolder(dir);
    const names = await folder.attempt('open', () => readdir(folder.dir));
    if (!names.includes('config.json')) {
      const several = await severalRuns(dir);
      throw new FastWeightsError('IO', several ?? `${dir} holds no run: there is no config.json in it`, {
        argument: dir,
      });
    }
    if (names.includes('trainer.json')) {
      const what = 'is one checkpoint of a run, with which text can be written and measured; to go on with the run';
      throw new FastWeightsError('IO', `${dir} ${what}, give its folder, which holds config.json and checkpoints/`, {
        argument: dir,
      });
    }
    return folder;
  }

  /** Keeps other processes out. */
  async lock(): Promise<void> {
    await this.attempt('lock', () => lockFolder(this.dir));
  }

  async unlock(): Promise<void> {
    await this.attempt('unlock', () => unlockFolder(this.dir));
  }

  /** Deletes what a run left that ended before its first checkpoint. */
  private async clear(): Promise<void> {
    const own = /^(config\.json|metrics\.jsonl|report\.html|tokens\.safetensors)(\.tmp-.*)?$/;
    for (const name of (await readdir(this.dir)).filter((name) => own.test(name))) await rm(join(this.dir, name));
    for (const name of (await readdir(this.checkpoints)).filter((name) => /\.tmp-/.test(name))) {
      await rm(join(this.checkpoints, name), { recursive: true, force: true });
    }
  }

  /** Takes back what `create` wrote, for a run that could not begin. */
  async discard(): Promise<void> {
    await this.unlock();
    for (const path of [this.tokens, join(this.dir, 'config.json')]) await rm(path, { force: true });
    // One that holds something else stays, and so do its parents.
    for (const folder of this.made.reverse()) await rmdir(folder).catch(() => undefined);
    this.made = [];
  }

  get checkpoints(): string {
    return join(this.dir, 'checkpoints');
  }

  get report(): string {
    return join(this.dir, 'report.html');
  }

  /** The token ids of a text too large for memory. */
  get tokens(): string {
    return join(this.dir, TOKENS);
  }

  private get metricsPath(): string {
    return join(this.dir, 'metrics.jsonl');
  }

  async config(): Promise<unknown> {
    return readJson(join(this.dir, 'config.json'));
  }

  async writeConfig(config: object): Promise<void> {
    await writeJson(join(this.dir, 'config.json'), config);
  }

  async writeReport(html: string): Promise<void> {
    await writeFileAtomic(this.report, (file) => file.writeFile(html));
  }

  log(metrics: Metrics): void {
    this.lines.push(`${JSON.stringify(metrics)}\n`);
  }

  /** Puts the lines logged since the last call into the file. */
  async flush(): Promise<void> {
    const text = this.lines.join('');
    this.lines = [];
    if (text) await this.attempt('write', () => appendFile(this.metricsPath, text));
  }

  /** All whole lines of the file; a last line cut short by a kill is none. */
  async metrics(): Promise<Metrics[]> {
    if (!(await this.attempt('read', () => filesIn(this.dir))).includes('metrics.jsonl')) return [];
    const text = await this.attempt('read', () => readFile(this.metricsPath, 'utf8'));
    return text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Metrics);
  }

  /** Forgets what was logged after `step`: a resumed run writes it anew. */
  async truncateMetrics(step: number): Promise<void> {
    const kept = (await this.metrics()).filter((line) => line.step <= step);
    const text = kept.map((line) => `${JSON.stringify(line)}\n`).join('');
    await writeFileAtomic(this.metricsPath, (file) => file.writeFile(text));
  }

  checkpointPath(step: number): string {
    return join(this.checkpoints, `step-${step}`);
  }

  /** Complete checkpoints, the oldest first. */
  async listCheckpoints(): Promise<CheckpointInfo[]> {
    const names = await this.attempt('read', () => filesIn(this.checkpoints));
    // A folder moved aside by a save that was killed counts under its proper name.
    const steps = new Set(names.flatMap((name) => /^step-(\d+)(?:\.old-.*)?$/.exec(name)?.[1] ?? []));
    const found: CheckpointInfo[] = [];
    for (const step of [...steps].map(Number).sort((a, b) => a - b)) {
      const dir = await findFolder(this.checkpointPath(step));
      const state = await readJson(join(dir, 'trainer.json'));
      const loss = isJsonObject(state) ? state.validationLoss : null;
      found.push({ dir, step, validationLoss: typeof loss === 'number' ? loss : null });
    }
    return found;
  }

  async latest(): Promise<CheckpointInfo> {
    const last = (await this.listCheckpoints()).at(-1);
    if (!last)
      throw new FastWeightsError(
        'IO',
        `${this.dir} holds no checkpoint yet: there is nothing to resume or to open; if its run has ended, start it again in the same folder`,
        { argument: this.dir },
      );
    return last;
  }

  /** Deletes all checkpoints but the last two and the best, and what killed saves left behind. */
  async prune(): Promise<void> {
    const all = await this.listCheckpoints();
    const best = bestOf(all);
    await this.attempt('prune', async () => {
      for (const { dir } of all.slice(0, -KEPT).filter((checkpoint) => checkpoint !== best)) {
        await rename(dir, `${dir}.deleted`);
      }
      const doomed = (await readdir(this.checkpoints)).filter((name) => /\.(deleted|tmp-.*)$/.test(name));
      for (const name of doomed) await rm(join(this.checkpoints, name), { recursive: true, force: true });
    });
  }

  private async attempt<T>(what: string, operation: () => Promise<T>): Promise<T> {
    try {
      return await operation();
    } catch (cause) {
      if (cause instanceof FastWeightsError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new FastWeightsError('IO', `run folder ${basename(this.dir)}: cannot ${what}: ${reason}`, {
        argument: this.dir,
        cause,
      });
    }
  }
}

export function bestOf(checkpoints: readonly CheckpointInfo[]): CheckpointInfo | undefined {
  const measured = checkpoints.filter((c) => c.validationLoss !== null);
  return measured.reduce<CheckpointInfo | undefined>(
    (best, c) => (best && best.validationLoss! <= c.validationLoss! ? best : c),
    undefined,
  );
}

/** The names in a folder; none where there is no folder. */
async function filesIn(dir: string): Promise<string[]> {
  return readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

/** What to say of a folder in which several models were compared; undefined where it is none. */
async function severalRuns(dir: string): Promise<string | undefined> {
  const entries = await readdir(dir, { withFileTypes: true });
  const inner: string[] = [];
  for (const entry of entries.filter((entry) => entry.isDirectory())) {
    const path = join(dir, entry.name);
    if ((await filesIn(path)).includes('checkpoints')) inner.push(path);
  }
  return inner.length === 0 ? undefined : `${dir} is no run, but holds some; name one of them: ${inner.join(', ')}`;
}

/** The model folder that a path means: a run's newest checkpoint, or the path itself. */
export async function resolveCheckpoint(path: string): Promise<string> {
  const names = await readdir(path).catch((cause: unknown) => {
    throw new FastWeightsError('IO', `${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      argument: path,
      cause,
    });
  });
  if (names.includes('checkpoints')) return (await (await RunFolder.open(path)).latest()).dir;
  const several = names.includes('config.json') ? undefined : await severalRuns(path);
  if (several !== undefined) throw new FastWeightsError('IO', several, { argument: path });
  return path;
}

/** The file with the token ids of the run that a checkpoint lies in, if there is one. */
export function tokensBeside(checkpoint: string): string | undefined {
  const path = join(dirname(dirname(resolve(checkpoint))), TOKENS);
  return existsSync(path) ? path : undefined;
}
