// Sums, products, shifts and extrema of integers.
import { a, b, c, d, e, has, parts, result, WORD, write } from './lanes.mjs';
import { LANES, reader } from './registers.mjs';

/** x as a term of a sum with carries: -x is its complement and one, whose carry is that of a subtraction. */
function addTerm(sums, buffer, sign) {
  if (!sign) for (let l = 0; l < LANES; l++) sums[l] += buffer[l] >>> 0;
  else if (sign === '-') for (let l = 0; l < LANES; l++) sums[l] += (~buffer[l] >>> 0) + 1;
  else for (let l = 0; l < LANES; l++) sums[l] += ~buffer[l] >>> 0;
}

const sums = new Float64Array(LANES);
/** Two or three numbers and carries; carries out are one predicate per carry. */
export function add(instruction) {
  const { target, flags, sources, inputs } = parts(instruction);
  const carries = has(instruction, 'X') ? inputs : [];
  const readers = sources.map((source) => reader({ ...source, sign: undefined }));
  const signs = sources.map(({ sign }) => sign);
  return (s, mask) => {
    let known = -1;
    sums.fill(0);
    for (let i = 0; i < carries.length; i++) {
      known &= s.knownPredicate(carries[i]);
      const ones = s.predicate(carries[i]);
      for (let l = 0; l < LANES; l++) sums[l] += (ones >>> l) & 1;
    }
    for (let i = 0; i < readers.length; i++) {
      known &= readers[i](s, a);
      addTerm(sums, a, signs[i]);
    }
    for (let l = 0; l < LANES; l++) result[l] = sums[l] | 0;
    write(s, target, known, mask);
    for (let i = 0; i < flags.length; i++) {
      let ones = 0;
      for (let l = 0; l < LANES; l++) if (sums[l] >= (i + 1) * WORD) ones |= 1 << l;
      s.putPredicate(flags[i], ones, known, mask);
    }
  };
}

/** The upper word of a product. */
function high(x, y, isSigned) {
  const [x0, x1, y0, y1] = [x & 0xffff, x >>> 16, y & 0xffff, y >>> 16];
  const middle = x1 * y0 + ((x0 * y0) >>> 16);
  const upper = x1 * y1 + Math.floor(middle / 65536) + Math.floor(((middle & 0xffff) + x0 * y1) / 65536);
  return isSigned ? upper - (x < 0 ? y : 0) - (y < 0 ? x : 0) : upper;
}

/** x y + z: the lower word, all of it (WIDE), or its upper word (HI). */
export function multiplyAdd(instruction) {
  const { target, flags, sources, inputs } = parts(instruction);
  const [x, y] = sources.map((source) => reader(source));
  const wide = has(instruction, 'WIDE') || has(instruction, 'HI');
  const isSigned = !has(instruction, 'U32');
  const [low, upper] = wide
    ? [reader({ ...sources[2], sign: undefined }), reader({ ...sources[2], sign: undefined }, 1)]
    : [reader(sources[2])];
  const carry = has(instruction, 'X') ? inputs[0] : undefined;
  return (s, mask) => {
    const knownX = x(s, a);
    const knownY = y(s, b);
    let known = knownX & knownY;
    // What is multiplied by zero need not be known.
    for (let l = 0; l < LANES; l++) {
      if (a[l] === 0) known |= knownX & (1 << l);
      if (b[l] === 0) known |= knownY & (1 << l);
    }
    known &= low(s, c);
    if (upper) known &= upper(s, d);
    const ones = carry ? s.predicate(carry) : 0;
    if (carry) known &= s.knownPredicate(carry);
    if (!wide) {
      for (let l = 0; l < LANES; l++) result[l] = (Math.imul(a[l], b[l]) + c[l] + ((ones >>> l) & 1)) | 0;
      write(s, target, known, mask);
      return;
    }
    let out = 0;
    for (let l = 0; l < LANES; l++) {
      if (!((known >>> l) & 1)) continue;
      const sum = (Math.imul(a[l], b[l]) >>> 0) + (c[l] >>> 0) + ((ones >>> l) & 1);
      const most = (high(a[l], b[l], isSigned) >>> 0) + (d[l] >>> 0) + (sum >= WORD ? 1 : 0);
      result[l] = sum | 0;
      e[l] = most | 0;
      if (most >= WORD) out |= 1 << l;
    }
    if (has(instruction, 'WIDE')) write(s, target, known, mask);
    result.set(e);
    write(s, target, known, mask, has(instruction, 'WIDE') ? 1 : 0);
    if (flags[0]) s.putPredicate(flags[0], out, known, mask);
  };
}

/** (x << n) + y, or with HI the bits that are shifted out of x (above which z stands) plus y. */
export function shiftAdd(instruction) {
  const { target, flags, sources, inputs } = parts(instruction);
  const upper = has(instruction, 'HI');
  const extended = has(instruction, 'SX32');
  const n = sources.at(-1).value;
  const negated = sources[0].sign === '-';
  const x = reader({ ...sources[0], sign: undefined });
  const y = reader(sources[1]);
  const z = upper && !extended ? reader(sources[2]) : undefined;
  const carry = has(instruction, 'X') ? inputs[0] : undefined;
  return (s, mask) => {
    let known = x(s, a) & y(s, b) & (z ? z(s, c) : -1);
    if (negated) for (let l = 0; l < LANES; l++) a[l] = -a[l];
    if (carry) known &= s.knownPredicate(carry);
    const ones = carry ? s.predicate(carry) : 0;
    let out = 0;
    for (let l = 0; l < LANES; l++) {
      const above = extended ? a[l] >> 31 : c[l];
      const shifted = upper ? (n === 0 ? above : (a[l] >>> (32 - n)) | (above << n)) : a[l] << n;
      const sum = (shifted >>> 0) + (b[l] >>> 0) + ((ones >>> l) & 1);
      result[l] = sum | 0;
      if (sum >= WORD) out |= 1 << l;
    }
    write(s, target, known, mask);
    if (flags[0]) s.putPredicate(flags[0], out, known, mask);
  };
}

const lower32 = (low, above, n) => (n === 0 ? low : n < 32 ? (low >>> n) | (above << (32 - n)) : undefined);
/** A word of the 64 bits above:low, shifted. */
function shifted(low, above, n, left, upper, isSigned) {
  const sign = isSigned ? above >> 31 : 0;
  if (left && upper) return n === 0 ? above : n < 32 ? (above << n) | (low >>> (32 - n)) : n < 64 ? low << (n - 32) : 0;
  if (left) return n < 32 ? low << n : 0;
  if (upper) return n < 32 ? (isSigned ? above >> n : above >>> n) : sign;
  return n < 32 ? lower32(low, above, n) : n < 64 ? (isSigned ? above >> (n - 32) : above >>> (n - 32)) : sign;
}

/** A shift of the 64 bits z:x, of which the lower word is taken or, with HI, the upper. */
export function shift(instruction) {
  const { target, sources } = parts(instruction);
  const [x, n, z] = sources.map((source) => reader(source));
  const [left, upper, wraps] = ['L', 'HI', 'W'].map((name) => has(instruction, name));
  const isSigned = has(instruction, 'S32') || has(instruction, 'S64');
  const most = has(instruction, 'U64') || has(instruction, 'S64') ? 63 : 31;
  return (s, mask) => {
    const known = x(s, a) & n(s, b) & z(s, c);
    for (let l = 0; l < LANES; l++) {
      const count = wraps ? b[l] & most : Math.min(b[l] >>> 0, 64);
      result[l] = shifted(a[l], c[l], count, left, upper, isSigned);
    }
    write(s, target, known, mask);
  };
}

/** The lesser where the last predicate holds, else the larger; VIADDMNMX of a sum first. */
export function extremum(instruction) {
  const { operands, opcode } = instruction;
  const [target, ...rest] = operands;
  const least = rest.pop();
  const readers = rest.map((source) => reader(source));
  const of = has(instruction, 'U32') ? (x) => x >>> 0 : (x) => x;
  const sum = opcode.includes('ADD');
  return (s, mask) => {
    const buffers = [a, b, c];
    let known = s.knownPredicate(least);
    readers.forEach((read, i) => (known &= read(s, buffers[i])));
    const smaller = s.predicate(least);
    for (let l = 0; l < LANES; l++) {
      const numbers = buffers.slice(0, readers.length).map((buffer) => buffer[l]);
      const list = (sum ? [(numbers[0] + numbers[1]) | 0, ...numbers.slice(2)] : numbers).map(of);
      result[l] = (smaller >>> l) & 1 ? Math.min(...list) : Math.max(...list);
    }
    write(s, target, known, mask);
  };
}

/** Bytes of y:x chosen by the four digits of a number. */
export function permute(x, digits, y) {
  let bytes = 0;
  for (let i = 0; i < 4; i++) {
    const digit = (digits >>> (4 * i)) & 15;
    const byte = ((digit & 4 ? y : x) >>> (8 * (digit & 3))) & 255;
    bytes |= (digit & 8 ? (byte & 128 ? 255 : 0) : byte) << (8 * i);
  }
  return bytes;
}
