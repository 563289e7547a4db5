// Newer rules against vectors of their authors' programs, and what they refuse.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeFolders } from '../golden/table';
import { expectError } from '../support/errors';

describeFolders('preconditionedDeltaRule', 'longhorn', 'based', 'rebased');

const on = { device: 'js', dtype: 'float32' } as const;
const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, on);

describe('newer rules, given what they do not take', () => {
  it('preconditionedDeltaRule', () => {
    const [k, v] = [z(1, 3, 2, 4), z(1, 3, 4, 5)];
    const gates = { gate: z(1, 3, 4), preconditionerGate: z(1, 3, 2), preconditionerBeta: z(1, 3, 2) };
    const run = (more: object) => () => fw.preconditionedDeltaRule(k, k, v, { ...gates, ...more });
    expectError('SHAPE', /gate must be \[1, 3, 4\] or \[1, 3, 4, 4\]/, run({ gate: z(1, 3, 2) }));
    expectError('SHAPE', /preconditionerBeta must be \[1, 3, 2\]/, run({ preconditionerBeta: z(1, 3, 4) }));
    expectError('SHAPE', /preconditionerCenter must be \[2\]/, run({ preconditionerCenter: z(4) }));
    expectError('SHAPE', /initialPreconditioner must be \[1, 2, 4\]/, run({ initialPreconditioner: z(1, 4, 4) }));
    expectError('INVALID_ARGUMENT', /gate must be <= 0/, run({ gate: fw.ones([1, 3, 4], on) }));
    expectError(
      'INVALID_ARGUMENT',
      /preconditionerGate must be <= 0/,
      run({ preconditionerGate: fw.ones([1, 3, 2], on) }),
    );
    expectError('INVALID_ARGUMENT', /preconditionerGate must be a Tensor/, run({ preconditionerGate: null }));
    expectError('INVALID_ARGUMENT', /base must be/, run({ base: 0 }));
    expectError('INVALID_ARGUMENT', /eps must be/, run({ eps: -1 }));
    expectError('INVALID_ARGUMENT', /unknown option bse/, run({ bse: 2 }));
    expectError('SHAPE', /v must be/, () =>
      fw.preconditionedDeltaRule(k, k, z(1, 3, 3, 5), { ...gates, gate: z(1, 3, 3) }),
    );
  });

  it('longhorn', () => {
    const inputs = { x: z(1, 3, 4), betaLogit: z(1, 3, 4), q: z(1, 3, 2), k: z(1, 3, 2) };
    const run =
      (more: object, options = {}) =>
      () =>
        fw.longhorn({ ...inputs, ...more }, options);
    expectError('SHAPE', /z must be \[1, 3, 4\]/, run({ z: z(1, 3, 2) }));
    expectError('SHAPE', /initialState must be \[1, 4, 2\]/, run({ initialState: z(1, 2, 4) }));
    expectError('INVALID_ARGUMENT', /diagonal must be/, run({}, { diagonal: 'no' }));
  });

  for (const name of ['based', 'rebased'] as const) {
    it(name, () => {
      const rule = fw[name];
      const [q, v] = [z(1, 3, 2, 4), z(1, 3, 2, 5)];
      const run = (options: object) => () => rule(q, q, v, options);
      expectError('INVALID_ARGUMENT', new RegExp(`${name}: scale must be`), run({ scale: NaN }));
      expectError('INVALID_ARGUMENT', new RegExp(`${name}: normalizeEps must be`), run({ normalizeEps: -1 }));
      expectError('INVALID_ARGUMENT', /unknown option featureMap/, run({ featureMap: 'elu1' }));
      expectError('SHAPE', new RegExp(`${name}: k must be`), () => rule(q, z(1, 3, 2, 3), v));
      expectError('INVALID_ARGUMENT', new RegExp(`${name}: q must be a Tensor`), () => rule(null as never, q, v));
    });

    it(`${name}: a state of all monomials, token by token`, () =>
      fw.noGrad(() =>
        fw.scope(() => {
          const here = { device: 'js', dtype: 'float64' } as const;
          const [q, k, v] = [3, 3, 2].map((width) => fw.randn([1, 5, 2, width], here));
          const { output, finalState, finalNormalizer } = fw[name](q, k, v, { outputFinalState: true });
          const P = name === 'based' ? 10 : 6;
          expect([finalState.shape, finalNormalizer!.shape]).to.deep.equal([
            [1, 2, P, 2],
            [1, 2, P],
          ]);
          const [state, normalizer] = [fw.zeros([1, 2, P, 2], here), fw.zeros([1, 2, P], here)];
          for (let t = 0; t < 5; t++) {
            const [tq, tk, tv] = [q, k, v].map((x) => x.slice(1, t, t + 1).squeeze(1));
            const token = fw[name].step(tq, tk, tv, { state, normalizer });
            expect(
              token
                .sub(output.slice(1, t, t + 1).squeeze(1))
                .abs()
                .max()
                .item(),
            ).to.be.below(1e-9);
          }
          expect(state.sub(finalState).abs().max().item()).to.be.below(1e-12);
        }),
      ));
  }
});
