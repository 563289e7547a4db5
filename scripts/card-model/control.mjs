// Instructions that decide what comes next: branches, calls, meetings of lanes that have parted, barriers.
import { lanesOf } from './addresses.mjs';
import { LANES, reader } from './registers.mjs';

const buffer = new Int32Array(LANES);
const count = (mask) => {
  let n = 0;
  for (let m = mask; m !== 0; m &= m - 1) n++;
  return n;
};

/** By opcode: called on a warp with an instruction, the group of lanes that stands there and the lanes its guard lets through; returns
 * whether the warp waits for its block. */
export const CONTROL = {
  BRA(instruction, group) {
    // Lanes that are not together where the compiler hopes they are: a way of its own that is not counted.
    if (instruction.modifiers.includes('DIV')) {
      group.at++;
      return false;
    }
    return this.branch(instruction, group, instruction.target);
  },
  BRX(instruction, group, mask) {
    const [, register, offset] = /^U?R(\d+)\s*(-?0x[0-9a-f]+)?/.exec(instruction.operands[0].name);
    const known = reader({ kind: 'R', n: Number(register) })(this.registers, buffer);
    const jump =
      instruction.address + 16 + (offset ? Number(offset.replace('-', '')) * (offset.startsWith('-') ? -1 : 1) : 0);
    const targets = new Map();
    for (const l of lanesOf(mask)) {
      if (!((known >>> l) & 1))
        throw new Error(`${this.fn.name}: a jump at ${instruction.address.toString(16)} is not known`);
      const target = this.fn.at.get(jump + buffer[l]);
      targets.set(target, (targets.get(target) ?? 0) | (1 << l));
    }
    this.groups.splice(this.groups.indexOf(group), 1);
    for (const [at, lanes] of targets) this.groups.push({ at, mask: lanes });
    return false;
  },
  BSSY({ operands }, group) {
    const meeting = { mask: group.mask };
    const lanes = this.meetings[Number(operands[0].name.slice(1))];
    for (const l of lanesOf(group.mask)) lanes[l] = meeting;
    group.at++;
    return false;
  },
  BSYNC({ operands }, group, mask) {
    const lanes = this.meetings[Number(operands[0].name.slice(1))];
    const meeting = lanes[31 - Math.clz32(mask & -mask)];
    if (count(meeting.mask & ~this.exited) === count(group.mask)) group.at++;
    else {
      group.waits = meeting;
      this.meet(meeting);
    }
    return false;
  },
  BREAK({ operands }, group, mask) {
    const lanes = this.meetings[Number(operands.find(({ kind }) => kind === 'special').name.slice(1))];
    for (const l of lanesOf(mask)) if (lanes[l]) lanes[l].mask &= ~(1 << l);
    group.at++;
    for (const other of [...this.groups]) if (other.waits) this.meet(other.waits);
    return false;
  },
  WARPSYNC({ modifiers }, group) {
    if (modifiers.includes('ALL') && (~this.exited & ~group.mask) !== 0) {
      group.waits = this.everyone ??= { mask: -1 };
      this.meet(group.waits);
    } else group.at++;
    return false;
  },
  CALL(instruction, group) {
    group.at = instruction.target;
    return false;
  },
  RET({ operands, address }, group) {
    const register = Number(/^R(\d+)/.exec(operands[0].name)[1]);
    const known = reader({ kind: 'R', n: register })(this.registers, buffer);
    const lane = 31 - Math.clz32(group.mask & -group.mask);
    if (!((known >>> lane) & 1)) throw new Error(`${this.fn.name}: a return at ${address.toString(16)} is not known`);
    const targets = new Map();
    for (const l of lanesOf(group.mask)) targets.set(buffer[l], (targets.get(buffer[l]) ?? 0) | (1 << l));
    this.groups.splice(this.groups.indexOf(group), 1);
    for (const [at, mask] of targets) this.groups.push({ at: this.fn.at.get(at), mask });
    return false;
  },
  EXIT(instruction, group, mask) {
    group.at++;
    this.leave(mask);
    return false;
  },
  BAR(instruction, group) {
    group.at++;
    return true;
  },
  BPT(instruction, group, mask) {
    if (mask !== 0) throw new Error(`${this.fn.name}: a trap at ${instruction.address.toString(16)}`);
    group.at++;
    return false;
  },
};
