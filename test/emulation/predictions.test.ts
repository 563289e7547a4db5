// What kernels are predicted to take on a card is no worse than native/cuda/predictions.json says (docs/card-model.md).
import { expect } from 'chai';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { readJson, root, run, succeed, temporaryFolder } from '../package/sandbox';
import { describeEmulated } from './support';

const MISSING = 77;
const CASE = 'step/gated-delta/256/bfloat16';
const KERNEL = 'recurrence/step.cu StepRows<float, 8>';

type Row = Record<string, number | string | null>;
interface Table {
  cases: Record<string, { kernels: Record<string, Row> }>;
}

describeEmulated('predictions of the card', function () {
  this.timeout(600_000);
  const at = temporaryFolder();
  const check = (...options: string[]): ReturnType<typeof run> =>
    run(root, 'node', ['scripts/card-model/main.mjs', ...options]);

  before(function () {
    const { status, output } = check('--case', CASE);
    if (status !== MISSING) return;
    console.log(`    NOT tested: ${output.trim()}`);
    this.skip();
  });

  it('are no worse than the table says', () => {
    succeed(root, 'node', ['scripts/card-model/main.mjs']);
  });

  it('fail the check, with the kernel and the number, where they are', () => {
    const table = readJson<Table>(path.join(root, 'native/cuda/predictions.json'));
    const row = table.cases[CASE].kernels[KERNEL];
    const [divisions, width] = [row.divisions as number, row.width as number];
    Object.assign(row, { divisions: divisions / 2, width: width * 2 });
    writeFileSync(at('table.json'), JSON.stringify(table));
    const { status, output } = check('--case', CASE, '--table', at('table.json'));
    expect(status, output).to.equal(1);
    expect(output).to.include(`worse    ${CASE}, ${KERNEL}: divisions ${divisions / 2} -> ${divisions}`);
    expect(output).to.include(`worse    ${CASE}, ${KERNEL}: width ${width * 2} -> ${width}`);
  });
});
