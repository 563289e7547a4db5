// A warp that runs the machine code of a kernel: which instructions it issues, in which order, and which addresses it uses.
// Only integers are computed; see registers.mjs.
//
// Lanes that part at a branch run one group after another, the one with the lowest address first, and meet at BSYNC, where
// BSSY has said who will. A branch whose condition is not known is taken by every second lane if it goes forward, so that
// both ways are counted, and by none if it goes back; the slow ways of divisions and roots (a call from a block behind a branch) are
// not taken: numbers that need them are rare.
import { MEMORY } from './addresses.mjs';
import { arithmeticOf } from './arithmetic.mjs';
import { CONTROL } from './control.mjs';
import { tensorOf } from './instructions.mjs';
import { LANES, Registers } from './registers.mjs';
import { targetOf } from './listing.mjs';

const ODD = 0xaaaaaaaa | 0;
/** A warp that issues more instructions than its launch allows. */
export class TooLong extends Error {}

const NOTHING =
  /^(ST|STG|STS|STL|RED|BAR|LDGSTS|EXIT|BRA|BSSY|BSYNC|NOP|CALL|RET|WARPSYNC|BREAK|WARPGROUP|FENCE|LDGDEPBAR|DEPBAR)$/;

/** How many registers, from the first operand on, an instruction leaves that is not computed. */
function resultsOf({ opcode, modifiers, operands }) {
  if (NOTHING.test(opcode)) return [];
  const words = modifiers.includes('128')
    ? 4
    : modifiers.includes('64') ||
        /^D(ADD|MUL|FMA)$/.test(opcode) ||
        modifiers.includes('WIDE') ||
        modifiers.includes('U64')
      ? 2
      : opcode === 'HGMMA'
        ? tensorOf({ opcode, modifiers, operands }).n / 2
        : opcode === 'HMMA' || (opcode === 'LDSM' && modifiers.includes('4'))
          ? 4
          : /^F64|^S64/.test(modifiers[0] ?? '')
            ? 2
            : 1;
  const results = [];
  for (const operand of operands) {
    if (operand.kind === 'R') {
      for (let w = 0; w < words; w++) results.push({ kind: 'R', n: operand.n === 255 ? 255 : operand.n + w });
      break;
    }
    if (operand.kind === 'UR') {
      for (let w = 0; w < words; w++) results.push({ kind: 'UR', n: operand.n === 63 ? 63 : operand.n + w });
      break;
    }
    if (operand.kind !== 'P' && operand.kind !== 'UP') break;
    results.push(operand);
  }
  if (operands[0]?.kind === 'R' && operands[1]?.kind === 'P') results.push(operands[1]);
  // Comparisons have two results and inputs behind.
  return /SETP$|^FCHK$/.test(opcode) ? results.slice(0, 2) : results;
}

/** Blocks of code that call a slow way out: where a branch leads there, it is not taken. */
function isSlow(fn, index) {
  for (let i = index; i < fn.code.length && i < index + 16; i++) {
    const { opcode, operands } = fn.code[i];
    if (opcode === 'CALL')
      return operands.some((operand) => operand.kind === 'label' && /_slowpath|_f64|_f32/.test(operand.name));
    if (/^(BRA|EXIT|BSYNC|RET)$/.test(opcode)) return false;
  }
  return false;
}

/** A function ready to run: its instructions with what they do. */
export function prepare(fn) {
  const code = fn.code.map((instruction) => {
    const run = arithmeticOf(instruction);
    const results = run ? undefined : resultsOf(instruction);
    const { opcode } = instruction;
    const own = { run, results, target: targetOf(fn, instruction), control: CONTROL[opcode], memory: MEMORY[opcode] };
    return { ...instruction, ...own };
  });
  return { ...fn, code, slow: (index) => isSlow(fn, index) };
}

export class Warp {
  /** `observer` gets issue(instruction, mask, warp) of each instruction, and the addresses in between (see memory.mjs). */
  constructor(fn, launch, block, index, observer) {
    this.fn = fn;
    this.index = index;
    this.observer = observer;
    this.registers = new Registers(launch.constants);
    this.registers.tables = launch.tables;
    this.registers.special = (name, out) => this.special(name, out);
    this.block = block;
    this.most = launch.most;
    this.groups = [{ at: 0, mask: -1 }];
    this.exited = 0;
    // Convergence barriers by number: for every lane the meeting it belongs to.
    this.meetings = Array.from({ length: 16 }, () => new Array(LANES).fill(undefined));
    this.local = new Map();
    this.issued = 0;
    this.unknownBranches = 0;
  }

  special(name, out) {
    const constantOf = { 'SR_CTAID.X': this.block, SR_CgaCtaId: 0, SR_SWINHI: 7, 'SR_CTAID.Y': 0, 'SR_CTAID.Z': 0 };
    if (name === 'SR_TID.X') for (let l = 0; l < LANES; l++) out[l] = this.index * LANES + l;
    else if (name === 'SR_LANEID') for (let l = 0; l < LANES; l++) out[l] = l;
    else if (name in constantOf) out.fill(constantOf[name]);
    else return 0;
    return -1;
  }

  /** Runs until all lanes have left ('ends') or wait for the block ('waits'), or for so many instructions ('runs'). */
  run(slice) {
    const { code } = this.fn;
    for (let i = 0; i < slice; i++) {
      const group = this.next();
      if (!group) return 'ends';
      const instruction = code[group.at];
      if (++this.issued > this.most)
        throw new TooLong(`${this.fn.name} runs for long at ${instruction.address.toString(16)}`);
      const mask = this.guarded(instruction, group.mask);
      this.observer.issue(instruction, mask, this);
      if (this.step(instruction, group, mask)) return 'waits';
    }
    return 'runs';
  }

  /** The group that goes on: of those that do not wait the one with the lowest address, joined by others that stand there. */
  next() {
    if (this.groups.length === 1 && !this.groups[0].waits) return this.groups[0];
    let best;
    for (const group of this.groups) if (!group.waits && (!best || group.at < best.at)) best = group;
    if (!best) {
      if (this.groups.length > 0) throw new Error(`${this.fn.name}: lanes wait for each other`);
      return undefined;
    }
    if (this.groups.length > 1) {
      for (const group of [...this.groups]) {
        if (group === best || group.waits || group.at !== best.at) continue;
        best.mask |= group.mask;
        this.groups.splice(this.groups.indexOf(group), 1);
      }
    }
    return best;
  }

  /** The lanes of a group that a guard lets through: those of which that is not known, too. */
  guarded({ guard, opcode }, mask) {
    if (!guard || opcode === 'BRA') return mask;
    const known = this.registers.knownPredicate(guard);
    const sure = mask & this.registers.predicate(guard) & known;
    // Nobody leaves early for a reason that is not known; out of a meeting go those who will take the branch behind.
    if (opcode === 'EXIT') return sure;
    const unsure = mask & ~known;
    return sure | (opcode === 'BREAK' ? unsure & ODD : unsure);
  }

  step(instruction, group, mask) {
    if (instruction.control) return instruction.control.call(this, instruction, group, mask);
    if (mask !== 0) this.compute(instruction, mask);
    group.at++;
    return false;
  }

  compute(instruction, mask) {
    const { registers } = this;
    const { guard, run, results, memory } = instruction;
    if (memory) memory.call(this, instruction, mask);
    else if (instruction.operands.some(({ kind }) => kind === 'memory')) this.refuse(instruction);
    else if (run) run(registers, mask);
    else for (const result of results) this.forget(result, mask);
    if (!guard) return;
    // What may or may not have happened is not known.
    const unsure = mask & ~registers.knownPredicate(guard);
    if (unsure !== 0) for (const result of results ?? resultsOf(instruction)) this.forget(result, unsure);
  }

  refuse({ name, address }) {
    throw new Error(`${this.fn.name}: ${name} at ${address.toString(16)} is not modelled`);
  }

  forget(result, mask) {
    if (result.kind === 'R') this.registers.forget(result.n, mask);
    else if (result.kind === 'UR') this.registers.putUniform(result.n, 0, false);
    else this.registers.putPredicate(result, 0, 0, mask);
  }

  /** A branch: the lanes that take it, by its guard and a condition of its own, and those that go on. */
  branch({ guard, index, operands }, group, target) {
    let [taken, possible] = [group.mask, group.mask];
    for (const condition of [guard, operands.find(({ kind }) => kind === 'P' || kind === 'UP')]) {
      if (!condition) continue;
      const [value, known] = [this.registers.predicate(condition), this.registers.knownPredicate(condition)];
      taken &= value & known;
      possible &= value | ~known;
    }
    const unsure = possible & ~taken;
    if (unsure !== 0) taken |= unsure & this.assume(index, target);
    const rest = group.mask & ~taken;
    if (rest === 0) group.at = target;
    else {
      group.at++;
      if (taken === 0) return false;
      group.mask = rest;
      this.groups.push({ at: target, mask: taken });
    }
    return false;
  }

  assume(index, target) {
    this.unknownBranches++;
    this.observer.unknown?.(this.fn.code[index]);
    if (target <= index) return 0;
    if (this.fn.slow(target)) return 0;
    if (this.fn.slow(index + 1)) return -1;
    return ODD;
  }

  leave(mask) {
    this.exited |= mask;
    for (const group of [...this.groups]) {
      group.mask &= ~mask;
      if (group.mask === 0) this.groups.splice(this.groups.indexOf(group), 1);
    }
    for (const group of this.groups) if (group.waits) this.meet(group.waits);
  }

  /** Lets the lanes of a meeting go on together when all who still run are there. */
  meet(meeting) {
    const there = this.groups.filter((group) => group.waits === meeting);
    const mask = there.reduce((sum, group) => sum | group.mask, 0);
    if ((meeting.mask & ~this.exited & ~mask) !== 0 || there.length === 0) return;
    const at = there[0].at + 1;
    this.groups = this.groups.filter((group) => group.waits !== meeting);
    this.groups.push({ at, mask });
  }

  /** Values of local memory by word. */
  word(at) {
    let word = this.local.get(at);
    if (!word) this.local.set(at, (word = { values: new Int32Array(LANES), known: 0 }));
    return word;
  }
}
