// What tests of cuBLAS share.
import { expect } from 'chai';
import path from 'node:path';
import { finish, start } from './child';
import type { ProductResult, Program, Report } from './products';

/** What a program of products.ts found. */
export async function run<P extends Program>(program: P, env: NodeJS.ProcessEnv = {}): Promise<Report<P>> {
  const { code, stdout, stderr } = await finish(start([path.join(__dirname, 'products.ts'), program], env));
  expect(code, stderr).to.equal(0);
  expect(stderr).to.equal('');
  return JSON.parse(stdout) as Report<P>;
}

/** Whether it is the product of the own kernel, and the same twice. */
export function check({ name, error, repeats }: ProductResult): void {
  expect(error, name).to.be.at.most(name.startsWith('bfloat16 bfloat16 bfloat16') ? 6e-3 : 5e-6);
  expect(repeats, `${name} repeats`).to.equal(true);
}
