// Every elementwise operator of the kernels is a method of Tensor and an exported function, and both are the same.
import { expect } from 'chai';
import * as fw from '../../lib';
import { BINARY_OPS, COMPARE_OPS, UNARY_OPS } from '../../lib/backends';

type Call = (...inputs: unknown[]) => fw.Tensor;

/** Rows of the table that serve an operator of another name: a x + b, and an option of gelu. */
const SERVE_OTHERS = ['affine', 'geluTanh'];
/** Compositions of them. */
const OTHERS = ['neg', 'logicalAnd', 'logicalNot', 'logicalOr', 'logicalXor', 'isnan', 'isinf', 'isfinite'];
const PAIRS: readonly string[] = [...BINARY_OPS, ...COMPARE_OPS, 'logicalAnd', 'logicalOr', 'logicalXor'];
const MORE: Record<string, unknown[]> = { pow: [2], clamp: [0.4, 0.9], neg: [], gelu: ['tanh'] };

const functions = fw as unknown as Record<string, Call>;

describe('elementwise operators', () => {
  const names = [...new Set([...UNARY_OPS, ...BINARY_OPS, ...COMPARE_OPS, ...OTHERS])].filter(
    (name) => !SERVE_OTHERS.includes(name),
  );

  for (const name of names) {
    it(`${name} is a method and a function`, () => {
      using x = fw.tensor([0.3, 0.7, 1.5, 2], { device: 'js', dtype: 'float64' });
      const pair = PAIRS.includes(name) && name !== 'pow';
      const more = MORE[name] ?? (pair ? [fw.tensor([0.5, 0.7, 1, 4], { device: 'js', dtype: 'float64' })] : []);
      const method = (x as unknown as Record<string, Call | undefined>)[name];
      expect(method, `x.${name}`).to.be.a('function');
      expect(functions[name], `fw.${name}`).to.be.a('function');
      const [a, b] = [functions[name](x, ...more), method!.call(x, ...more)];
      expect(a.tolist()).to.deep.equal(b.tolist());
      expect(a).not.to.equal(x);
    });
  }

  it('clamp has no upper bound unless one is given', () => {
    expect(fw.clamp(fw.tensor([-1, 5]), 0).tolist()).to.deep.equal([0, 5]);
  });
});

describe('the eps of norms', () => {
  const where = { device: 'js', dtype: 'float64' } as const;
  const x = fw.tensor([[1, 2, 4, 8]], where);
  const norms: [string, (eps: number | { eps: number }) => fw.Tensor][] = [
    ['layerNorm', (eps) => fw.layerNorm(x, null, null, eps)],
    ['groupNorm', (eps) => fw.groupNorm(x, 2, null, null, eps)],
    ['l2Norm', (eps) => fw.l2Norm(x, eps)],
    ['LayerNorm', (eps) => new fw.nn.LayerNorm(4, eps, where).forward(x)],
    ['RMSNorm', (eps) => new fw.nn.RMSNorm(4, eps, where).forward(x)],
  ];
  for (const [name, apply] of norms) {
    it(`${name}: is an option, and may stand alone`, () => {
      expect(apply({ eps: 3 }).tolist())
        .to.deep.equal(apply(3).tolist())
        .and.not.to.deep.equal(apply(4).tolist());
    });
  }

  it('GatedRMSNorm: beside its activation', () => {
    const made = new fw.nn.GatedRMSNorm(4, { eps: 3, activation: 'sigmoid', ...where });
    const before = new fw.nn.GatedRMSNorm(4, 3, 'sigmoid', where);
    expect(made.forward(x, x).tolist()).to.deep.equal(before.forward(x, x).tolist());
    expect(made).to.include({ eps: 3, activation: 'sigmoid' });
  });
});
