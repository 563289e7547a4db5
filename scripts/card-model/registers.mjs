// The registers of a warp, of which only some values are known: integers that follow from the arguments of a launch and the
// place of a thread. What is loaded from memory or computed in floating point is not; it decides about no loop.
//
// Values of the 32 lanes are an Int32Array; what is known of them is a mask with a bit per lane. Predicates are masks
// themselves. A uniform register has one value for all lanes, and a uniform predicate is 0 or -1.
import { PT, RZ } from './operands.mjs';

export const LANES = 32;
const URZ = 63;

export class Registers {
  values = new Int32Array(256 * LANES);
  known = new Int32Array(256);
  uniform = new Int32Array(64);
  knownUniform = new Int32Array(64);
  predicates = new Int32Array(8);
  knownPredicates = new Int32Array(8);
  uniformPredicates = new Int32Array(8);
  knownUniformPredicates = new Int32Array(8);

  constructor(constants) {
    /** A DataView of constant bank 0: the launch and its arguments. */
    this.constants = constants;
    this.known[RZ] = this.knownUniform[URZ] = -1;
    this.predicates[PT] = this.knownPredicates[PT] = -1;
    this.uniformPredicates[PT] = this.knownUniformPredicates[PT] = -1;
  }

  put(n, values, known, mask) {
    if (n === RZ) return;
    const to = this.values;
    const base = n * LANES;
    if (mask === -1) for (let l = 0; l < LANES; l++) to[base + l] = values[l];
    else for (let l = 0; l < LANES; l++) if ((mask >>> l) & 1) to[base + l] = values[l];
    this.known[n] = (this.known[n] & ~mask) | (known & mask);
  }

  forget(n, mask) {
    if (n !== RZ) this.known[n] &= ~mask;
  }

  putUniform(n, value, known) {
    if (n === URZ) return;
    this.uniform[n] = value;
    this.knownUniform[n] = known ? -1 : 0;
  }

  putPredicate({ kind, n }, value, known, mask) {
    if (n === PT) return;
    if (kind === 'P') {
      this.predicates[n] = (this.predicates[n] & ~mask) | (value & mask);
      this.knownPredicates[n] = (this.knownPredicates[n] & ~mask) | (known & mask);
    } else {
      // All lanes agree; the first one speaks.
      this.uniformPredicates[n] = value & 1 ? -1 : 0;
      this.knownUniformPredicates[n] = known & 1 ? -1 : 0;
    }
  }

  predicate(operand) {
    const value = operand.kind === 'P' ? this.predicates[operand.n] : this.uniformPredicates[operand.n];
    return operand.not ? ~value : value;
  }
  knownPredicate({ kind, n }) {
    return kind === 'P' ? this.knownPredicates[n] : this.knownUniformPredicates[n];
  }
}

function signed(operand, read) {
  const { sign, absolute } = operand;
  if (!sign && !absolute) return read;
  return (s, out) => {
    const known = read(s, out);
    // |x| of integers does not occur; of floats it clears the sign.
    if (absolute) for (let l = 0; l < LANES; l++) out[l] &= 0x7fffffff;
    if (sign === '-') for (let l = 0; l < LANES; l++) out[l] = -out[l];
    if (sign === '~') for (let l = 0; l < LANES; l++) out[l] = ~out[l];
    return known;
  };
}

/** A function (registers, out) that writes the values of an operand's lanes, and returns which are known. */
export function reader(operand, word = 0) {
  const { kind } = operand;
  if (kind === 'R') {
    const n = operand.n === RZ ? RZ : operand.n + word;
    const base = n * LANES;
    return signed(operand, (s, out) => {
      const { values } = s;
      for (let l = 0; l < LANES; l++) out[l] = values[base + l];
      return s.known[n];
    });
  }
  if (kind === 'UR') {
    const n = operand.n === URZ ? URZ : operand.n + word;
    return signed(operand, (s, out) => {
      out.fill(s.uniform[n]);
      return s.knownUniform[n];
    });
  }
  if (kind === 'number') {
    const value = word ? 0 : operand.value;
    return (s, out) => {
      out.fill(value);
      return -1;
    };
  }
  if (
    kind === 'constant' &&
    operand.bank === 0 &&
    operand.address.R === undefined &&
    operand.address.UR === undefined
  ) {
    const at = operand.address.offset + 4 * word;
    return signed(operand, (s, out) => {
      const inside = at + 4 <= s.constants.byteLength;
      out.fill(inside ? s.constants.getInt32(at, true) : 0);
      return inside ? -1 : 0;
    });
  }
  return () => 0;
}
