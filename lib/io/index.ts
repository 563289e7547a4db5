// Files: safetensors and model folders, atomic writes, configurations, tokenizers.
export { findFolder, writeFileAtomic, writeFolderAtomic } from './atomic';
export {
  loadModelFolder,
  loadModelFolder as loadCheckpointFolder, // the older name, as is the next one
  readModelFolder,
  readModelFolder as readCheckpointFolder,
  saveShards,
  type ShardOptions,
} from './modelFolder';
export { isJsonObject, parseJson, readJson, readOptionalJson, readText, writeJson, type Json } from './json';
export { loadTokenizer, saveTokenizer } from './load-tokenizer';
export { lockFolder, lockHolders, unlockFolder } from './lock';
export type { FileDType } from './safetensors/header';
export {
  decodeSafetensors,
  loadEntries,
  loadEntry,
  loadSafetensors,
  readInto,
  readSafetensors,
  readSafetensorsMetadata,
  withSafetensors,
  type LoadOptions,
  type SafetensorsEntry,
  type SafetensorsFile,
} from './safetensors/read';
export { partOfSources, scaledSource } from './safetensors/derived';
export { type Piece, TensorSource } from './safetensors/source';
export { findSequence, saveSequence, type StoredSequence } from './safetensors/sequence';
export type { StoredFloat } from './safetensors/convert';
export { encodeSafetensors, saveSafetensors, type NamedTensors, type StorageOptions } from './safetensors/write';
export { checkStopStrings } from './stopStrings';
export { StreamDecoder, type StreamOptions } from './stream';
export {
  byteTokenizer,
  characterTokenizer,
  checkTokenizer,
  type DecodeOptions,
  type EncodeOptions,
  type TextStream,
  type Tokenizer,
} from './tokenizer';
export { createFolder } from './createFolder';
export { checkPath, ioError, systemCode } from './failure';
