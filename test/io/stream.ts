// Ids through a StreamDecoder.
import { StreamDecoder, type StreamOptions, type Tokenizer } from '../../lib/io';

/** The piece of each id, then what is left. */
export function stream(tokenizer: Tokenizer, ids: readonly number[], options: StreamOptions = {}): string[] {
  const decoder = new StreamDecoder(tokenizer, options);
  return [...ids.map((id) => decoder.push(id)), decoder.flush()];
}
