// What stands in a model folder, as the weights of one language model: without the other parts of a multimodal model, 8-bit
// floats with their scales, and under the names of the family.
import { argumentError, describe, FastWeightsError } from '../../core';
import { isJsonObject, scaledSource, type TensorSource } from '../../io';
import type { JsonObject } from './configuration';
import type { Entries } from './pretrained';
import type { ModelDefinition } from './registry';

/** Rows and columns of a weight that share a scale. */
type Block = readonly [number, number];

/** That of DeepSeek-V3 and Qwen, where a configuration says nothing. */
const BLOCK: Block = [128, 128];

/** Methods of which nothing remains once the weights are multiplied by their scales. */
const SCALED_METHODS = ['fp8', 'fbgemm_fp8'];
const SCALED_FORMATS = ['float-quantized', 'naive-quantized'];

/** A configuration without what it says of quantised weights, and the block of their scales; other methods are UNSUPPORTED. */
export function readQuantization(where: string, config: JsonObject): { config: JsonObject; block: Block } {
  const { quantization_config: given = null, ...rest } = config;
  if (given === null) return { config, block: BLOCK };
  if (!isJsonObject(given)) throw argumentError('FORMAT', where, 'quantization_config', 'an object', describe(given));
  const { quant_method: method, format, weight_block_size: size = null } = given;
  const known =
    SCALED_METHODS.includes(method as string) ||
    (method === 'compressed-tensors' && SCALED_FORMATS.includes(format as string));
  if (!known) {
    const expected = `weights in 8-bit floats with scales (quant_method ${SCALED_METHODS.join(', ')})`;
    const found = describe(method) + (format === undefined ? '' : `, format ${describe(format)}`);
    const message = `${where}: quantization_config: quant_method ${found} is not supported; only ${expected}`;
    throw new FastWeightsError('UNSUPPORTED', message, { argument: 'quantization_config', expected, found });
  }
  if (size === null) return { config: rest, block: BLOCK };
  const valid = Array.isArray(size) && size.length === 2 && size.every((n) => Number.isInteger(n) && (n as number) > 0);
  if (!valid) {
    const found = JSON.stringify(size);
    throw argumentError('FORMAT', where, 'quantization_config.weight_block_size', 'two sizes above 0', found);
  }
  return { config: rest, block: size as unknown as Block };
}

/** The language model of a multimodal one. */
const LANGUAGE = 'model.language_model.';

function languageEntries(entries: Entries): Entries {
  if (![...entries.keys()].some((name) => name.startsWith(LANGUAGE))) return entries;
  const found = new Map<string, TensorSource>();
  for (const [name, entry] of entries) {
    if (name.startsWith(LANGUAGE)) found.set(`model.${name.slice(LANGUAGE.length)}`, entry);
    else if (name.startsWith('lm_head.')) found.set(name, entry);
  }
  return found;
}

/** What 8-bit weights are multiplied by; those of activations are of no use here. */
const SCALE = /^(.*)_scale(_inv)?$/;
const ACTIVATION_SCALE = /\.(input|activation)_scale(_ub)?$/;

function withScales(entries: Entries, block: Block): Entries {
  const found = new Map(entries);
  for (const [name, scales] of entries) {
    const weight = entries.get(SCALE.exec(name)?.[1] ?? '');
    if (weight?.dtype.startsWith('F8_')) {
      found.set(weight.name, scaledSource(weight, scales, block));
      found.delete(name);
    } else if (ACTIVATION_SCALE.test(name)) found.delete(name);
  }
  return found;
}

/** The weights of a folder by the names of the model's parameters. */
export function folderWeights(entries: Entries, config: JsonObject, family: ModelDefinition, block: Block): Entries {
  const { ignored, fromFolder } = family;
  const kept = ignored ? new Map([...entries].filter(([name]) => !ignored.test(name))) : entries;
  const weights = languageEntries(withScales(kept, block));
  return fromFolder ? fromFolder.call(family, weights, config) : weights;
}
