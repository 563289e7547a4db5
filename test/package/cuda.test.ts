// The CUDA addon that `npm run build:cuda` made: what it links to, what its kernels take, and its package beside that of
// the library. Skipped where it is not built.
import { expect } from 'chai';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  copyTree,
  install,
  pack,
  packDependencies,
  readJson,
  root,
  run,
  succeed,
  temporaryFolder,
  type Training,
} from './sandbox';

const NAME = 'fast-weights-cuda-linux-x64';
const addon = path.join('build-cuda', 'Release', 'fast_weights_cuda.node');
/** Exit code of a script that this machine cannot run. */
const MISSING = 77;

interface Table {
  architectures: string[];
  kernels: Record<string, { registers: number[] }>;
}

describe('the CUDA addon', function () {
  this.timeout(60_000);
  const at = temporaryFolder();

  before(function () {
    const { status, output } = run(root, 'node', ['scripts/cuda-resources.mjs', '--built']);
    if (status !== MISSING) return;
    console.log(`    NOT tested: ${output.trim()}`);
    this.skip();
  });

  it('links to nothing of CUDA and exports only its entry points', () => {
    const needed = succeed(root, 'readelf', ['-d', addon]).match(/\[lib[^\]]*\]/g);
    expect(needed!.filter((library) => !/lib(stdc\+\+|gcc_s|c|m|dl|rt|pthread)\.so/.test(library))).to.deep.equal([]);
    const symbols = succeed(root, 'nm', ['-D', '--defined-only', addon]).match(/ [TDBR] .*/g);
    expect(symbols!.filter((symbol) => !/ T (napi|node_api)_/.test(symbol))).to.deep.equal([]);
  });

  it('takes no more registers, spills and shared memory than resources.json says', () => {
    succeed(root, 'node', ['scripts/cuda-resources.mjs', '--built']);
  });

  describe('when its kernels take more', () => {
    const check = () => run(at('tree'), 'node', ['scripts/cuda-resources.mjs', '--built']);
    const file = (): string => at('tree', 'native', 'cuda', 'resources.json');
    let table: Table;
    let name: string;

    before(() => {
      // The build last: it is newer than its sources.
      copyTree(at('tree'), ['package.json', 'CMakeLists.txt', 'native', 'scripts', 'build-cuda']);
      table = readJson<Table>(file());
      [name] = Object.keys(table.kernels);
    });

    const withTable = (kernels: Table['kernels']): ReturnType<typeof check> => {
      writeFileSync(file(), JSON.stringify({ ...table, kernels }));
      return check();
    };

    it('the check fails and names the kernel', () => {
      const row = table.kernels[name];
      const fewer = { ...row, registers: row.registers.map((count) => count - 1) };
      const { status, output } = withTable({ ...table.kernels, [name]: fewer });
      expect(status, output).to.equal(1);
      const change = `registers sm_${table.architectures[0]} ${fewer.registers[0]} -> ${row.registers[0]}`;
      expect(output).to.include(`grown    ${name}: ${change}`);
    });

    it('a kernel that the table does not know fails it, one that is gone does not', () => {
      const { [name]: row, ...others } = table.kernels;
      const more = withTable(others);
      expect(more.status, more.output).to.equal(1);
      expect(more.output).to.include(`new      ${name}`);
      const fewer = withTable({ ...table.kernels, 'gone.cu Gone': row });
      expect(fewer.status, fewer.output).to.equal(0);
      expect(fewer.output).to.include('gone     gone.cu Gone');
    });

    it('--update writes the table as it was', () => {
      withTable({});
      succeed(at('tree'), 'node', ['scripts/cuda-resources.mjs', '--built', '--update']);
      expect(readFileSync(file(), 'utf8')).to.equal(
        readFileSync(path.join(root, 'native/cuda/resources.json'), 'utf8'),
      );
    });
  });

  it('is found in its package beside the library, which says why there is no device', () => {
    succeed(root, 'node', ['scripts/pack-cuda.mjs']);
    const packed = { 'fast-weights': root, [NAME]: path.join(root, 'build-cuda', 'package') };
    const tarballs = Object.entries(packed).map(([name, folder]) => [name, at(pack(folder, at()).filename)] as const);
    install(at('project'), { ...Object.fromEntries(tarballs), ...packDependencies(at()) });
    const program = `
      const fw = require('fast-weights');
      const { abi } = require('${NAME}');
      console.log(JSON.stringify({ abi, devices: fw.devices(), attempts: fw.loadAttempts() }));`;
    const stdout = succeed(at('project'), 'node', ['-e', program]);
    const report = JSON.parse(stdout) as Training & { abi: number };
    expect(report.abi).to.be.greaterThan(0);
    const attempt = report.attempts.find(({ step }) => step === 'cuda package')!;
    if (!attempt.ok) expect(attempt.reason).to.match(/driver|device/);
    expect(report.devices.find(({ device }) => device === 'cuda')!.available).to.equal(attempt.ok);
  });
});
