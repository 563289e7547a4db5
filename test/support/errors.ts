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
  return checked(code, pattern, caught as FastWeightsError);
}

/** Waits for a promise that must be rejected so. */
export async function expectRejection(code: ErrorCode, pattern: RegExp, promise: Promise<unknown>) {
  const caught = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(caught, `expected ${code}`).to.be.instanceOf(FastWeightsError);
  return checked(code, pattern, caught as FastWeightsError);
}

function checked(code: ErrorCode, pattern: RegExp, error: FastWeightsError): FastWeightsError {
  expect(error.message).to.match(pattern);
  expect(error.code).to.equal(code);
  return error;
}
