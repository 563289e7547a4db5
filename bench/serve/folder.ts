// Model folders that a server reads: new weights of a fixed seed, and bytes as tokens.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { byteTokenizer } from '../../test/support/byteTokenizer';
import { generation, makeModel, type SIZES } from '../cases/generation';
import { fw } from '../library';

export interface ModelFolder {
  folder: string;
  remove(): void;
}

type Model = ReturnType<typeof makeModel>;

async function folderOf(model: Model): Promise<ModelFolder> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-bench-'));
  await model.savePretrained(folder);
  const write = (name: string, value: unknown): void => writeFileSync(path.join(folder, name), JSON.stringify(value));
  write('tokenizer.json', byteTokenizer({ size: model.vocabSize }));
  // Messages are what they say.
  const chat_template = '{% for message in messages %}{{ message.content }}{% endfor %}';
  write('tokenizer_config.json', { tokenizer_class: 'PreTrainedTokenizerFast', chat_template });
  model.dispose();
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** The DeltaNet of `batching/tokens`; it has no stop token. */
export function deltanetFolder(size: keyof typeof SIZES): Promise<ModelFolder> {
  return folderOf(makeModel(generation(size, 'cpu').problem, 'cpu'));
}

/** A Mamba-2 of 12 layers whose state takes 100 MB: 16 heads of 32 x 4096. */
export function largeStateFolder(): Promise<ModelFolder> {
  const shape = { hiddenSize: 256, numLayers: 12, expand: 2, numHeads: 16, headDim: 32, stateSize: 4096, nGroups: 1 };
  return folderOf(fw.withSeed(1, () => fw.createModel('mamba2', { vocabSize: 256, device: 'cpu', ...shape })));
}
