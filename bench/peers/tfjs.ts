// TensorFlow.js on its WebAssembly backend: matrix products, and the delta rule in chunks of 32.
import path from 'node:path';
import type { Prepared } from '../contender';
import { checkMatmul, matmulOperands } from '../cases/matmul';
import { mixerInputs } from '../inputs';
import type { MatmulProblem, SequenceProblem } from '../problem';
import { checkSequence } from '../reference';
import type { JavaScriptPeer } from '.';
import { loadPackage, packageFile } from './packages';

const CHUNK = 32;
/** A longer sequence takes seconds a call and tells no more. */
const MAX_TOKENS = 1024;

/** The part of the package that is used here; its own types are there only when it is installed. */
interface TfTensor {
  readonly shape: number[];
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface Tf {
  setBackend(name: string): Promise<boolean>;
  tensor(data: Float32Array, shape: number[]): TfTensor;
  add(a: TfTensor, b: TfTensor): TfTensor;
  sub(a: TfTensor, b: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor | number): TfTensor;
  reshape(x: TfTensor, shape: number[]): TfTensor;
  expandDims(x: TfTensor, axis: number): TfTensor;
  cast(x: TfTensor, dtype: 'float32'): TfTensor;
  zeros(shape: number[]): TfTensor;
  eye(n: number): TfTensor;
  range(start: number, stop: number): TfTensor;
  greater(a: TfTensor, b: TfTensor): TfTensor;
  transpose(x: TfTensor, order: number[]): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor;
  unstack(x: TfTensor, axis: number): TfTensor[];
  concat(parts: TfTensor[], axis: number): TfTensor;
  tidy(compute: () => TfTensor): TfTensor;
}

async function load(): Promise<Tf> {
  const tf = loadPackage<Tf>('@tensorflow/tfjs-core');
  const wasm = loadPackage<{ setWasmPaths(prefix: string): void }>('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(path.dirname(packageFile('@tensorflow/tfjs-backend-wasm')) + path.sep);
  await tf.setBackend('wasm');
  return tf;
}

/**
 * The delta rule of one sequence, [H, T, D]: per chunk (I + A) U = beta V and (I + A) W = beta K with A the strictly lower
 * part of beta K K^T, then chunk by chunk u = U - W S, o = Q S + lower(Q K^T) u, S += K^T u.
 */
function chunkwise(tf: Tf, [q, k, v]: TfTensor[], beta: TfTensor): TfTensor {
  const [H, T, D] = q.shape;
  const n = T / CHUNK;
  const split = (x: TfTensor): TfTensor => tf.reshape(x, [H, n, CHUNK, x.shape[2]]);
  const [qs, ks, vs, b] = [tf.mul(q, D ** -0.5), k, v, beta].map(split);
  const index = tf.range(0, CHUNK);
  const identity = tf.eye(CHUNK);
  const strict = tf.cast(tf.greater(tf.expandDims(index, 1), tf.expandDims(index, 0)), 'float32');
  const bk = tf.mul(ks, b);
  // (I + A)^-1 = (I + N)(I + N^2)(I + N^4)..., N = -A, as N^CHUNK = 0.
  let power = tf.mul(tf.mul(tf.matMul(bk, ks, false, true), strict), -1);
  let inverse = tf.add(power, identity);
  for (let m = 2; m < CHUNK; m *= 2) {
    power = tf.matMul(power, power);
    inverse = tf.add(inverse, tf.matMul(inverse, power));
  }
  const pieces = (x: TfTensor): TfTensor[] => tf.unstack(x, 1);
  const [us, ws] = [tf.mul(vs, b), bk].map((x) => pieces(tf.matMul(inverse, x)));
  const scores = pieces(tf.mul(tf.matMul(qs, ks, false, true), tf.add(strict, identity)));
  const [queries, keys] = [pieces(qs), pieces(ks)];
  let state = tf.zeros([H, D, D]);
  const outputs = us.map((u, i) => {
    const written = tf.sub(u, tf.matMul(ws[i], state));
    const output = tf.add(tf.matMul(queries[i], state), tf.matMul(scores[i], written));
    state = tf.add(state, tf.matMul(keys[i], written, true));
    return output;
  });
  return tf.concat(outputs, 1);
}

/** Runs `compute` and waits for its result. */
function repeated(tf: Tf, compute: () => TfTensor): Pick<Prepared, 'run'> & { result(): Promise<Float32Array> } {
  return {
    run(calls) {
      for (let i = 0; i < calls; i++) tf.tidy(compute).dispose();
    },
    async result() {
      const tensor = tf.tidy(compute);
      const data = await tensor.data();
      tensor.dispose();
      return data;
    },
  };
}

async function prepareSequence(problem: SequenceProblem): Promise<Prepared> {
  const { T, H, D } = problem;
  const tf = await load();
  const inputs = mixerInputs(problem, T, H, D);
  const byHead = (data: Float32Array, width: number): TfTensor =>
    tf.transpose(tf.tensor(data, [T, H, width]), [1, 0, 2]);
  const operands = [inputs.q, inputs.k, inputs.v].map(({ data }) => byHead(data, D));
  const beta = byHead(inputs.beta.data, 1);
  const { run, result } = repeated(tf, () => tf.transpose(chunkwise(tf, operands, beta), [1, 0, 2]));
  return { run, check: async () => checkSequence(problem, inputs, { output: await result() }) };
}

async function prepareMatmul(problem: MatmulProblem): Promise<Prepared> {
  const tf = await load();
  const { a, b } = matmulOperands(problem);
  const [x, y] = [a, b].map(({ data, shape }) => tf.tensor(data, shape));
  const { form } = problem;
  const { run, result } = repeated(tf, () => tf.matMul(x, y, form === 'TN', form === 'NT'));
  return { run, check: async () => checkMatmul(problem, await result()) };
}

export const tfjs: JavaScriptPeer = {
  name: 'tfjs-wasm',
  packages: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm'],
  // It has no threads in Node.js.
  supports(problem, threads) {
    if (threads !== 1) return false;
    if (problem.kind === 'matmul') return true;
    if (problem.kind !== 'sequence') return false;
    const { pass, delta, gate, B, T } = problem;
    return pass === 'forward' && delta && gate === 'none' && B === 1 && T % CHUNK === 0 && T <= MAX_TOKENS;
  },
  async prepare(problem) {
    if (problem.kind === 'matmul') return prepareMatmul(problem);
    if (problem.kind === 'sequence') return prepareSequence(problem);
    throw new Error(`tfjs does not solve ${problem.kind}`);
  },
};
