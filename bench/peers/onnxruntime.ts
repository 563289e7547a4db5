// onnxruntime-node: its LinearAttention operator, which covers every kind of mixer here, and its matrix product.
import type { Prepared } from '../contender';
import { checkMatmul, matmulOperands } from '../cases/matmul';
import { mixerInputs } from '../inputs';
import type { MatmulProblem, Mixer, Problem, SequenceProblem, StepProblem } from '../problem';
import { checkSequence } from '../reference';
import type { JavaScriptPeer } from '.';
import { type Node, singleNodeModel, type Value } from './onnx';
import { loadPackage } from './packages';

interface OrtTensor {
  readonly data: Float32Array;
}
interface Session {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
}
interface Ort {
  Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => OrtTensor;
  InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
}

/** A session for one node and its inputs in their places. */
async function session(
  node: Node,
  data: Readonly<Record<string, Float32Array>>,
  threads: number,
): Promise<() => Promise<Record<string, OrtTensor>>> {
  const ort = loadPackage<Ort>('onnxruntime-node');
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, executionMode: 'sequential' };
  const created = await ort.InferenceSession.create(singleNodeModel(node), options);
  const given = node.inputs.filter((value) => value !== null);
  const feeds = Object.fromEntries(
    given.map(({ name, shape }) => [name, new ort.Tensor('float32', data[name], shape)]),
  );
  return () => created.run(feeds);
}

function updateRule({ delta, gate }: Mixer): string {
  if (delta) return gate === 'none' ? 'delta' : 'gated_delta';
  return gate === 'none' ? 'linear' : 'gated';
}

async function prepareMixer(problem: SequenceProblem | StepProblem, threads: number): Promise<Prepared> {
  const { gate, delta, B, H, D } = problem;
  const T = problem.kind === 'sequence' ? problem.T : 1;
  const inputs = mixerInputs(problem, B * T, H, D);
  const rows = (name: string, width: number): Value => ({ name, shape: [B, T, width] });
  const state = { shape: [B, H, D, D] };
  const values: (Value | null)[] = [
    rows('q', H * D),
    rows('k', H * D),
    rows('v', H * D),
    { name: 'state', ...state },
    gate === 'none' ? null : rows('gate', gate === 'vector' ? H * D : H),
    delta ? rows('beta', H) : null,
  ];
  while (values.at(-1) === null) values.pop();
  const node: Node = {
    type: 'LinearAttention',
    domain: 'com.microsoft',
    attributes: { q_num_heads: H, kv_num_heads: H, update_rule: updateRule(problem) },
    inputs: values,
    outputs: [rows('output', H * D), { name: 'newState', ...state }],
  };
  const operands = Object.fromEntries(Object.entries(inputs).map(([name, { data }]) => [name, data]));
  const call = await session(node, { ...operands, state: new Float32Array(B * H * D * D) }, threads);
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) await call();
    },
    async check() {
      const { output } = await call();
      const sequence: SequenceProblem = { ...problem, kind: 'sequence', pass: 'forward', device: 'cpu', T };
      return checkSequence(sequence, inputs, { output: output.data });
    },
  };
}

async function prepareMatmul(problem: MatmulProblem, threads: number): Promise<Prepared> {
  const { form, batch, m, n } = problem;
  const { a, b } = matmulOperands(problem);
  const shaped = (name: string, shape: number[]): Value => ({ name, shape: batch === 1 ? shape.slice(1) : shape });
  const node: Node = {
    ...(batch === 1
      ? { type: 'Gemm', attributes: { transA: Number(form === 'TN'), transB: Number(form === 'NT') } }
      : { type: 'MatMul', attributes: {} }),
    inputs: [shaped('a', a.shape), shaped('b', b.shape)],
    outputs: [shaped('c', [batch, m, n])],
  };
  const call = await session(node, { a: a.data, b: b.data }, threads);
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) await call();
    },
    check: async () => checkMatmul(problem, (await call()).c.data),
  };
}

export const onnxruntime: JavaScriptPeer = {
  name: 'onnxruntime',
  packages: ['onnxruntime-node'],
  supports(problem: Problem) {
    if (problem.kind === 'sequence') return problem.pass === 'forward' && problem.device === 'cpu';
    if (problem.kind === 'matmul') return problem.batch === 1 || problem.form === 'NN';
    return problem.kind === 'step';
  },
  async prepare(problem, threads) {
    if (problem.kind === 'matmul') return prepareMatmul(problem, threads);
    if (problem.kind === 'sequence' || problem.kind === 'step') return prepareMixer(problem, threads);
    throw new Error(`onnxruntime does not solve ${problem.kind}`);
  },
};
