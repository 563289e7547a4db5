// Tokenizers in model folders: finding out which kind lies there, and writing one.
import { join } from '../platform';
import { FastWeightsError } from '../core';
import { findFolder } from './atomic';
import { checkPath, formatError } from './failure';
import { huggingfaceTokenizer } from './huggingface';
import { isJsonObject, readOptionalJson, writeJson, type Json } from './json';
import { byteTokenizer, characterTokenizer, checkTokenizer, TOKENIZER_FILE, type Tokenizer } from './tokenizer';

/** The tokenizer of a model folder: our own file, or tokenizer.json with tokenizer_config.json. */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const folder = await findFolder(dir);
  const own = await readOptionalJson(join(folder, TOKENIZER_FILE));
  if (own !== undefined) return ownTokenizer(join(folder, TOKENIZER_FILE), own);
  const path = join(folder, 'tokenizer.json');
  const definition = await readOptionalJson(path);
  if (definition === undefined) {
    const expected = `tokenizer.json or ${TOKENIZER_FILE}`;
    throw new FastWeightsError('IO', `loadTokenizer: ${dir} holds no ${expected}`, { argument: dir, expected });
  }
  return huggingfaceTokenizer(path, definition, (await readOptionalJson(join(folder, 'tokenizer_config.json'))) ?? {});
}

/** Writes the tokenizer's files into an existing folder. */
export async function saveTokenizer(dir: string, tokenizer: Tokenizer): Promise<void> {
  checkPath('saveTokenizer', dir, 'dir');
  checkTokenizer('saveTokenizer', tokenizer);
  for (const [name, content] of Object.entries(tokenizer.files())) await writeJson(join(dir, name), content);
}

function ownTokenizer(path: string, content: Json): Tokenizer {
  const { kind = null, characters = null } = isJsonObject(content) ? content : {};
  if (kind === 'byte') return byteTokenizer();
  if (kind === 'character' && Array.isArray(characters)) {
    try {
      return characterTokenizer(characters as string[]);
    } catch (error) {
      throw formatError(`${path}: characters`, 'distinct single characters', 'something else', error);
    }
  }
  throw formatError(path, "of kind 'byte', or of kind 'character' with a list of characters", JSON.stringify(kind));
}
