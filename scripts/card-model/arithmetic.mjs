// What integer instructions do: for each opcode a function that makes of an instruction one that runs it for the lanes of a
// mask. Instructions that are not here leave results that are not known.
import { add, extremum, multiplyAdd, permute, shift, shiftAdd } from './integers.mjs';
import { a, wordwise } from './lanes.mjs';
import { compare, logic, pack, predicateLogic, select, unpack, vote } from './logic.mjs';
import { reader } from './registers.mjs';
import { broadcast, constant, halves, place, special, toFloat, toInteger, zeros } from './sources.mjs';

const OPCODES = {
  MOV: wordwise((x) => x),
  UMOV: (instruction) => {
    const [target, source] = instruction.operands;
    const read = reader(source);
    return (s) => {
      const known = read(s, a);
      s.putUniform(target.n, a[0], known & 1);
    };
  },
  IADD3: add,
  UIADD3: add,
  VIADD: add,
  IMAD: multiplyAdd,
  UIMAD: multiplyAdd,
  LEA: shiftAdd,
  ULEA: shiftAdd,
  SHF: shift,
  USHF: shift,
  LOP3: logic,
  ULOP3: logic,
  PLOP3: predicateLogic,
  UPLOP3: predicateLogic,
  ISETP: compare,
  UISETP: compare,
  SEL: select,
  USEL: select,
  FSEL: select,
  VIMNMX: extremum,
  VIMNMX3: extremum,
  VIADDMNMX: extremum,
  UVIMNMX: extremum,
  IABS: wordwise((x) => Math.abs(x) | 0),
  PRMT: wordwise(permute),
  UPRMT: wordwise(permute),
  HFMA2: halves,
  P2R: pack,
  R2P: unpack,
  LDC: constant,
  ULDC: constant,
  I2F: toFloat,
  F2I: toInteger,
  MUFU: special,
  CS2R: zeros,
  S2R: place,
  S2UR: place,
  R2UR: broadcast,
  VOTE: vote,
  VOTEU: vote,
};

/** How an instruction runs, (registers, mask), if its results can be known; else undefined. */
export function arithmeticOf(instruction) {
  return OPCODES[instruction.opcode]?.(instruction);
}
