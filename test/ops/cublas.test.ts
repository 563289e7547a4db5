// The cuBLAS that is installed against the own kernels. How it is called, and when, is tested on the emulated card.
import { expect } from 'chai';
import { check, run } from '../support/cublas';

if (process.env.FAST_WEIGHTS_DEVICE === 'cuda') {
  it('cuBLAS multiplies as the own kernel does on cuda', async function () {
    this.timeout(120_000);
    const { library, reason, results } = await run('dense');
    if (library === 'own') {
      console.log(`    NOT tested: ${reason}`);
      this.skip();
    }
    expect(library).to.match(/^cublas \d+\.\d+$/);
    results.forEach(check);
  });
}
