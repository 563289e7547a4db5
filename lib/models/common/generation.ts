// generation_config.json: what ends a text, and how tokens are drawn unless the caller says otherwise.
import type { SamplingOptions } from '../../inference';
import { type Configuration, ConfigurationReader, type JsonObject, PublishedConfiguration } from './configuration';

export interface GenerationDefaults {
  /** Tokens that end a text. */
  readonly stopTokens: readonly number[];
  /** A repetition penalty; the rest only where the file says `do_sample`. */
  readonly sampling: SamplingOptions;
  /** The whole file as it stood there; saved again as it is. */
  readonly source: Readonly<JsonObject>;
}

/** What transformers draws from where a file says `do_sample` and no `top_k`. */
const TOP_K = 50;

/** Without such a file: the end tokens of config.json, and the most probable token. */
export function generationOf(config: Configuration): GenerationDefaults {
  const { bos_token_id = null, eos_token_id = null, pad_token_id = null } = config.source;
  const source = { _from_model_config: true, bos_token_id, eos_token_id, pad_token_id };
  return { stopTokens: config.eosTokenId, sampling: {}, source };
}

/** The defaults that a file gives; `where` names it in errors. */
export function readGeneration(source: JsonObject, where: string, config: Configuration): GenerationDefaults {
  const reader = new ConfigurationReader(new PublishedConfiguration(source), where, {});
  const named = (source.eos_token_id ?? null) !== null;
  const stopTokens = named ? reader.tokens('eos_token_id', config.vocabSize) : config.eosTokenId;
  const repetitionPenalty = reader.positive('repetition_penalty', 1);
  if (!reader.flag('do_sample', false)) return { stopTokens, sampling: { repetitionPenalty }, source };
  // 0 and -1 mean all of them.
  const topK = reader.count('top_k', TOP_K, -1);
  const sampling = {
    temperature: reader.number('temperature', 1),
    topK: topK > 0 ? topK : undefined,
    topP: Math.min(1, reader.positive('top_p', 1)),
    minP: Math.min(1, reader.number('min_p', 0)),
    typicalP: Math.min(1, reader.positive('typical_p', 1)),
    repetitionPenalty,
  };
  return { stopTokens, sampling, source };
}
