// Tokenizers of published models: the optional package that reads tokenizer.json encodes, the decoders are our own.
import { argumentError, FastWeightsError } from '../core';
import { formatError, systemCode } from './failure';
import { cleanUp, decoderLink, fuse, joinWithSpaces, type Link, replaceLiteral, trim } from './decoders';
import { isJsonObject, type Json } from './json';
import { checkDecode, checkEncode, type DecodeOptions, type TextStream, type Tokenizer } from './tokenizer';

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
  const drops = dropsUnknown(definition.model);
  const special = specialTokens(definition, configuration);
  try {
    // The package fills in what it misses in the objects it is given.
    tokenizer = new Implementation(
      structuredClone(drops ? marked(definition) : definition),
      structuredClone(configuration),
    );
    for (const id of tokenizer.get_vocab(true).values()) vocabSize = Math.max(vocabSize, id + 1);
    textChain(definition, configuration, false, { take: () => undefined, finish: () => undefined });
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
  // Models pad their vocabulary: an id that the tokenizer does not know is no text.
  const stream = ({ skipSpecialTokens = false }: DecodeOptions = {}): TextStream => {
    let text = '';
    const chain = textChain(definition, configuration, skipSpecialTokens, {
      take: (fragment) => void (text += fragment),
      finish: () => undefined,
    });
    const drain = (): string => {
      const piece = text;
      text = '';
      return piece;
    };
    return {
      push(id) {
        const token = tokenizer.id_to_token(id);
        if (token !== undefined && !(skipSpecialTokens && special.has(token))) chain.take(token, true);
        return drain();
      },
      end() {
        chain.finish();
        return drain();
      },
    };
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

/** What tokens run through to become text, in front of `text`. */
function textChain(definition: JsonObject, configuration: JsonObject, skipSpecial: boolean, text: Link): Link {
  // As in transformers 5, which leaves the text as it is unless told otherwise.
  let link = configuration.clean_up_tokenization_spaces === true ? cleanUp(text) : text;
  const { decoder = null, model } = definition;
  if (decoder === null) return joinWithSpaces(fuse(link));
  const suffix = isJsonObject(model) ? model.end_of_word_suffix : undefined;
  if (typeof suffix === 'string' && suffix !== '') link = replaceLiteral(suffix, ' ', skipSpecial ? trim(link) : link);
  return decoderLink(decoder, new Set(addedTokens(definition).map(contentOf)), fuse(link));
}

function addedTokens({ added_tokens: tokens }: JsonObject): Json[] {
  return Array.isArray(tokens) ? tokens : [];
}

/** A token stands for itself, or in an object with its properties. */
function contentOf(token: Json | undefined): string {
  const content = isJsonObject(token) ? token.content : token;
  return typeof content === 'string' ? content : '';
}

const NAMED = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];
const LISTED = ['additional_special_tokens', 'extra_special_tokens'];

/** Tokens that are no text: what either file calls special, and what the configuration gives a role. */
function specialTokens(definition: JsonObject, configuration: JsonObject): Set<string> {
  const marked = [...addedTokens(definition), ...valuesOf(configuration.added_tokens_decoder)];
  const tokens = [
    ...marked.filter((token) => isJsonObject(token) && token.special === true),
    ...NAMED.map((name) => configuration[name]),
    ...LISTED.flatMap((name) => valuesOf(configuration[name])),
  ];
  return new Set(tokens.map(contentOf));
}

function valuesOf(value: Json | undefined): Json[] {
  return typeof value === 'object' && value !== null ? Object.values<Json>(value) : [];
}
