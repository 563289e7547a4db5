// What a machine instruction occupies: the pipe it runs in, the work of tensor cores, how long its result takes.
import { FACTS, LATENCIES, valueOf } from './constants.mjs';

const latency = valueOf(LATENCIES);
const facts = valueOf(FACTS);

const PIPES = [
  ['product', /^IMAD$/],
  ['fma', /^(FFMA|FMUL|FADD|HFMA2|HADD2|HMUL2)$/],
  ['special', /^MUFU$/],
  ['conversion', /^(I2F|F2I|F2F|FRND|I2FP|F2FP)$/],
  ['double', /^D(ADD|MUL|FMA|SETP)$/],
  ['shuffle', /^SHFL$/],
  [
    'integer',
    /^(IADD3|VIADD|LEA|SHF|LOP3|PLOP3|ISETP|FSETP|SEL|FSEL|FMNMX|IMNMX|VIMNMX3?|VIADDMNMX|IABS|PRMT|MOV|FSET|POPC|P2R|R2P|FCHK|CS2R)$/,
  ],
];
// Conversions of floats to bfloat16 and of small integers are as fast as integers.
const FAST = /^(F2FP|I2FP)$/;

/** 'fma', 'integer' and so on: see PIPES of constants.mjs; undefined for what only takes a turn to issue. */
export function pipeOf({ opcode }) {
  if (FAST.test(opcode)) return 'integer';
  return PIPES.find(([, pattern]) => pattern.test(opcode))?.[0];
}

const SHAPES = { 1688: [16, 8, 8], 16816: [16, 8, 16], 1684: [16, 8, 4] };
/** Warps that compute the products of a warpgroup together. */
const GROUP = 4;

/**
 * Of a warp on tensor cores: floating-point operations, what of the rate of mma.sync for bfloat16 this format has, the shape, and
 * bytes of shared memory that are read for it.
 */
export function tensorOf({ opcode, modifiers, operands }) {
  if (!/MMA$/.test(opcode)) return undefined;
  const group = opcode === 'HGMMA';
  const [m, n, k] = (group ? modifiers[0].split('x').map(Number) : SHAPES[modifiers[0]]) ?? [];
  if (!(group || opcode === 'HMMA') || !k) {
    throw new Error(`what ${opcode}.${modifiers.join('.')} computes is not modelled`);
  }
  if (!group) return { operations: 2 * m * n * k, rate: modifiers.includes('TF32') ? 0.5 : 1, n, sharedBytes: 0 };
  const bytes = modifiers.includes('BF16') ? 2 : 4;
  const left = operands[1].kind === 'R' ? 0 : m;
  const rate = (facts.warpgroupShare / facts.mmaShare) * (2 / bytes);
  return { operations: (2 * m * n * k) / GROUP, rate, n, sharedBytes: ((left + n) * k * bytes) / GROUP };
}

/** Cycles until a result is there, for what does not always take the same; memory apart. */
export function latencyOf({ opcode, modifiers }) {
  if (/^(MUFU|I2F|F2I|F2F|FRND|DADD|DMUL|DFMA|DSETP)$/.test(opcode)) return latency.special;
  if (/^(SHFL|REDUX|VOTE)$/.test(opcode)) return latency.shuffle;
  if (opcode === 'HMMA') return modifiers[0] === '16816' ? latency.tensor : latency.tensorShort;
  return latency.constant;
}

/** Divisions and remainders, of integers or floats: each begins with a reciprocal; those of 64 bits are called. */
export const isDivision = ({ opcode, modifiers }) => opcode === 'MUFU' && modifiers[0].startsWith('RCP');
/** Loads and stores whose space the compiler did not know. */
export const isGeneric = ({ opcode }) => opcode === 'LD' || opcode === 'ST';
export const isLocal = ({ opcode }) => opcode === 'LDL' || opcode === 'STL';
export const isGlobalLoad = ({ opcode }) => opcode === 'LDG' || opcode === 'LD';
