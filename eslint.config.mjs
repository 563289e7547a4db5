// Lint rules: typed checks for the library, its tests and benchmarks.
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'build*/', 'prebuilds/', 'runs/', '**/*.mjs', '**/*.cjs'] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { project: './test/tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      // Tables of functions and objects of closures are taken apart all over; none of them uses `this`.
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_', argsIgnorePattern: '^_' }],
      '@typescript-eslint/no-inferrable-types': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-base-to-string': 'off',
      '@typescript-eslint/restrict-template-expressions': 'off',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
    },
  },
  {
    // The runtime is reached through one room; the command line also has the terminal.
    files: ['lib/**'],
    ignores: ['lib/platform/**'],
    rules: {
      'no-restricted-imports': ['error', { patterns: ['node:*', 'fs', 'fs/*', 'path', 'os', 'worker_threads'] }],
      'no-restricted-globals': ['error', 'Buffer', 'setImmediate', 'require', '__dirname', '__filename'],
    },
  },
  {
    files: ['lib/**'],
    ignores: ['lib/platform/**', 'lib/cli/**'],
    rules: {
      'no-restricted-globals': ['error', 'Buffer', 'setImmediate', 'require', '__dirname', '__filename', 'process'],
    },
  },
  { files: ['lib/cli/**', 'bench/**', 'test/**'], rules: { 'no-console': 'off' } },
  {
    files: ['test/**'],
    rules: {
      '@typescript-eslint/no-unused-expressions': 'off',
      '@typescript-eslint/explicit-module-boundary-types': 'off',
    },
  },
);
