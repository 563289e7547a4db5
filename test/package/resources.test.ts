// What scripts/cuda-resources.mjs reads from the reports of ptxas, and what it holds against a change.
import { expect } from 'chai';
import path from 'node:path';
import { root, run } from './sandbox';

interface Row {
  threads: number;
  shared: number;
  registers: number[];
  spills: number[];
  stack: number[];
}
interface Table {
  architectures: string[];
  kernels: Record<string, Row>;
}
interface Resources {
  parseLog(file: string, text: string): { reports: object[] };
  tabulate(reports: object[]): Table;
  compare(before: Table, after: Table): { grown: string[]; other: string[] };
}

const SYMBOL = '_ZN2fw4cuda5entryINS0_12_GLOBAL__N_112BackwardKeysELi128ELm17952EEEvNT_4ArgsE';
const log = (stack: number): string => `ptxas info    : Compiling entry function '${SYMBOL}' for 'sm_80'
ptxas info    : Function properties for ${SYMBOL}
    ${stack} bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 96 registers, used 1 barriers, ${stack} bytes cumulative stack size
`;

describe('resources of kernels', () => {
  let resources: Resources;
  const table = (stack: number): Table =>
    resources.tabulate(resources.parseLog('recurrence/backward_keys.cu', log(stack)).reports);

  before(async function () {
    if (run(root, 'c++filt', ['--version']).status !== 0) this.skip();
    resources = (await import(path.join(root, 'scripts/cuda-resources.mjs'))) as Resources;
  });

  it('hold the stacks of threads, and the most shared memory that a launch may ask for', () => {
    expect(table(608)).to.deep.equal({
      architectures: ['80'],
      kernels: {
        'recurrence/backward_keys.cu BackwardKeys': {
          threads: 128,
          shared: 17952,
          registers: [96],
          spills: [0],
          stack: [608],
        },
      },
    });
  });

  it('a stack that grows fails the check', () => {
    expect(resources.compare(table(608), table(640)).grown).to.deep.equal([
      'grown    recurrence/backward_keys.cu BackwardKeys: stack sm_80 608 -> 640',
    ]);
  });
});
