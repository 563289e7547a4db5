// When values are checked: what the environment says, what setChecks says, and the device.
import { expect } from 'chai';
import path from 'node:path';
import { devices } from '../../lib';
import { runSource } from '../support/child';
import { LIBRARY } from '../support/library';

/** Prints for each device whether bad values are caught: at first, inside withChecks, after it, after setChecks. */
const SOURCE = `
const { withChecks } = require(${JSON.stringify(path.join(path.dirname(LIBRARY), 'ops'))});
function caught(call) {
  try {
    call();
    return false;
  } catch (error) {
    if (error.code !== 'INVALID_ARGUMENT') throw error;
    return true;
  }
}
function look() {
  const found = {};
  for (const { device, available } of fw.devices()) {
    if (!available) continue;
    const z = (...shape) => fw.zeros(shape, { device });
    const full = (shape, value) => fw.full(shape, value, { device });
    const [q, state] = [z(1, 2, 1, 3), z(1, 1, 3, 3)];
    const all = [
      () => fw.deltaRule(q, q, full([1, 2, 1, 3], NaN)),
      () => fw.deltaRule(full([1, 2, 1, 3], NaN), q, q),
      () => fw.deltaRule(q, q, q, { initialState: full([1, 1, 3, 3], NaN) }),
      () => fw.deltaRule(q, q, q, { gate: full([1, 2, 1], 0.1) }),
      () => fw.gatedLinearAttention(q, q, q, { gate: full([1, 2, 1, 3], NaN) }),
      () => fw.rwkv6(q, q, q, { bonus: full([1, 3], NaN) }),
      () => fw.noGrad(() => fw.deltaRule.step(z(1, 1, 3), z(1, 1, 3), z(1, 1, 3), { gate: full([1, 1], 1), state })),
    ].map(caught);
    if (new Set(all).size > 1) throw new Error('not all alike: ' + all);
    found[device] = all[0];
  }
  return found;
}
const report = { first: look(), inside: withChecks(true, look), outside: withChecks(false, look), after: look() };
fw.setChecks(true);
report.on = look();
fw.setChecks(false);
report.off = look();
console.log(JSON.stringify(report));
`;

const everywhere = (on: boolean, js = on): Record<string, boolean> =>
  Object.fromEntries(devices().flatMap((d) => (d.available ? [[d.device, d.device === 'js' ? js : on]] : [])));

describe('checks of values', () => {
  for (const [value, first] of [
    [undefined, everywhere(false, true)],
    ['', everywhere(false, true)],
    ['0', everywhere(false, true)],
    ['1', everywhere(true)],
    ['values', everywhere(true)],
  ] as const) {
    it(`FAST_WEIGHTS_CHECK ${value === undefined ? 'not set' : `'${value}'`}`, async () => {
      const { stdout, stderr } = await runSource(SOURCE, { FAST_WEIGHTS_CHECK: value });
      expect(JSON.parse(stdout || '{}'), stderr).to.deep.equal({
        first,
        inside: everywhere(true),
        outside: everywhere(false),
        after: first,
        on: everywhere(true),
        off: everywhere(false),
      });
    });
  }

  it('another value is refused as soon as a tensor is made', async () => {
    for (const value of ['yes', 'true', '2']) {
      const { code, stderr } = await runSource('fw.zeros([1])', { FAST_WEIGHTS_CHECK: value });
      expect(code).to.equal(1);
      expect(stderr).to.include(`environment: FAST_WEIGHTS_CHECK must be '0' | '1' | 'values', got "${value}"`);
    }
  });
});
