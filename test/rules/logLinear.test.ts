// Log-linear rules: the authors' vectors, any pieces and single tokens, packed sequences, positions, gradients of states.
import { expect } from 'chai';
import fc from 'fast-check';
import * as fw from '../../lib';
import { describeLong } from '../golden/table';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { Draw } from '../support/ruleInputs';
import { expectClose, toleranceOf } from '../support/tolerance';

describeLong('logLinearAttention', 'logLinearDeltaRule');

type Inputs = Record<'q' | 'k' | 'v' | 'gate' | 'levelScales', fw.Tensor> & { beta?: fw.Tensor };
type Result = { output: fw.Tensor; finalState: fw.Tensor };
type Options = Record<string, unknown>;

const RULES = ['logLinearAttention', 'logLinearDeltaRule'] as const;
const [G, H, L, K, V] = [1, 2, 9, 4, 3];

function draw(name: (typeof RULES)[number], B: number, T: number, where: Target, requiresGrad = false): Inputs {
  const random = new Draw(T);
  const uniform = (shape: number[], low: number, high: number): fw.Tensor => {
    const { data } = random.uniform(shape, low, high);
    return fw.tensor(data, { shape, requiresGrad, ...where });
  };
  const inputs = {
    q: uniform([B, T, G, K], -1, 1),
    k: uniform([B, T, G, K], -0.7, 0.7),
    v: uniform([B, T, H, V], -1, 1),
    gate: uniform([B, T, H], -0.3, 0),
    levelScales: uniform([B, T, H, L], 0, 1),
  };
  return name === 'logLinearAttention' ? inputs : { ...inputs, beta: uniform([B, T, H], 0, 1) };
}

const run = (name: (typeof RULES)[number], { q, k, v, ...rest }: Inputs, options: Options = {}): Result =>
  (fw[name] as unknown as (...all: unknown[]) => Result)(q, k, v, { ...rest, ...options, outputFinalState: true });

const step = (name: (typeof RULES)[number], { q, k, v, ...rest }: Inputs, options: Options): fw.Tensor =>
  (fw[name].step as unknown as (...all: unknown[]) => fw.Tensor)(q, k, v, { ...rest, ...options });

const map = (inputs: Inputs, f: (t: fw.Tensor) => fw.Tensor): Inputs =>
  Object.fromEntries(Object.entries(inputs).map(([key, t]) => [key, f(t)])) as Inputs;

for (const name of RULES) {
  for (const where of targets()) {
    const { forward } = toleranceOf(where.dtype);
    describe(`${name} on ${where.device}, ${where.dtype}`, () => {
      it('is the same in pieces and token by token', () => {
        fc.assert(
          fc.property(fc.integer({ min: 1, max: 200 }), fc.nat(), fc.nat(), (T, ...cuts) => {
            fw.withChecks(false, () =>
              fw.noGrad(() =>
                fw.scope(() => {
                  const inputs = draw(name, 2, T, where);
                  const whole = run(name, inputs);
                  const [a, b] = cuts.map((c) => c % (T + 1)).sort((x, y) => x - y);
                  const part = (from: number, to: number): Inputs => map(inputs, (t) => t.slice(1, from, to));
                  const first = run(name, part(0, a));
                  const second = run(name, part(a, b), { initialState: first.finalState, position: a });
                  const tokens = Math.min(T, b + 20);
                  const state = second.finalState.clone();
                  const outputs = [first.output, second.output];
                  for (let t = b; t < tokens; t++) {
                    const token = map(part(t, t + 1), (x) => x.squeeze(1));
                    outputs.push(step(name, token, { state: { state }, position: t }).unsqueeze(1));
                  }
                  const third = run(name, part(tokens, T), { initialState: state, position: [tokens, tokens] });
                  expectClose(
                    'output',
                    fw.cat([...outputs, third.output], 1).dataSync(),
                    whole.output.dataSync(),
                    forward,
                  );
                  expectClose('state', third.finalState.dataSync(), whole.finalState.dataSync(), forward, 0.01);
                }),
              ),
            );
          }),
          { numRuns: 8, seed: 5 },
        );
      });

      it('packed, and in a batch of other positions, each as alone', () => {
        fw.noGrad(() =>
          fw.scope(() => {
            const cuSeqlens = [0, 0, 1, 20, 20, 33];
            const position = [3, 0, 70, 5, 64];
            const inputs = draw(name, 1, 33, where);
            const before = position.map((p) => run(name, draw(name, 1, p, where)).finalState);
            const packed = run(name, inputs, { cuSeqlens, position, initialState: fw.cat(before) });
            before.forEach((initialState, n) => {
              const [from, to] = [cuSeqlens[n], cuSeqlens[n + 1]];
              const own = map(inputs, (t) => t.slice(1, from, to));
              const alone = run(name, own, { position: position[n], initialState });
              expect(packed.output.slice(1, from, to).tolist()).to.eql(alone.output.tolist());
              expect(packed.finalState.slice(0, n, n + 1).tolist()).to.eql(alone.finalState.tolist());
            });
            const batch = map(draw(name, 5, 4, where), (t) => t);
            const states = fw.cat(before);
            const together = run(name, batch, { position, initialState: states });
            const tokens = [0, 1, 2, 3].map((t) => {
              const token = map(batch, (x) => x.slice(1, t, t + 1).squeeze(1));
              return step(name, token, { state: { state: states }, position: position.map((p) => p + t) }).unsqueeze(1);
            });
            expectClose('steps', fw.cat(tokens, 1).dataSync(), together.output.dataSync(), forward);
            expectClose('states', states.dataSync(), together.finalState.dataSync(), forward, 0.01);
          }),
        );
      });
    });
  }

  describe(name, () => {
    const js = { device: 'js', dtype: 'float64' } as const;

    it('has the gradients of a state and of all inputs', () => {
      const position = 6;
      const { finalState } = fw.noGrad(() => run(name, draw(name, 1, position, js)));
      const inputs = draw(name, 1, 2, js, true);
      const names = Object.keys(inputs);
      const fn = (initialState: fw.Tensor, ...given: fw.Tensor[]): fw.Tensor => {
        const own = Object.fromEntries(names.map((key, i) => [key, given[i]])) as Inputs;
        const { output, finalState: after } = run(name, own, { position, initialState });
        return output.square().sum().add(after.square().sum());
      };
      // What lies at levels that hold nothing is never read.
      const held = [0, 1, 3].map((level) => finalState.slice(2, level, level + 1).clone());
      held.forEach((t) => (t.requiresGrad = true));
      const empty = fw.zeros([1, H, 1, K, V], js);
      const whole = (a: fw.Tensor, b: fw.Tensor, c: fw.Tensor, ...given: fw.Tensor[]): fw.Tensor =>
        fn(fw.cat([a, b, empty, c, ...Array.from({ length: L - 4 }, () => empty)], 2), ...given);
      fw.withChecks(false, () => fw.gradcheck(whole as never, [...held, ...Object.values(inputs)] as never));
    });

    it('takes no tokens', () => {
      const { output, finalState } = run(name, draw(name, 2, 0, js));
      expect([output.shape, finalState.shape]).to.eql([
        [2, 0, H, V],
        [2, H, L, K, V],
      ]);
    });

    it('refuses positions and levels that do not fit', () => {
      const inputs = draw(name, 2, 9, js);
      const state = fw.zeros([2, H, L, K, V], js);
      const call =
        (options: Options, given = inputs): (() => unknown) =>
        () =>
          run(name, given, options);
      expectError('SHAPE', /levelScales must be \[..., at least 5\] \(levels of 9 tokens\), got \[..., 4\]/, () =>
        run(name, { ...inputs, levelScales: inputs.levelScales.slice(3, 0, 4) }),
      );
      expectError('INVALID_ARGUMENT', /position must be the number of tokens before/, call({ initialState: state }));
      expectError('INVALID_ARGUMENT', /position must be a whole number/, call({ position: -1 }));
      expectError('INVALID_ARGUMENT', /position must be one number, or 2, got \[1\]/, call({ position: [1] }));
      expectError(
        'SHAPE',
        /initialState must be \[2, 2, 9, 4, 3\]/,
        call({ initialState: state.slice(2, 1), position: 1 }),
      );
      expectError('SHAPE', /v must be \[..., a multiple of 3, 3\]/, () =>
        run(name, { ...inputs, q: fw.zeros([2, 9, 3, K], js), k: fw.zeros([2, 9, 3, K], js) }),
      );
      const token = map(inputs, (t) => t.slice(1, 0, 1).squeeze(1));
      fw.noGrad(() => {
        expectError('INVALID_ARGUMENT', /position must be the number/, () => step(name, token, { state: { state } }));
        expectError('SHAPE', /at least 10\]/, () => step(name, token, { state: { state }, position: 256 }));
      });
    });
  });
}
