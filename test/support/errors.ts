// Expecting typed errors.
import { expect } from 'chai';
import { type ErrorCode, FastWeightsError } from '../../lib';

/** Runs `fn`, which must throw a FastWeightsError of this code; its message must match. */
export function expectError(code: ErrorCode, pattern: RegExp, fn: () => unknown): FastWeightsError {
  let caught: unknown;
  try {
    fn();
  } catch (error) {
    caught = error;
  }
  expect(caught, `expected ${code}`).to.be.instanceOf(FastWeightsError);
  const error = caught as FastWeightsError;
  expect(error.code).to.equal(code);
  expect(error.message).to.match(pattern);
  return error;
}
