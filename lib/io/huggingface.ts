// Tokenizers of published models, through the optional package that reads tokenizer.json.
import { argumentError, FastWeightsError } from '../core';
import { formatError, systemCode } from './failure';
import { isJsonObject, type Json } from './json';
import { checkDecode, checkEncode, type Tokenizer } from './tokenizer';

const PACKAGE = '@huggingface/tokenizers';

/** The part of the package that is used. */
interface Implementation {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] };
  decode(ids: number[], options: { skip_special_tokens: boolean }): string;
  id_to_token(id: number): string | undefined;
  get_vocab(withAddedTokens: boolean): Map<string, number>;
}

type ImplementationClass = new (definition: object, configuration: object) => Implementation;

async function importPackage(): Promise<ImplementationClass> {
  try {
    const loaded = (await import('@huggingface/tokenizers')) as { Tokenizer: ImplementationClass };
    return loaded.Tokenizer;
  } catch (cause) {
    const missing = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(systemCode(cause) ?? '');
    const remedy = missing ? `needs a package: npm install ${PACKAGE}` : `could not load ${PACKAGE}`;
    throw new FastWeightsError('UNSUPPORTED', `loadTokenizer: tokenizer.json ${remedy}`, { expected: PACKAGE, cause });
  }
}

/** The tokenizer that `tokenizer.json` describes; `path` names it in errors. Chat templates are not rendered. */
export async function huggingfaceTokenizer(path: string, definition: Json, configuration: Json): Promise<Tokenizer> {
  if (!isJsonObject(definition) || !isJsonObject(configuration)) {
    throw formatError(`${path} and its tokenizer_config.json`, 'objects', 'other values');
  }
  const Implementation = await importPackage();
  const files = { 'tokenizer.json': definition, 'tokenizer_config.json': configuration };
  let tokenizer: Implementation;
  let vocabSize = 0;
  try {
    // The package fills in what it misses in the objects it is given.
    tokenizer = new Implementation(structuredClone(definition), structuredClone(configuration));
    for (const id of tokenizer.get_vocab(true).values()) vocabSize = Math.max(vocabSize, id + 1);
  } catch (cause) {
    throw formatError(path, `a tokenizer that ${PACKAGE} reads`, String(cause), cause);
  }
  return {
    kind: 'huggingface',
    vocabSize,
    encode: (text, options) => {
      checkEncode('encode', text, options);
      const { addSpecialTokens = true } = options ?? {};
      const { ids, tokens } = tokenizer.encode(text, { add_special_tokens: addSpecialTokens });
      const unknown = ids.indexOf(undefined);
      if (unknown < 0) return ids as number[];
      const found = JSON.stringify(tokens[unknown]);
      throw argumentError('INVALID_ARGUMENT', 'encode', 'text', 'made of tokens of the vocabulary', found);
    },
    // Models pad their vocabulary: an id that the tokenizer does not know is no text.
    decode: (ids, options) => {
      checkDecode('decode', options);
      const { skipSpecialTokens = false } = options ?? {};
      const known = Array.from(ids).filter((id) => tokenizer.id_to_token(id) !== undefined);
      return known.length === 0 ? '' : tokenizer.decode(known, { skip_special_tokens: skipSpecialTokens });
    },
    files: () => structuredClone(files),
  };
}
