// /v1/embeddings: texts as vectors.
import { base64 } from '../../platform';
import { invalid } from '../errors';
import { modelOf, type Services } from '../services';
import type { Call } from './call';
import type { Body } from './forms';

export async function embeddings(services: Services, call: Call, body: Body<'embedding'>): Promise<Response> {
  const { model, input, encoding_format: format = 'float', dimensions } = body;
  const { engine, adapter } = modelOf(services, model);
  call.model = engine.name;
  call.fields = { prompt: 'input' };
  call.note({ input });
  const inputs = typeof input === 'string' || input instanceof Int32Array ? [input] : input;
  const task = { kind: 'embed', input: inputs, adapter } as const;
  const { vectors, tokens } = await engine.perform(task, call.signal, call.key?.owner);
  call.begun(tokens, 0);
  const width = vectors[0].length;
  if (dimensions !== undefined && dimensions !== width) {
    throw invalid(
      'dimensions',
      `The vectors of '${model}' have ${width} numbers; fewer of them would say something else.`,
    );
  }
  const data = vectors.map((vector, index) => ({
    object: 'embedding',
    index,
    embedding: format === 'float' ? Array.from(vector) : base64(bytesOf(vector)),
  }));
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  return Response.json({ object: 'list', data, model, usage });
}

/** float32, little endian. */
function bytesOf(vector: Float32Array): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
}
