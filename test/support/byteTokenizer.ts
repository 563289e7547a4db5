// A tokenizer whose tokens are bytes, in the form of a folder's tokenizer.json.

/** The characters that byte-level tokenizers write bytes with. */
function byteCharacters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

export interface ByteTokenizerOptions {
  /** Tokens behind the bytes, which stand for themselves in a text. */
  special?: readonly string[];
  /** Those of them that are part of the text that is written. */
  ordinary?: readonly string[];
  /** How many there are without the special ones, 256 by default: pairs of letters, which no text is read as, come behind the bytes. */
  size?: number;
}

export function byteTokenizer({ special = [], ordinary = [], size = 256 }: ByteTokenizerOptions = {}): object {
  const pairs = Array.from({ length: size - 256 }, (_, i) => String.fromCharCode(65 + i / 26, 97 + (i % 26)));
  const vocab = Object.fromEntries([...byteCharacters(), ...pairs].map((text, id) => [text, id]));
  const options = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return {
    version: '1.0',
    added_tokens: special.map((content, i) => ({
      id: size + i,
      content,
      special: !ordinary.includes(content),
      ...options,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', unk_token: null, fuse_unk: false, byte_fallback: false, vocab, merges: [] },
  };
}
