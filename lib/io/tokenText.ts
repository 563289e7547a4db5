// The text of tokenizer.json's tokens: its decoder, and what tokenizer_config.json adds to that.
import { cleanUp, decoderLink, fuse, joinWithSpaces, type Link, replaceLiteral, trim } from './decoders';
import { isJsonObject, type Json } from './json';
import type { DecodeOptions, TextStream } from './tokenizer';

type JsonObject = { [key: string]: Json };

/** Opens a text; throws for a decoder that is not known. Of ids without a token, as models pad theirs, there is no text. */
export function textStreams(
  definition: JsonObject,
  configuration: JsonObject,
  tokenOf: (id: number) => string | undefined,
): (options?: DecodeOptions) => TextStream {
  const special = specialTokens(definition, configuration);
  const open = ({ skipSpecialTokens = false }: DecodeOptions = {}): TextStream => {
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
        const token = tokenOf(id);
        if (token !== undefined && !(skipSpecialTokens && special.has(token))) chain.take(token, true);
        return drain();
      },
      end() {
        chain.finish();
        return drain();
      },
    };
  };
  open();
  return open;
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
