// How a rule of the package root is measured: a whole sequence, forward, backward or both.
import type { Finding, Prepared } from '../contender';
import { uniform } from '../inputs';
import { fw, type Tensor } from '../library';
import { MINI_BATCH, type RuleProblem } from '../problem';
import { relativeError, TOLERANCE } from '../reference';
import { finishQueue } from './queue';

export type Tensors = Record<string, Tensor>;

/**
 * Numbers drawn uniformly; shapes by letters, B first for what every sequence has its own of; L levels of powers of two,
 * M tokens of a mini-batch.
 */
export interface RuleInput {
  shape: string;
  low: number;
  high: number;
}

export interface MeasuredRule {
  inputs: Readonly<Record<string, RuleInput>>;
  run(inputs: Tensors): Tensor;
}

type HostInputs = Record<string, { data: Float32Array; shape: number[]; shared: boolean }>;

function draw({ inputs }: MeasuredRule, { B, T, H, D }: RuleProblem): HostInputs {
  const sizes: Record<string, number> = { B, T, H, D, L: Math.ceil(Math.log2(T)) + 1, M: MINI_BATCH };
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { shape: letters, low, high }], i) => {
      const shape = [...letters].map((letter) => sizes[letter] ?? Number(letter));
      const count = shape.reduce((a, b) => a * b, 1);
      return [name, { data: uniform(count, low, high, i), shape, shared: !letters.startsWith('B') }];
    }),
  );
}

export function prepareRule(rule: MeasuredRule, problem: RuleProblem): Prepared {
  const { pass, device, B, T, H, D } = problem;
  const training = pass !== 'forward';
  const host = draw(rule, problem);
  const operands = Object.fromEntries(
    Object.entries(host).map(([name, { data, shape }]) => [
      name,
      fw.tensor(data, { shape, device, requiresGrad: training }),
    ]),
  );
  const direction = uniform(B * T * H * D, -1, 1, 99);
  const doutput = fw.tensor(direction, { shape: [B, T, H, D], device });
  const finish = finishQueue(device);
  const dropGradients = (): void => {
    for (const t of Object.values(operands)) {
      t.grad?.dispose();
      t.grad = null;
    }
  };
  let output: Tensor | undefined;
  const record = (): void => {
    dropGradients();
    output = rule.run(operands);
  };
  const backward = (): void => {
    output!.backward(doutput);
    output!.dispose();
  };
  return {
    ...(pass === 'backward' && {
      setup() {
        record();
        return finish();
      },
    }),
    run(calls) {
      if (pass === 'backward') {
        backward();
      } else if (training) {
        for (let i = 0; i < calls; i++) {
          record();
          backward();
        }
      } else {
        fw.noGrad(() => {
          for (let i = 0; i < calls; i++) fw.scope(() => void rule.run(operands));
        });
      }
      return finish();
    },
    check: () => check(rule, problem, host, direction),
  };
}

/** The last sequence against float64 on `js`: its output, and the gradient of its first input. */
function check(rule: MeasuredRule, problem: RuleProblem, host: HostInputs, direction: Float32Array): Finding[] {
  const { pass, device, B } = problem;
  const last = (data: Float32Array): Float32Array => data.slice((data.length / B) * (B - 1));
  const results = (where: { device: typeof device; dtype: 'float32' | 'float64' }): Float64Array[] =>
    fw.scope(() => {
      const inputs = Object.fromEntries(
        Object.entries(host).map(([name, { data, shape, shared }]) => {
          const own = shared ? { data, shape } : { data: last(data), shape: [1, ...shape.slice(1)] };
          return [name, fw.tensor(own.data, { shape: own.shape, ...where, requiresGrad: true })];
        }),
      );
      const output = rule.run(inputs);
      const found = [Float64Array.from(output.detach().dataSync())];
      if (pass === 'forward') return found;
      output.backward(fw.tensor(last(direction), { shape: output.shape, ...where }));
      return [...found, Float64Array.from(Object.values(inputs)[0].grad!.dataSync())];
    });
  const [found, reference] = [results({ device, dtype: 'float32' }), results({ device: 'js', dtype: 'float64' })];
  return found.map((x, i) => ({
    quantity: i === 0 ? 'output' : `d${Object.keys(host)[0]}`,
    error: relativeError(x, reference[i]),
    tolerance: i === 0 ? TOLERANCE.float32.forward : TOLERANCE.float32.gradient,
  }));
}
