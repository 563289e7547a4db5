// One mutated folder from its seed and number: made, loaded, run.
import * as fw from '../../../lib';
import type { Choice } from '../fuzz';
import { Fault } from '../program';
import { Random } from '../random';
import { CONFIG_MUTATIONS } from './config';
import { type Folder, folderNames, folderOf, inTemporary, writeFolder } from './folder';
import { refit } from './refit';
import { WEIGHT_MUTATIONS } from './weights';

export const MUTATIONS = { ...CONFIG_MUTATIONS, ...WEIGHT_MUTATIONS };

/** A tiny model, right or wrong, never takes more: bytes of tensors, bytes of the process, seconds of the processor. */
const TENSOR_BYTES = 256 * 2 ** 20;
const PROCESS_BYTES = 512 * 2 ** 20;
const SECONDS = 10;

/** What a folder may be refused with. */
const CODES: readonly fw.ErrorCode[] = ['FORMAT', 'IO', 'UNSUPPORTED'];

export interface MadeFolder {
  folder: Folder;
  /** What was done to it, by kind and in words. */
  changes: { kind: string; text: string }[];
}

/** Changes of the configuration come first: weights may be made that fit it. */
export async function makeFolder(seed: number, number: number, { only, without }: Choice): Promise<MadeFolder> {
  const random = new Random(seed, number);
  const folder = await folderOf(random.pick(folderNames()));
  const kinds = Object.entries(MUTATIONS).filter(
    ([name]) => !without.includes(name) && (only.length === 0 || only.includes(name)),
  );
  const total = kinds.reduce((sum, [, { weight }]) => sum + weight, 0);
  const chosen = Array.from({ length: random.pick([1, 1, 1, 2, 3, 5]) }, () => {
    let at = random.next() * total;
    return kinds.find(([, { weight }]) => (at -= weight) < 0) ?? kinds[0];
  });
  const changes: MadeFolder['changes'] = [];
  const apply = (list: typeof chosen): void => {
    for (const [kind, { apply: change }] of list) {
      const text = change(folder, random);
      if (text !== undefined) changes.push({ kind, text });
    }
  };
  apply(chosen.filter(([name]) => name in CONFIG_MUTATIONS));
  if (changes.length > 0 && random.chance(0.5) && (await refit(folder, number))) {
    changes.push({ kind: 'refit', text: 'with weights that fit' });
  }
  apply(chosen.filter(([name]) => name in WEIGHT_MUTATIONS));
  return { folder, changes };
}

export function describeFolder({ folder, changes }: MadeFolder): string {
  return [folder.name, ...changes.map(({ kind, text }) => `  ${kind}: ${text}`)].join('\n');
}

/** How it ended: refused as it should be, or a model that runs. */
export type Outcome = 'refused' | 'ran';

/** Loads it and reads three tokens; throws a Fault where that ends in another way than it may. */
export async function checkFolder({ folder }: MadeFolder, device: fw.Device): Promise<Outcome> {
  const [rss, tensors, cpu] = [peakBytes(), peakTensors(device), process.cpuUsage()];
  const outcome = await inTemporary(async (dir) => {
    writeFolder(folder, dir);
    return load(dir, device);
  });
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (user + system) / 1e6;
  if (seconds > SECONDS) throw new Fault(`took ${seconds.toFixed(1)} s of the processor`);
  const grown = peakBytes() - rss;
  if (grown > PROCESS_BYTES) throw new Fault(`the process grew by ${grown} bytes`);
  const most = peakTensors(device);
  if (most > Math.max(tensors, TENSOR_BYTES)) throw new Fault(`tensors took ${most} bytes`);
  return outcome;
}

const peakTensors = (device: fw.Device): number =>
  fw.memory().devices.find((each) => each.device === device)?.peakBytes ?? 0;

const peakBytes = (): number => process.resourceUsage().maxRSS * 1024;

async function load(dir: string, device: fw.Device): Promise<Outcome> {
  let model: fw.models.CausalLM;
  try {
    model = await fw.AutoModelForCausalLM.fromPretrained(dir, { device });
  } catch (error) {
    if (!(error instanceof fw.FastWeightsError)) throw new Fault(`loading threw ${(error as Error).stack}`);
    if (!CODES.includes(error.code)) throw new Fault(`loading threw ${error.code}: ${error.stack}`);
    return 'refused';
  }
  try {
    const ids = [0, model.vocabSize - 1, Math.min(1, model.vocabSize - 1)];
    const { shape, values } = fw.noGrad(() =>
      fw.scope(() => {
        const { logits } = model.forward(fw.tensor([ids], { dtype: 'int32', device }));
        return { shape: [...logits.shape], values: logits.dataSync() };
      }),
    );
    if (String(shape) !== String([1, 3, model.vocabSize])) throw new Fault(`logits of shape ${shape}`);
    if (values.length !== 3 * model.vocabSize) throw new Fault(`${values.length} logits`);
  } catch (error) {
    if (error instanceof Fault) throw error;
    // Values are checked on js: changed bytes are numbers that it refuses.
    if (error instanceof fw.FastWeightsError && /NaN|finite/.test(error.message)) return 'refused';
    throw new Fault(`a loaded model threw ${(error as Error).stack}`);
  } finally {
    model.dispose();
  }
  return 'ran';
}
