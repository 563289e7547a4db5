// cuBLAS in training: the emulated one, which checks how it is called, and what is done without it.
import { expect } from 'chai';
import path from 'node:path';
import { finish, start } from '../support/child';
import { PROGRAM, repository } from '../support/library';
import { check, run } from '../support/cublas';
import { onEmulation } from './device';

const build = path.join(repository, 'build-emulation');
const emulated = { FAST_WEIGHTS_CUBLAS: path.join(build, 'libemulated_cublas.so.12') };

if (onEmulation) {
  describe('cuBLAS in training', function () {
    this.timeout(120_000);

    it('multiplies as the own kernel does in every dense layout', async () => {
      const { library, reason, results } = await run('dense', emulated);
      expect(library, reason).to.equal('cublas 12.9');
      for (const result of results) {
        check(result);
        expect(result.products, result.name).to.equal(1);
      }
    });

    it('leaves operands without a dense dimension to the own kernel', async () => {
      const { library, results } = await run('scattered', emulated);
      expect(library).to.equal('cublas 12.9');
      for (const result of results) {
        check(result);
        expect(result.products, result.name).to.equal(0);
      }
    });

    it('makes the products of operators and gradients that nothing else is done with', async () => {
      expect(await run('operators', emulated)).to.deep.equal({
        linear: 1,
        'linear, bias': 0,
        'linear, silu': 0,
        'linear, gradients': 3,
        feedForward: 2, // gate and down
        'feedForward, gradients': 2 + 2 + 3, // dx has two terms; three weights
        'two strided batches': 0,
        'stride 0': 0,
        'no terms': 0,
        medium: 0,
      });
    });

    for (const failing of ['', '3,once', '4,once,memory']) {
      it(`gives gradients as the own kernels do${failing && `, also where a product fails (${failing})`}`, async () => {
        const error = await run('gradients', { ...emulated, ...(failing && { EMULATED_CUBLAS_FAILS: failing }) });
        expect(error).to.be.at.most(2e-6);
      });
    }

    it('is never asked outside the steps of a Trainer', async () => {
      const { steps, ...others } = await run('training', emulated);
      expect(steps).to.be.greaterThan(10);
      expect(others).to.deep.equal({ inference: 0, gradients: 0, validation: 0, afterwards: 0 });
    });

    const cases: Record<string, { env: NodeJS.ProcessEnv; products: number[]; says: (RegExp | string)[] }> = {
      'found by the loader': {
        env: { FAST_WEIGHTS_CUBLAS: '', LD_LIBRARY_PATH: build },
        products: [1, 1, 1],
        says: ['cublas 12.9', '', 'cublas 12.9', ''],
      },
      'not installed': {
        env: { FAST_WEIGHTS_CUBLAS: '' },
        products: [0, 0, 0],
        says: ['own', /cublas\.so\.13.*; .*cublas\.so\.12/, 'own', /cublas\.so\.13.*; .*cublas\.so\.12/],
      },
      off: {
        env: { FAST_WEIGHTS_CUBLAS: 'off', LD_LIBRARY_PATH: build },
        products: [0, 0, 0],
        says: ['own', 'FAST_WEIGHTS_CUBLAS is off', 'own', 'FAST_WEIGHTS_CUBLAS is off'],
      },
      'made to round to TF32 by NVIDIA_TF32_OVERRIDE': {
        env: { FAST_WEIGHTS_CUBLAS: '', LD_LIBRARY_PATH: build, NVIDIA_TF32_OVERRIDE: '1' },
        products: [0, 0, 0],
        says: ['own', /NVIDIA_TF32_OVERRIDE=1 makes cuBLAS round/, 'own', /NVIDIA_TF32_OVERRIDE=1/],
      },
      'kept from TF32 by NVIDIA_TF32_OVERRIDE': {
        env: { FAST_WEIGHTS_CUBLAS: '', LD_LIBRARY_PATH: build, NVIDIA_TF32_OVERRIDE: '0' },
        products: [1, 1, 1],
        says: ['cublas 12.9', '', 'cublas 12.9', ''],
      },
      'failing once': {
        env: { ...emulated, EMULATED_CUBLAS_FAILS: '2,once' },
        products: [1, 1, 1],
        says: ['cublas 12.9', '', 'cublas 12.9', ''],
      },
    };
    for (const [name, { env, products, says }] of Object.entries(cases)) {
      it(`${name}: products are right, and the card says what makes them`, async () => {
        const found = await run('failing', env);
        expect(found.products).to.deep.equal(products);
        found.errors.forEach((error) => expect(error).to.be.at.most(1e-5));
        says.forEach((what, i) => {
          const said = found.libraries[i] ?? '';
          if (typeof what === 'string') expect(said).to.equal(what);
          else expect(said).to.match(what);
        });
      });
    }

    const failures: Record<string, { env: NodeJS.ProcessEnv; code: string; says: RegExp; library: string }> = {
      'lacks a function': {
        env: { FAST_WEIGHTS_CUBLAS: path.join(build, 'libincomplete_cublas.so.12') },
        code: 'BACKEND',
        says: /FAST_WEIGHTS_CUBLAS .* cannot be used: cuBLAS has no cublasGemmStridedBatchedEx; it is a path, `off`, or/,
        library: 'none',
      },
      'is not there': {
        env: { FAST_WEIGHTS_CUBLAS: '/nowhere/libcublas.so' },
        code: 'BACKEND',
        says: /FAST_WEIGHTS_CUBLAS .* cannot be used: \/nowhere\/libcublas\.so: .*No such file/,
        library: 'none',
      },
      'would round to TF32': {
        env: { ...emulated, NVIDIA_TF32_OVERRIDE: '1' },
        code: 'BACKEND',
        says: /cannot be used: NVIDIA_TF32_OVERRIDE=1 makes cuBLAS round float32 to TF32/,
        library: 'none',
      },
      'fails at every product': {
        env: { ...emulated, EMULATED_CUBLAS_FAILS: '1' },
        code: 'BACKEND',
        says: /cublasGemmStridedBatchedEx failed: CUBLAS_STATUS_EXECUTION_FAILED \(with FAST_WEIGHTS_CUBLAS=off /,
        library: 'cublas 12.9',
      },
      'finds no memory for a product': {
        env: { ...emulated, EMULATED_CUBLAS_FAILS: '1,memory' },
        code: 'OUT_OF_MEMORY',
        says: /cublasGemmStridedBatchedEx failed: CUBLAS_STATUS_ALLOC_FAILED .*of the card's bytes \d+ are free/,
        library: 'cublas 12.9',
      },
      'does not begin': {
        env: { ...emulated, EMULATED_CUBLAS_FAILS: 'create' },
        code: 'BACKEND',
        says: /cublasCreate_v2 failed/,
        library: 'none',
      },
      'has no room for its memory': {
        env: { ...emulated, FAST_WEIGHTS_EMULATED_CARD: 'memory=16777216' },
        code: 'OUT_OF_MEMORY',
        says: /no room on the card for the working memory of cuBLAS, 33554432 bytes/,
        library: 'none',
      },
    };
    for (const [name, { env, code, says, library }] of Object.entries(failures)) {
      it(`one that ${name} is an error, and no other kernel steps in`, async () => {
        const found = await run('refused', env);
        expect(found).to.deep.include({ code, library, products: 0, inference: 600 });
        expect(found.message).to.match(says);
      });
    }

    it('is named by doctor', async () => {
      const cli = [PROGRAM, 'doctor'];
      const { stdout } = await finish(start(cli, emulated));
      expect(stdout).to.match(/products of matrices in training: cublas 12\.9/);
      const off = await finish(start([...cli, '--json'], { FAST_WEIGHTS_CUBLAS: 'off' }));
      const { card } = JSON.parse(off.stdout) as { card: { library: string; libraryReason: string } };
      expect(card).to.deep.include({ library: 'own', libraryReason: 'FAST_WEIGHTS_CUBLAS is off' });
    });
  });
}
