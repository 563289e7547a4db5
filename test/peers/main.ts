// Our checkpoints in other people's programs and theirs here: saves a model of each family of families.json with its logits,
// lets theirs.py load them and save its own, loads those, and prints the table of docs/peers.md.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import * as fw from '../../lib';

interface Options {
  python: string;
  only: string[];
  write?: string;
}

interface Family {
  /** Package and class. */
  class: string;
  config: Record<string, unknown>;
}

interface Stored {
  ids: number[];
  shape: number[];
  logits: number[];
}

/** A difference, or why there is none. */
type Outcome = number | string;

interface Theirs {
  versions: Record<string, string>;
  results: Record<string, { loaded: Outcome; saved: string | null }>;
}

/** What all families have; each adds its own. */
const COMMON = {
  vocab_size: 97,
  hidden_size: 32,
  num_hidden_layers: 2,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: 0,
};
const IDS = Array.from({ length: 60 }, (_, t) => (t * t * 7 + 3 * t) % 97);
/** In float32 no family differs by more; MesaNet rounds inside. */
const LIMIT = 1e-4;

type Model = fw.models.CausalLM;

async function logitsOf(model: Model, ids: number[]): Promise<{ shape: number[]; logits: number[] }> {
  const { logits } = fw.noGrad(() => model.forward(fw.tensor([ids], { dtype: 'int32' })));
  return { shape: [...logits.shape], logits: [...(await logits.data())] };
}

async function attempt<T>(run: () => Promise<T>): Promise<T | string> {
  try {
    return await run();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** All weights are moved a little: those that begin at 0 or 1 would hide a mistake. */
async function save(config: Record<string, unknown>, dir: string): Promise<null> {
  const model = fw.AutoModelForCausalLM.fromConfig(config as never).eval();
  fw.noGrad(() => {
    for (const [, p] of model.namedParameters()) {
      p.add_(fw.randn(p.shape, { dtype: p.dtype as 'float32', device: p.device, std: 0.05 }));
    }
  });
  await model.savePretrained(dir);
  writeFileSync(path.join(dir, 'logits.json'), JSON.stringify({ ids: IDS, ...(await logitsOf(model, IDS)) }));
  return null;
}

/** The largest difference over the root mean square of the logits. */
function difference(found: number[], expected: number[]): number {
  const square = expected.reduce((sum, x) => sum + x * x, 0) / expected.length;
  return Math.max(...expected.map((x, i) => Math.abs(found[i] - x))) / Math.sqrt(square);
}

async function load(dir: string): Promise<number> {
  const { ids, logits } = JSON.parse(readFileSync(path.join(dir, 'logits.json'), 'utf8')) as Stored;
  const model = await fw.AutoModelForCausalLM.fromPretrained(dir);
  return difference((await logitsOf(model, ids)).logits, logits);
}

const cell = (outcome: Outcome): string =>
  typeof outcome === 'number' ? outcome.toExponential(0) : outcome.replace(/\s+/g, ' ').replaceAll('|', '/');

function table(rows: [string, Family, Outcome, Outcome][], versions: Record<string, string>): string {
  const packages: Record<string, string> = { transformers: 'transformers', fla: 'flash-linear-attention' };
  const lines = rows.map(([name, { class: of }, there, here]) => {
    const name_ = packages[of.split('.')[0]];
    return `| ${name} | ${name_} ${versions[name_]} | ${cell(there)} | ${cell(here)} |`;
  });
  return [
    '| family | package | saved here, loaded there | saved there, loaded here |',
    '| --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
}

async function main({ python, only, write }: Options): Promise<void> {
  const all = JSON.parse(readFileSync(path.join(__dirname, 'families.json'), 'utf8')) as Record<string, Family>;
  const families = Object.fromEntries(Object.entries(all).filter(([name]) => only.length === 0 || only.includes(name)));
  const root = mkdtempSync(path.join(tmpdir(), 'fast-weights-peers-'));
  try {
    writeFileSync(path.join(root, 'names.json'), JSON.stringify(Object.keys(families)));
    writeFileSync(path.join(root, 'config.json'), JSON.stringify(COMMON));
    fw.manualSeed(3);
    const refused: Record<string, string | null> = {};
    for (const [name, { config }] of Object.entries(families)) {
      const dir = path.join(root, 'ours', name);
      mkdirSync(dir, { recursive: true });
      refused[name] = await attempt(() => save({ ...COMMON, ...config }, dir));
    }
    const { status } = spawnSync(python, [path.join(__dirname, 'theirs.py'), root], { stdio: ['ignore', 2, 2] });
    if (status !== 0 || !existsSync(path.join(root, 'theirs.json'))) throw new Error(`${python} ended with ${status}`);
    const { versions, results } = JSON.parse(readFileSync(path.join(root, 'theirs.json'), 'utf8')) as Theirs;
    const rows: Parameters<typeof table>[0] = [];
    for (const [name, family] of Object.entries(families)) {
      const { loaded, saved } = results[name];
      const here = saved ?? (await attempt(() => load(path.join(root, 'theirs', name))));
      rows.push([name, family, refused[name] ?? loaded, here]);
    }
    const text = table(rows, versions);
    console.log(text);
    if (write !== undefined) {
      const page = readFileSync(write, 'utf8');
      writeFileSync(write, `${page.slice(0, page.indexOf('| family'))}${text}\n`);
    }
    const wrong = rows.filter(([, , ...both]) =>
      both.some((outcome) => !(typeof outcome === 'number' && outcome < LIMIT)),
    );
    if (wrong.length > 0) console.log(`\nnot equal: ${wrong.map(([name]) => name).join(', ')}`);
    process.exitCode = wrong.length > 0 ? 1 : 0;
  } finally {
    rmSync(root, { recursive: true });
  }
}

new Command('peers')
  .description('Folders saved here in transformers and flash-linear-attention, and theirs here.')
  .option('--python <path>', 'one that has torch, transformers and flash-linear-attention', 'python3')
  .option('--only <families>', 'some of families.json, with semicolons between', (text: string) => text.split(';'), [])
  .option('--write <file>', 'a page whose table is written anew')
  .action(main)
  .parseAsync()
  .catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  });
