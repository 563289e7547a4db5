// docs/pytorch.md, PyTorch's names with ours beside each, against what the package exports.
import { expect } from 'chai';
import path from 'node:path';
import { root, run } from './sandbox';

interface Names {
  match(
    names: Record<string, string[]>,
    notes: object,
    values: Set<string>,
  ): { groups: [string, { name: string; here?: string; reason?: string }[]][]; problems: string[] };
}

describe('names of PyTorch', function () {
  this.timeout(60_000);

  it('all have a counterpart, a line or a reason, and the page says which', () => {
    const { status, output } = run(root, 'node', ['scripts/pytorch-names.mjs', '--check']);
    expect(status, output).to.equal(0);
  });

  it('are missed where they have none, and so are notes about nothing', async () => {
    const { match } = (await import(path.join(root, 'scripts/pytorch-names.mjs'))) as Names;
    const names = { Tensor: ['index_select', 'view', 'acos', 'exp_', 'addmm', 'sin'], torch: ['index_select'] };
    const notes = {
      renamed: { view: 'reshape', 'Tensor.gone': 'reshape' },
      differs: { 'Tensor.index_select': 'int32', view: 'copies' },
      instead: { addmm: 'x.add(a.dotted(b))' },
      leftOut: [{ reason: 'in place', names: 'Tensor.*_ sin' }],
    };
    const { groups, problems } = match(names, notes, new Set(['.indexSelect', '.reshape', '.sin', '.add']));
    expect(groups[0][1].map(({ here, reason }) => here ?? reason)).to.deep.equal([
      '.indexSelect',
      '.reshape',
      undefined,
      'in place',
      undefined,
      '.sin',
    ]);
    expect(groups[1][1][0].here).to.equal('.indexSelect');
    expect(problems).to.deep.equal([
      'Tensor.acos: neither counterpart nor reason',
      'Tensor.addmm: there is no a.dotted',
      'Tensor.sin: a counterpart and a reason',
      'renamed: Tensor.gone is no name that it is about',
    ]);
  });
});
