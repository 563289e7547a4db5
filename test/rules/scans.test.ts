// The scans of Mamba and their descendants: the authors' vectors, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeFolders } from '../golden/table';
import { expectError } from '../support/errors';

describeFolders('mamba2Scan');

describe('scans, given what they do not take', () => {
  const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device: 'js' });
  const mamba2 = { x: z(1, 3, 4, 2), dt: z(1, 3, 4), aLog: z(4), b: z(1, 3, 2, 5), c: z(1, 3, 2, 5) };

  it('mamba2Scan: groups, limits, modes', () => {
    const run =
      (options: object, inputs: object = {}): (() => unknown) =>
      () =>
        fw.mamba2Scan({ ...mamba2, ...inputs }, options);
    expectError(
      'SHAPE',
      /b must be \[..., a divisor of 4, 5\].* got \[..., 3, 5\]/,
      run({}, { b: z(1, 3, 3, 5), c: z(1, 3, 3, 5) }),
    );
    expectError('SHAPE', /c must be \[1, 3, 2, 5\]/, run({}, { c: z(1, 3, 1, 5) }));
    expectError('SHAPE', /d must be \[4\] or \[4, 2\]/, run({}, { d: z(2) }));
    expectError('INVALID_ARGUMENT', /groups must be 2 like those of b, got 4/, run({ groups: 4 }));
    for (const dtLimit of [[0.1], [0.2, 0.1], [-1, 1], [0, NaN], [Infinity, Infinity], 3, ['0', '1'], [0, 1, 2]]) {
      const error = expectError('INVALID_ARGUMENT', /dtLimit must be \[least, largest\]/, run({ dtLimit }));
      expect(error.argument).to.equal('dtLimit');
    }
    expectError('INVALID_ARGUMENT', /mode must be/, run({ mode: 'fast' }));
    expectError('INVALID_ARGUMENT', /scale must be a finite number/, run({ scale: NaN }));
    expectError('INVALID_ARGUMENT', /unknown option dtSoftPlus; did you mean dtSoftplus/, run({ dtSoftPlus: true }));
  });
});
