// Writes a model in the layout of Llama as llama.cpp reads it: a file of GGUF, version 3, with a vocabulary of made-up words.
import { closeSync, openSync, writeSync } from 'node:fs';
import { fw, type Tensor } from '../library';
import type { GenerationProblem } from '../problem';

type Numbers = NonNullable<GenerationProblem['weights']> | 'float32';

const ALIGNMENT = 32;
/** What ggml calls them; int8 is Q8_0, blocks of 32 with a float16 scale. */
const TYPES: Record<Numbers, number> = { float32: 0, bfloat16: 30, int8: 8 };
const BLOCK = 32;

const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const f32 = (value: number): Buffer => Buffer.from(Float32Array.of(value).buffer);
const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

const integer = (value: number): Buffer => Buffer.concat([u32(4), u32(value)]);
const float = (value: number): Buffer => Buffer.concat([u32(6), f32(value)]);
const string = (value: string): Buffer => Buffer.concat([u32(8), text(value)]);
const list = (type: number, values: readonly Buffer[]): Buffer =>
  Buffer.concat([u32(9), u32(type), u64(values.length), ...values]);

/** Special tokens, bytes, and words without a meaning: llama.cpp wants a vocabulary, and the benchmark gives ids. */
function vocabulary(size: number): Record<string, Buffer> {
  const [UNKNOWN, CONTROL, BYTE, NORMAL] = [2, 3, 6, 1];
  const special = ['<unk>', '<s>', '</s>'];
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
  const words = Array.from({ length: size - special.length - bytes.length }, (_, i) => `w${i}`);
  const types = [UNKNOWN, CONTROL, CONTROL, ...bytes.map(() => BYTE), ...words.map(() => NORMAL)];
  return {
    'tokenizer.ggml.model': string('llama'),
    'tokenizer.ggml.tokens': list(8, [...special, ...bytes, ...words].map(text)),
    'tokenizer.ggml.scores': list(
      6,
      types.map((_, i) => f32(-i)),
    ),
    'tokenizer.ggml.token_type': list(5, types.map(u32)),
  };
}

function heads({ layers, d, heads, hidden, vocabulary: size, prompt }: GenerationProblem): Record<string, Buffer> {
  return {
    'general.architecture': string('llama'),
    'llama.block_count': integer(layers),
    'llama.context_length': integer(Math.max(prompt, 2 ** 14)),
    'llama.embedding_length': integer(d),
    'llama.feed_forward_length': integer(hidden),
    'llama.attention.head_count': integer(heads),
    'llama.attention.layer_norm_rms_epsilon': float(1e-6),
    'llama.rope.dimension_count': integer(d / heads),
    'llama.vocab_size': integer(size),
    ...vocabulary(size),
  };
}

/** Hugging Face's name of a tensor as GGUF has it. */
function named(name: string): string {
  const parts: [string, string][] = [
    ['model.embed_tokens', 'token_embd'],
    ['model.norm', 'output_norm'],
    ['lm_head', 'output'],
    ['model.layers.', 'blk.'],
    ['input_layernorm', 'attn_norm'],
    ['post_attention_layernorm', 'ffn_norm'],
    ['self_attn.o_proj', 'attn_output'],
    ['self_attn.q_proj', 'attn_q'],
    ['self_attn.k_proj', 'attn_k'],
    ['self_attn.v_proj', 'attn_v'],
    ['mlp.gate_proj', 'ffn_gate'],
    ['mlp.up_proj', 'ffn_up'],
    ['mlp.down_proj', 'ffn_down'],
  ];
  return parts.reduce((found, [from, to]) => found.replace(from, to), name);
}

/** The rows of queries and keys in pairs that turn together, which Hugging Face has half a head apart. */
function paired(weights: Tensor, count: number): Tensor {
  const [rows, columns] = weights.shape;
  return weights
    .reshape([count, 2, rows / count / 2, columns])
    .transpose(1, 2)
    .reshape([rows, columns]);
}

/** The upper half of a float32, to the nearest. */
function bfloat16(values: Float32Array): Buffer {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Buffer.from(Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16).buffer);
}

/** The float16 nearest to a positive number in its normal range. */
function float16(value: number): number {
  const [bits] = new Uint32Array(Float32Array.of(value).buffer);
  return (bits - (112 << 23) + 0x1000) >>> 13;
}

/** Q8_0. */
function eightBits(values: Float32Array): Buffer {
  const bytes = Buffer.alloc((values.length / BLOCK) * (BLOCK + 2));
  for (let from = 0, to = 0; from < values.length; from += BLOCK, to += BLOCK + 2) {
    const block = values.subarray(from, from + BLOCK);
    const scale = block.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 127;
    bytes.writeUInt16LE(float16(scale), to);
    block.forEach((x, j) => bytes.writeInt8(Math.round(x / scale), to + 2 + j));
  }
  return bytes;
}

const STORED: Record<Numbers, (values: Float32Array) => Buffer> = {
  float32: (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength),
  bfloat16,
  int8: eightBits,
};

const aligned = (length: number): number => Math.ceil(length / ALIGNMENT) * ALIGNMENT;

/** Writes a model's weights: matrices in what the problem keeps them in, vectors and the table of embeddings in float32. */
export function writeGguf(file: string, problem: GenerationProblem, weights: Readonly<Record<string, Tensor>>): void {
  const tensors = Object.entries(weights).map(([name, tensor]) => {
    const turned = /[qk]_proj/.test(name);
    const numbers: Numbers =
      tensor.shape.length === 1 || /embed/.test(name) ? 'float32' : (problem.weights ?? 'float32');
    const values = (): Float32Array =>
      fw.scope(() => (turned ? paired(tensor, problem.heads) : tensor).dataSync()) as Float32Array;
    return { name: named(name), shape: tensor.shape, type: TYPES[numbers], read: () => STORED[numbers](values()) };
  });
  const facts = Object.entries(heads(problem)).flatMap(([key, value]) => [text(key), value]);
  const descriptor = openSync(file, 'w');
  const data = tensors.map(({ read }) => aligned(read().length));
  const descriptions = tensors.map(({ name, shape, type }, i) => {
    const start = data.slice(0, i).reduce((sum, length) => sum + length, 0);
    const sizes = [...shape].reverse().map(u64);
    return Buffer.concat([text(name), u32(shape.length), ...sizes, u32(type), u64(start)]);
  });
  const count = u64(facts.length / 2);
  const header = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors.length), count, ...facts, ...descriptions]);
  const put = (bytes: Buffer): void => {
    writeSync(descriptor, Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]));
  };
  put(header);
  for (const { read } of tensors) put(read());
  closeSync(descriptor);
}
