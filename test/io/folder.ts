// A temporary folder per test file, and how errors of the library are expected.
import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FastWeightsError, type ErrorCode } from '../../lib/core';

/** Registers a folder that is made before the tests of a suite and removed after them. */
export function temporaryFolder(): (name: string) => string {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'fast-weights-io-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  return (name) => join(folder, name);
}

export async function rejection(
  promise: Promise<unknown>,
  code: ErrorCode,
  message: RegExp = /./,
): Promise<FastWeightsError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, 'an error').to.be.instanceOf(FastWeightsError);
  const failure = error as FastWeightsError;
  expect(failure.code, failure.message).to.equal(code);
  expect(failure.message).to.match(message);
  return failure;
}
