// Where integers come from: constants, the place of a thread, and the floats by which integers are divided.
import { a, b, has, isPredicate, result, WORD, write } from './lanes.mjs';
import { LANES, reader } from './registers.mjs';

const half = (x) => {
  if (x === 0) return Object.is(x, -0) ? 0x8000 : 0;
  const sign = x < 0 ? 0x8000 : 0;
  const size = Math.abs(x);
  const power = Math.max(-14, Math.floor(Math.log2(size)));
  return sign | Math.round(size * 2 ** (10 - power) + (power > -14 ? (power + 14) * 1024 : 0));
};
/** A constant as a pair of halves: 0 0 + (upper, lower). */
export function halves({ operands }) {
  const [target, x, y, upper, lower] = operands;
  const number = (operand) => new Float32Array(new Int32Array([operand.value]).buffer)[0];
  const constant = x.n === 255 && y.n === 255 && upper.kind === 'number' && lower?.kind === 'number';
  const bits = constant && (half(number(upper)) << 16) | half(number(lower));
  return (s, mask) => {
    result.fill(bits);
    write(s, target, constant ? -1 : 0, mask);
  };
}

export function constant(instruction) {
  const [target, source] = instruction.operands;
  const words = has(instruction, '64') ? 2 : has(instruction, '128') ? 4 : 1;
  const bytes =
    has(instruction, 'U8') || has(instruction, 'S8') ? 1 : has(instruction, 'U16') || has(instruction, 'S16') ? 2 : 4;
  const { R, UR, offset } = source.address;
  const index =
    R !== undefined ? reader({ kind: 'R', n: R }) : UR !== undefined ? reader({ kind: 'UR', n: UR }) : undefined;
  return (s, mask) => {
    const bank = source.bank === 0 ? s.constants : source.bank === 2 ? s.tables : undefined;
    // Before the first word is written: it may go where the index stands.
    const there = !bank ? 0 : index ? index(s, a) : -1;
    for (let w = 0; w < words; w++) {
      let known = there;
      for (let l = 0; l < LANES; l++) {
        const at = offset + 4 * w + (index ? a[l] : 0);
        if (!bank || at < 0 || at + bytes > bank.byteLength) known &= ~(1 << l);
        else
          result[l] =
            bytes === 4 ? bank.getInt32(at, true) : bytes === 2 ? bank.getUint16(at, true) : bank.getUint8(at);
      }
      write(s, target, known, mask, w);
    }
  };
}

const floats = new Float32Array(1);
const bits = new Int32Array(floats.buffer);
function bitsOf(x) {
  floats[0] = x;
  return bits[0];
}
function floatOf(x) {
  bits[0] = x;
  return floats[0];
}
/** The next float above where rounding went below. */
const roundedUp = (x) => (Math.fround(x) < x ? floatOf(bitsOf(x) + 1) : Math.fround(x));

/** Conversions as divisions of integers use them; others are not known. */
export function toFloat(instruction) {
  const { operands } = instruction;
  const wide = has(instruction, 'U64');
  const isUnsigned = wide || has(instruction, 'U32');
  if (!has(instruction, 'RP')) return undefined;
  const [low, upper] = [reader(operands[1]), wide ? reader(operands[1], 1) : undefined];
  return (s, mask) => {
    const known = low(s, a) & (upper ? upper(s, b) : -1);
    for (let l = 0; l < LANES; l++) {
      const number = isUnsigned ? (a[l] >>> 0) + (upper ? (b[l] >>> 0) * WORD : 0) : a[l];
      result[l] = bitsOf(roundedUp(number));
    }
    write(s, operands[0], known, mask);
  };
}
export function toInteger(instruction) {
  const { operands } = instruction;
  const wide = has(instruction, 'U64');
  if (!has(instruction, 'U32') && !wide) return undefined;
  const read = reader(operands[1]);
  return (s, mask) => {
    const known = read(s, a);
    for (let l = 0; l < LANES; l++) {
      const number = Math.min(Math.trunc(floatOf(a[l])), wide ? 2 ** 64 - 2048 : WORD - 1);
      result[l] = (number % WORD) | 0;
      b[l] = Math.floor(number / WORD) | 0;
    }
    write(s, operands[0], known, mask);
    if (!wide) return;
    result.set(b);
    write(s, operands[0], known, mask, 1);
  };
}
export function special(instruction) {
  if (!has(instruction, 'RCP')) return undefined;
  const read = reader(instruction.operands[1]);
  return (s, mask) => {
    const known = read(s, a);
    for (let l = 0; l < LANES; l++) result[l] = bitsOf(1 / floatOf(a[l]));
    write(s, instruction.operands[0], known, mask);
  };
}

export function zeros({ operands, modifiers }) {
  const [target, source] = operands;
  const zero = source.kind === 'special' && source.name === 'SRZ';
  return (s, mask) => {
    result.fill(0);
    write(s, target, zero ? -1 : 0, mask);
    if (!modifiers.includes('32')) write(s, target, zero ? -1 : 0, mask, 1);
  };
}

export function place({ operands }) {
  const [target, { name }] = operands;
  return (s, mask) => {
    const special = s.special(name, result);
    write(s, target, special, mask);
  };
}

/** A uniform register from the first lane that takes part. */
export function broadcast({ operands }) {
  const [target, source] = operands.filter((operand) => !isPredicate(operand));
  const read = reader(source);
  return (s, mask) => {
    const known = read(s, a);
    const lane = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask);
    s.putUniform(target.n, a[lane], (known >>> lane) & 1);
  };
}
