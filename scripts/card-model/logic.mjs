// Logic of bits and predicates, comparisons, choices. What is not known of an input may not matter: every result is known where
// it would be the same either way.
import { a, b, c, has, isPredicate, result, write } from './lanes.mjs';
import { LANES, reader } from './registers.mjs';
import { PT } from './operands.mjs';

/** Where a table of three bits may give 1, and where it may give 0, of inputs that may be known or not. */
function table(lut, inputs) {
  let [one, zero] = [0, 0];
  for (let i = 0; i < 8; i++) {
    let possible = -1;
    for (let k = 0; k < 3; k++) possible &= (i >> (2 - k)) & 1 ? inputs[k].one : inputs[k].zero;
    if ((lut >> i) & 1) one |= possible;
    else zero |= possible;
  }
  return { one, zero };
}

/** A table of three bits for all bits of words. */
function bitwise(lut, x, y, z) {
  let bits = 0;
  if (lut & 1) bits |= ~x & ~y & ~z;
  if (lut & 2) bits |= ~x & ~y & z;
  if (lut & 4) bits |= ~x & y & ~z;
  if (lut & 8) bits |= ~x & y & z;
  if (lut & 16) bits |= x & ~y & ~z;
  if (lut & 32) bits |= x & ~y & z;
  if (lut & 64) bits |= x & y & ~z;
  if (lut & 128) bits |= x & y & z;
  return bits;
}

export function logic(instruction) {
  const { operands } = instruction;
  const flag = isPredicate(operands[0]) ? operands[0] : undefined;
  const [target, ...rest] = flag ? operands.slice(1) : operands;
  const [x, y, z] = rest.slice(0, 3).map((source) => reader(source));
  const lut = rest[3].value;
  return (s, mask) => {
    const [kx, ky, kz] = [x(s, a), y(s, b), z(s, c)];
    let known = kx & ky & kz;
    if (known === -1) for (let l = 0; l < LANES; l++) result[l] = bitwise(lut, a[l], b[l], c[l]);
    else
      for (let l = 0; l < LANES; l++) {
        const at = (known_, value) => ((known_ >>> l) & 1 ? { one: value, zero: ~value } : { one: -1, zero: -1 });
        const { one, zero } = table(lut, [at(kx, a[l]), at(ky, b[l]), at(kz, c[l])]);
        result[l] = one;
        if ((one & zero) === 0) known |= 1 << l;
      }
    write(s, target, known, mask);
    if (!flag) return;
    // Whether any bit is set, or the predicate behind holds.
    let some = 0;
    for (let l = 0; l < LANES; l++) if (result[l] !== 0) some |= 1 << l;
    const before = either(s, rest[4]);
    const one = some | ~known | before.one;
    const zero = (~some | ~known) & before.zero;
    s.putPredicate(flag, one & ~zero, ~(one & zero), mask);
  };
}

const either = (s, operand) => {
  const [value, known] = [s.predicate(operand), s.knownPredicate(operand)];
  return { one: value | ~known, zero: ~value | ~known };
};

export function predicateLogic({ operands }) {
  const [first, second, x, y, z, lut, other] = operands;
  return (s, mask) => {
    const inputs = [x, y, z].map((operand) => either(s, operand));
    for (const [flag, bits] of [
      [first, lut.value],
      [second, other.value],
    ]) {
      const { one, zero } = table(bits, inputs);
      s.putPredicate(flag, one & ~zero, ~(one & zero), mask);
    }
  };
}

/** Which of less, equal and greater a comparison holds for, as bits. */
const COMPARISONS = { LT: 1, EQ: 2, LE: 3, GT: 4, NE: 5, GE: 6 };
/** Tables whose third input is 1. */
const COMBINED = { AND: 0x80, OR: 0xa8, XOR: 0x28 };
const ONE = { one: -1, zero: 0 };

/** Compares words; EX: the upper ones of 64 bits, after the lower. */
export function compare(instruction) {
  const [first, second, x, y, other, lower] = instruction.operands;
  const [readX, readY] = [reader(x), reader(y)];
  const holds = COMPARISONS[instruction.modifiers.find((modifier) => modifier in COMPARISONS)];
  const lut = COMBINED[instruction.modifiers.find((modifier) => modifier in COMBINED)];
  // Numbers without signs compare like those with signs whose first bit is turned.
  const turn = has(instruction, 'U32') ? 1 << 31 : 0;
  const extended = has(instruction, 'EX');
  return (s, mask) => {
    let known = readX(s, a) & readY(s, b);
    if (extended) known &= s.knownPredicate(lower);
    const below = extended ? s.predicate(lower) : holds & 2 ? -1 : 0;
    let value = 0;
    for (let l = 0; l < LANES; l++) {
      const [p, q] = [a[l] ^ turn, b[l] ^ turn];
      const bit = p < q ? holds & 1 : p > q ? (holds >> 2) & 1 : (below >>> l) & 1;
      value |= bit << l;
    }
    // Nearly always both are known and the rest is true.
    if (known === -1 && other.n === PT && !other.not && lut === COMBINED.AND) {
      s.putPredicate(first, value, -1, mask);
      s.putPredicate(second, ~value, -1, mask);
      return;
    }
    const rest = either(s, other);
    for (const [flag, bits] of [
      [first, value],
      [second, ~value],
    ]) {
      const { one, zero } = table(lut, [{ one: bits | ~known, zero: ~bits | ~known }, rest, ONE]);
      s.putPredicate(flag, one & ~zero, ~(one & zero), mask);
    }
  };
}

export function select({ operands }) {
  const [target, x, y, choice] = operands;
  const [readX, readY] = [reader(x), reader(y)];
  return (s, mask) => {
    const [kx, ky] = [readX(s, a), readY(s, b)];
    const [chosen, sure] = [s.predicate(choice), s.knownPredicate(choice)];
    for (let l = 0; l < LANES; l++) result[l] = (chosen >>> l) & 1 ? a[l] : b[l];
    let known = sure & ((chosen & kx) | (~chosen & ky));
    for (let l = 0; l < LANES; l++) if (a[l] === b[l]) known |= kx & ky & (1 << l);
    write(s, target, known, mask);
  };
}

/** Predicates as bits of a register, and back. */
export function pack({ operands }) {
  const [target, , , wanted] = operands;
  return (s, mask) => {
    let known = -1;
    result.fill(0);
    for (let n = 0; n < 7; n++) {
      if (!((wanted.value >> n) & 1)) continue;
      known &= s.knownPredicates[n];
      for (let l = 0; l < LANES; l++) result[l] |= ((s.predicates[n] >>> l) & 1) << n;
    }
    write(s, target, known, mask);
  };
}
export function unpack({ operands }) {
  const read = reader(operands[1]);
  return (s, mask) => {
    const known = read(s, a);
    for (let n = 0; n < 7; n++) {
      if (!((operands[2].value >> n) & 1)) continue;
      let bits = 0;
      for (let l = 0; l < LANES; l++) bits |= ((a[l] >>> n) & 1) << l;
      s.putPredicate({ kind: 'P', n }, bits, known, mask);
    }
  };
}

export function vote(instruction) {
  const target = instruction.operands[0];
  const condition = instruction.operands.at(-1);
  const register = instruction.operands.find((operand) => operand.kind === 'R' || operand.kind === 'UR');
  const flag = isPredicate(target)
    ? target
    : isPredicate(instruction.operands[1])
      ? instruction.operands[1]
      : undefined;
  return (s, mask) => {
    const known = (s.knownPredicate(condition) & mask) === mask ? -1 : 0;
    const ballot = s.predicate(condition) & mask;
    result.fill(ballot);
    if (register) write(s, register, known, mask);
    const holds = has(instruction, 'ANY') ? ballot !== 0 : ballot === mask;
    if (flag && flag.n !== PT) s.putPredicate(flag, holds ? -1 : 0, known, mask);
  };
}
