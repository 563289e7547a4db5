// Rules without vectors: against two loops over their equations that were written apart, one on numbers, one on tensors. The
// loops must agree; the gradients are those of the second, by the tape.
import * as fw from '../../lib';
import { type Target, targets } from './golden';
import { Draw, type HostInputs, toDevice } from './ruleInputs';
import { expectClose, rms, toleranceOf } from './tolerance';

type Named = Record<string, fw.Tensor>;
/** Inputs as nested arrays, as deep as the tensors. */
export type Nested = Record<string, unknown>;

export interface TwoLoops {
  title: string;
  draw: (draw: Draw) => HostInputs;
  /** Results by name, each flat, from the inputs as nested arrays. */
  numbers: (inputs: Nested) => Record<string, number[]>;
  /** The same from tensors, by differentiable operators. */
  tensors: (inputs: Named) => Named;
  /** The rule, all states asked for. */
  rule: (inputs: Named) => Named;
  /** One token, whose inputs are those of [B, T, ...] without their time: output; `state` changes. */
  step?: (token: Named, state: Named) => fw.Tensor;
  /** States before the first token, those of `step`, under the names of the results. */
  empty?: (where: Target) => Named;
}

const EXACT: Target = { device: 'js', dtype: 'float64' };

/** Results and gradients under cotangents from one seed. */
function outcome(run: (inputs: Named) => Named, host: HostInputs, where: Target): Record<string, ArrayLike<number>> {
  const alone = (): Record<string, ArrayLike<number>> => {
    const inputs = toDevice(host, where, { requiresGrad: true });
    const results = run(inputs);
    const draw = new Draw(5);
    const parts = Object.keys(results)
      .sort()
      .map((name) => {
        const { data, shape } = draw.uniform([...results[name].shape], -1, 1);
        return results[name].mul(fw.tensor(data, { shape, ...where })).sum();
      });
    parts.reduce((a, b) => a.add(b)).backward();
    const values = Object.entries(results).map(([name, t]) => [name, t.dataSync()] as const);
    const gradients = Object.entries(inputs).map(([name, t]) => [`grad.${name}`, t.grad!.dataSync()] as const);
    return Object.fromEntries([...values, ...gradients]);
  };
  return fw.withChecks(false, () => fw.scope(alone));
}

export function describeLoops({ title, draw, numbers, tensors, rule, step, empty }: TwoLoops): void {
  describe(`${title} and two loops over its equations`, () => {
    const host = draw(new Draw(3));
    let reference: Record<string, ArrayLike<number>> | undefined;

    it('which agree', () => {
      const inputs = toDevice(host, EXACT);
      const nested = Object.entries(inputs).map(([name, t]) => [name, t.tolist()] as const);
      const expected = numbers(Object.fromEntries<unknown>(nested));
      const found = fw.withChecks(false, () => fw.noGrad(() => tensors(inputs)));
      for (const [name, values] of Object.entries(expected)) expectClose(name, found[name].dataSync(), values, 1e-12);
    });

    for (const where of targets()) {
      it(`on ${where.device}, ${where.dtype}`, () => {
        const { forward, gradient } =
          where.dtype === 'float64' ? { forward: 1e-9, gradient: 1e-9 } : toleranceOf(where.dtype);
        const expected = (reference ??= outcome(tensors, host, EXACT));
        const found = outcome(rule, host, where);
        const isGradient = (name: string): boolean => name.startsWith('grad.');
        const floor =
          1e-3 * Math.max(...Object.keys(expected).map((name) => (isGradient(name) ? rms(expected[name]) : 0)));
        for (const [name, values] of Object.entries(expected)) {
          if (isGradient(name)) expectClose(name, found[name], values, gradient, floor);
          else expectClose(name, found[name], values, forward);
        }
      });

      if (!step || !empty) continue;
      it(`token by token on ${where.device}, ${where.dtype}`, () => {
        const run = (): void => {
          const inputs = toDevice(host, where);
          const whole = rule(inputs);
          const state = empty(where);
          const [B, T] = inputs.q.shape;
          const tokens = Array.from({ length: T }, (_, t) => {
            const token = Object.entries(inputs).map(([name, x]) => {
              const perToken = x.shape[0] === B && x.shape[1] === T;
              return [name, perToken ? x.slice(1, t, t + 1).squeeze(1) : x];
            });
            return step(Object.fromEntries(token) as Named, state).unsqueeze(1);
          });
          const { forward } = toleranceOf(where.dtype);
          expectClose('output', fw.cat(tokens, 1).dataSync(), whole.output.dataSync(), forward);
          for (const [name, t] of Object.entries(whole)) {
            if (name in state) expectClose(name, state[name].dataSync(), t.dataSync(), forward);
          }
        };
        fw.withChecks(false, () => fw.noGrad(() => fw.scope(run)));
      });
    }
  });
}

/** Of each sequence and head of [B, T, H, ...] the tokens, one array after the other. */
export function heads<X>(x: unknown): X[][] {
  return (x as X[][][]).flatMap((sequence) => sequence[0].map((_, h) => sequence.map((token) => token[h])));
}

export const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** S^T x of rows S. */
export const readRows = (S: number[][], x: readonly number[]): number[] =>
  S[0].map((_, j) => x.reduce((sum, xi, i) => sum + xi * S[i][j], 0));

export const zeroRows = (K: number, V: number): number[][] =>
  Array.from({ length: K }, () => new Array<number>(V).fill(0));

/** Outputs [B H][T][V] in the order of [B, T, H, V]. */
export function byToken(outputs: number[][][], B: number, H: number): number[] {
  const T = outputs[0].length;
  const found: number[] = [];
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++) for (let h = 0; h < H; h++) found.push(...outputs[b * H + h][t]);
  return found;
}
