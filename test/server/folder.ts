// A small model with a tokenizer and a chat template, as a folder that servers read.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fw from '../../lib';
import { byteTokenizer } from '../support/byteTokenizer';

/** Tokens of the tokenizer: all bytes, then the special ones. */
export const SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<tool_call>', '</tool_call>'];
export const [END_OF_TEXT, IM_START, IM_END] = [256, 257, 258];

/** ChatML with tools in the form of Hermes, as Qwen's. */
const CHAT_TEMPLATE = `{%- if tools %}{{- '<|im_start|>system\\n' }}{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n' }}{%- endif %}{{- '<tools>' }}{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}{{- '\\n</tools> Call them in <tool_call></tool_call>.<|im_end|>\\n' }}{%- elif messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}{%- for message in messages %}{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- elif message.role == 'assistant' %}{{- '<|im_start|>assistant\\n' + (message.content or '') }}{%- for call in message.tool_calls or [] %}{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- elif message.role == 'tool' %}{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;

export interface SmallModel {
  folder: string;
  remove(): void;
}

/** Writes the folder; the weights are the same each time. `script` is what its most probable text is made of. */
export async function smallModel(
  options: { template?: boolean; hiddenSize?: number; numLayers?: number } = {},
): Promise<SmallModel> {
  const { template = true, hiddenSize = 32, numLayers = 1 } = options;
  const folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-server-'));
  const sizes = { vocabSize: 256 + SPECIAL.length, hiddenSize, numLayers, numHeads: 2, initializerRange: 0.3 };
  const model = fw.withSeed(11, () => fw.createModel('gated-deltanet', { ...sizes, eosTokenId: IM_END }));
  await model.savePretrained(folder);
  model.dispose();
  const write = (name: string, value: unknown): void => writeFileSync(path.join(folder, name), JSON.stringify(value));
  write('tokenizer.json', byteTokenizer({ special: SPECIAL, ordinary: ['<tool_call>', '</tool_call>'] }));
  write('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    eos_token: '<|im_end|>',
    pad_token: '<|endoftext|>',
    ...(template && { chat_template: CHAT_TEMPLATE }),
  });
  write('generation_config.json', { eos_token_id: IM_END });
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
