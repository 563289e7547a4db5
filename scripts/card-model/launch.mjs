// A launch as blocks see it: constants, allocations, and how many blocks share a multiprocessor.
import { FACTS, valueOf } from './constants.mjs';

const facts = valueOf(FACTS);

/** Where the arguments of a kernel stand in constant bank 0 on compute capability 9.0. */
const ARGUMENTS = 0x210;
const [BLOCK_SIZE, GRID_SIZE, LOCAL_BASE, STACK, DESCRIPTOR] = [0x0, 0xc, 0x24, 0x28, 0x208];
const STACK_TOP = 1 << 20;
const LOCAL_WINDOW_UPPER = 8;

const up = (n, to) => Math.ceil(n / to) * to;

/** Blocks that a multiprocessor runs at a time. */
export function blocksAtOnce({ registers, threads, sharedBytes }) {
  const warps = threads / 32;
  const perWarp = up(registers * 32, facts.registerUnit);
  const each = facts.registers / facts.schedulers;
  // Every scheduler has a quarter of the registers, and of the warps.
  const byRegisters = Math.floor((Math.floor(each / perWarp) * facts.schedulers) / warps);
  const byShared = Math.floor(facts.sharedBytes / up(sharedBytes + facts.sharedReserved, 128));
  return Math.min(byRegisters, byShared, Math.floor(facts.mostWarps / warps), facts.mostBlocks);
}

function constantsOf({ threads, blocks, args }) {
  const view = new DataView(new ArrayBuffer(ARGUMENTS + args.length));
  for (const [at, value] of [
    [BLOCK_SIZE, threads],
    [BLOCK_SIZE + 4, 1],
    [BLOCK_SIZE + 8, 1],
    [GRID_SIZE, blocks],
    [GRID_SIZE + 4, 1],
    [GRID_SIZE + 8, 1],
    [LOCAL_BASE, LOCAL_WINDOW_UPPER],
    [STACK, STACK_TOP],
    [DESCRIPTOR, 0],
  ]) {
    view.setInt32(at, value, true);
  }
  new Uint8Array(view.buffer).set(args, ARGUMENTS);
  return view;
}

/** A recorded launch (record.mjs) of a kernel (machineCode.mjs), whose warps issue at most so many instructions. */
export function launchOf(recorded, kernel, most = Infinity) {
  const { buffers } = recorded;
  let last;
  // The place of an allocation among those that arguments name, in their order: the same in every launch of a kernel.
  const bufferAt = (address) => {
    const inside = (buffer) => buffer && address >= buffer.begin - 32 && address < buffer.begin + buffer.bytes;
    if (last === undefined || !inside(buffers[last])) last = buffers.findIndex(inside);
    return last;
  };
  return {
    ...recorded,
    constants: constantsOf(recorded),
    tables: kernel.tables,
    most,
    blocksAtOnce: blocksAtOnce({ ...recorded, registers: kernel.registers }),
    bufferAt,
  };
}
