// What the functions of integer instructions share: rooms for the values of lanes, and how operands and results are told apart.
import { LANES, reader } from './registers.mjs';

/** Rooms for operands and results; a function uses them before it calls another. */
export const [a, b, c, d, e, result] = Array.from({ length: 6 }, () => new Int32Array(LANES));
export const WORD = 2 ** 32;

export const isPredicate = (operand) => operand?.kind === 'P' || operand?.kind === 'UP';
export const has = (instruction, ...modifiers) => modifiers.every((name) => instruction.modifiers.includes(name));

/** Splits operands into { target, flags, sources, inputs }: predicates beside the first are results, those at the end inputs. */
export function parts({ operands }) {
  const rest = operands.slice(1);
  const flags = [];
  while (isPredicate(rest[0])) flags.push(rest.shift());
  const inputs = [];
  while (isPredicate(rest.at(-1))) inputs.unshift(rest.pop());
  return { target: operands[0], flags, sources: rest, inputs };
}

export function write(s, target, known, mask, word = 0) {
  if (target.kind === 'R') return s.put(target.n === 255 ? 255 : target.n + word, result, known, mask);
  s.putUniform(target.n === 63 ? 63 : target.n + word, result[0], known & 1);
}

/** Of one word from three; f(x, y, z) as int32. */
export function wordwise(f) {
  return (instruction) => {
    const { target, sources } = parts(instruction);
    const [x, y, z] = [0, 1, 2].map((i) => (sources[i] ? reader(sources[i]) : (_, out) => (out.fill(0), -1)));
    return (s, mask) => {
      const known = x(s, a) & y(s, b) & z(s, c);
      if (known & mask) for (let l = 0; l < LANES; l++) result[l] = f(a[l], b[l], c[l]);
      write(s, target, known, mask);
    };
  };
}
