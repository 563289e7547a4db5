// Tokenizers of published models: the optional package that reads tokenizer.json encodes, tokenText.ts decodes.
import { argumentError, FastWeightsError } from '../core';
import { formatError, systemCode } from './failure';
import { isJsonObject, type Json } from './json';
import { checkDecode, checkEncode, type DecodeOptions, type TextStream, type Tokenizer } from './tokenizer';
import { textStreams } from './tokenText';

const PACKAGE = '@huggingface/tokenizers';

/** The part of the package that is used. */
interface Implementation {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] };
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
  let stream: (options?: DecodeOptions) => TextStream;
  const drops = dropsUnknown(definition.model);
  try {
    // The package fills in what it misses in the objects it is given.
    tokenizer = new Implementation(
      structuredClone(drops ? marked(definition) : definition),
      structuredClone(configuration),
    );
    for (const id of tokenizer.get_vocab(true).values()) vocabSize = Math.max(vocabSize, id + 1);
    stream = textStreams(definition, configuration, (id) => tokenizer.id_to_token(id));
  } catch (cause) {
    throw formatError(path, `a tokenizer that ${PACKAGE} reads`, String(cause), cause);
  }
  const count = (text: string): number =>
    tokenizer.encode(text, { add_special_tokens: false }).ids.filter((id) => id === undefined).length;
  const known = new Map<string, boolean>();
  // What is put before a text may lack an id, too: a character that does is missed twice where it stands twice.
  const lacks = (character: string): boolean => {
    if (!known.has(character)) known.set(character, count(character + character) <= count(character));
    return !known.get(character);
  };
  return {
    kind: 'huggingface',
    vocabSize,
    encode: (text, options) => {
      checkEncode('encode', text, options);
      const { addSpecialTokens = true, onUnknown } = options ?? {};
      const { ids, tokens } = tokenizer.encode(text, { add_special_tokens: addSpecialTokens });
      const unknown = ids.indexOf(undefined);
      if (unknown < 0) return ids as number[];
      if (onUnknown) {
        const parts = drops ? lackingCharacters(text, lacks) : lackingTokens(text, ids, tokens);
        for (const [part, index] of parts) onUnknown(part, index);
      } else if (!drops) {
        const found = JSON.stringify(tokens[unknown]);
        throw argumentError('INVALID_ARGUMENT', 'encode', 'text', 'made of tokens of the vocabulary', found);
      }
      return ids.filter((id) => id !== undefined);
    },
    decode: (ids, options) => {
      checkDecode('decode', options);
      const text = stream(options);
      return Array.from(ids, (id) => text.push(id)).join('') + text.end();
    },
    stream,
    files: () => structuredClone(files),
  };
}

type JsonObject = { [key: string]: Json };

/** Pairs of bytes or characters without a token for the unknown: what has no id is left out, as the reference does. */
function dropsUnknown(model: Json | undefined): boolean {
  return isJsonObject(model) && (model.type === 'BPE' || 'merges' in model) && (model.unk_token ?? null) === null;
}

/** No text's token: it marks the places where something is left out, and has no id. */
const MISSING = '\0missing';

function marked(definition: JsonObject): JsonObject {
  return { ...definition, model: { ...(definition.model as JsonObject), unk_token: MISSING } };
}

function* lackingCharacters(text: string, lacks: (character: string) => boolean): Generator<[string, number]> {
  let index = 0;
  for (const character of text) {
    if (lacks(character)) yield [character, index];
    index += character.length;
  }
}

function* lackingTokens(text: string, ids: readonly unknown[], tokens: readonly string[]): Generator<[string, number]> {
  let from = 0;
  for (const [i, token] of tokens.entries()) {
    if (ids[i] !== undefined) continue;
    const index = text.indexOf(token, from);
    if (index >= 0) from = index + token.length;
    yield [token, index];
  }
}
