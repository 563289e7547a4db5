// Instructions that use memory: the addresses of lanes, the space they lie in, and the memory of a thread itself, whose values may
// be known.
import { LANES, reader } from './registers.mjs';

export const lanesOf = (mask) => {
  const lanes = [];
  for (let l = 0; l < LANES; l++) if ((mask >>> l) & 1) lanes.push(l);
  return lanes;
};

const buffer = new Int32Array(LANES);
const upper = new Int32Array(LANES);
const addresses = new Float64Array(LANES);

/** The addresses of an operand by lane, and the mask of those known. */
function addressesOf(registers, { address }) {
  let known = -1;
  addresses.fill(address.offset);
  if (address.R !== undefined) {
    known &= reader({ kind: 'R', n: address.R })(registers, buffer);
    if (address.wide) known &= reader({ kind: 'R', n: address.R }, 1)(registers, upper);
    for (let l = 0; l < LANES; l++)
      addresses[l] += address.wide ? (buffer[l] >>> 0) + (upper[l] >>> 0) * 2 ** 32 : buffer[l];
  }
  if (address.UR !== undefined) {
    known &= registers.knownUniform[address.UR];
    const wide = address.wide || address.R === undefined;
    const low = registers.uniform[address.UR];
    if (address.wide && address.UR < 62) {
      known &= registers.knownUniform[address.UR + 1];
      for (let l = 0; l < LANES; l++) addresses[l] += (low >>> 0) + (registers.uniform[address.UR + 1] >>> 0) * 2 ** 32;
    } else for (let l = 0; l < LANES; l++) addresses[l] += wide ? low : low;
  }
  return known;
}

export const bytesOf = ({ modifiers }) =>
  modifiers.includes('128')
    ? 16
    : modifiers.includes('64')
      ? 8
      : modifiers.some((m) => m === 'U8' || m === 'S8')
        ? 1
        : modifiers.some((m) => m === 'U16' || m === 'S16')
          ? 2
          : 4;

/** The window of generic addresses in which shared memory lies, and that of local memory. */
const SHARED_WINDOW = 7 * 2 ** 32;
const LOCAL_WINDOW = 8 * 2 ** 32;

function spaceOf(opcode, known, mask) {
  if (/^(LDG|STG|RED|ATOMG)$/.test(opcode)) return 'global';
  if (/^(LDS|STS|LDSM|STSM|ATOMS)$/.test(opcode)) return 'shared';
  if (/^(LDL|STL)$/.test(opcode)) return 'local';
  const some = known & mask;
  const lane = some === 0 ? 0 : 31 - Math.clz32(some & -some);
  const at = addresses[lane];
  if (some !== 0 && at >= SHARED_WINDOW && at < SHARED_WINDOW + 2 ** 32) return 'shared';
  if (some !== 0 && at >= LOCAL_WINDOW && at < LOCAL_WINDOW + 2 ** 32) return 'local';
  return 'global';
}

function access(instruction, mask) {
  const { registers, observer } = this;
  const { opcode, operands } = instruction;
  const operand = operands.find(({ kind }) => kind === 'memory');
  const known = addressesOf(registers, operand);
  const space = spaceOf(opcode, known, mask);
  const bytes = opcode === 'LDSM' ? 16 : bytesOf(instruction);
  const stores = /^(ST|RED)/.test(opcode);
  observer.access({ instruction, space, stores, bytes, addresses, known, mask });
  if (space === 'local') return local.call(this, instruction, mask, known, stores, Math.max(1, bytes / 4));
  if (!stores) for (const result of instruction.results) this.forget(result, mask);
}

/** Loads and stores of a thread's own memory, whose values may be known. */
function local(instruction, mask, known, stores, words) {
  const { registers } = this;
  const value = stores ? instruction.operands.at(-1) : instruction.operands[0];
  const offset = addresses[0] >= LOCAL_WINDOW ? LOCAL_WINDOW : 0;
  const places = Array.from(addresses, (at) => (at - offset) >>> 2);
  for (let w = 0; w < words; w++) {
    const n = value.n === 255 ? 255 : value.n + w;
    if (stores) {
      const sure = value.kind === 'number' ? -1 : reader({ kind: value.kind, n })(registers, buffer);
      if (value.kind === 'number') buffer.fill(value.value);
      for (const l of lanesOf(mask)) {
        if (!((known >>> l) & 1)) continue;
        const word = this.word(places[l] + w);
        word.values[l] = buffer[l];
        word.known = (word.known & ~(1 << l)) | (sure & (1 << l));
      }
      continue;
    }
    let sure = 0;
    for (const l of lanesOf(mask & known)) {
      const word = this.word(places[l] + w);
      buffer[l] = word.values[l];
      sure |= word.known & (1 << l);
    }
    registers.put(n, buffer, sure, mask);
  }
}

function copy(instruction, mask) {
  const { registers, observer } = this;
  const [to, from] = instruction.operands;
  const valid = instruction.operands[2];
  const lanes = valid ? mask & (registers.predicate(valid) | ~registers.knownPredicate(valid)) : mask;
  let known = addressesOf(registers, from);
  observer.access({
    instruction,
    space: 'global',
    stores: false,
    bytes: 16,
    addresses,
    known,
    mask: lanes,
    past: true,
  });
  known = addressesOf(registers, to);
  observer.access({ instruction, space: 'shared', stores: true, bytes: 16, addresses, known, mask });
}

/** By opcode: called on a warp with an instruction and a mask. */
export const MEMORY = {};
for (const opcode of ['LD', 'LDG', 'LDS', 'LDL', 'LDSM', 'ST', 'STG', 'STS', 'STL', 'RED', 'ATOMG', 'ATOMS'])
  MEMORY[opcode] = access;
MEMORY.LDGSTS = copy;
