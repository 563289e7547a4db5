// A block that runs: its warps in turn, what they issue and use counted, and how long they would take if nothing but the block ran.
//
// A warp issues an instruction when the stall of the one before it is over and the scoreboards it waits for are free; results of
// tensor cores, which the code does not wait for, are waited for by register.
import { latencyOf, tensorOf } from './instructions.mjs';
import { FACTS, LATENCIES, valueOf } from './constants.mjs';
import { Warp } from './warp.mjs';
import { bytesOf } from './addresses.mjs';
import { FirstLevel, passesOf, SECTOR, sectorsOf } from './memory.mjs';

const latency = valueOf(LATENCIES);
const facts = valueOf(FACTS);
const NONE = 7;
/** Instructions that a warp issues before others are looked at. */
const SLICE = 64;

/** Operations of mma.sync that a scheduler's tensor cores do in a cycle. */
const perCycle = (facts.tensorPeak / facts.tensorClock / facts.multiprocessors / facts.schedulers) * facts.mmaShare;

/** Registers of tensor cores' operands and of what reads their results. */
const sourcesOf = (instruction) => {
  const tensor = instruction.opcode === 'HMMA';
  const list = instruction.operands.slice(tensor ? 1 : 0).filter(({ kind, n }) => kind === 'R' && n !== 255);
  return list.flatMap(({ n }) => (tensor ? [n, n + 1, n + 2, n + 3] : [n]));
};

class Timeline {
  now = 0;
  boards = new Float64Array(6);
  tensor = new Float64Array(260);
  pending = [];
  /** When the asynchronous copies of the open group, and of those that are closed, have arrived. */
  copies = 0;
  groups = [];
  inFlight = 0;
  mostInFlight = 0;
  /** When the products of the warpgroup that are not yet in a group, and those of groups, are computed. */
  products = 0;
  productGroups = [];

  /** `tensorCores`: of its scheduler, whose products of warpgroups follow each other. */
  constructor(tensorCores) {
    this.tensorCores = tensorCores;
  }

  multiply({ operands }, { operations, rate }) {
    const { tensorCores } = this;
    tensorCores.free = Math.max(tensorCores.free, this.begun) + operations / rate / perCycle;
    this.products = tensorCores.free;
    if (operands.some(({ name }) => /^gsb/.test(name))) this.productGroups.push(this.products);
  }

  issue(instruction) {
    let { now } = this;
    for (let k = 0; k < 6; k++) if ((instruction.waits >> k) & 1 && this.boards[k] > now) now = this.boards[k];
    for (const n of instruction.sources) if (this.tensor[n] > now) now = this.tensor[n];
    this.begun = now;
    this.now = now + Math.max(1, instruction.stall) + (instruction.opcode === 'BRA' ? latency.branch : 0);
    if (instruction.opcode === 'HMMA') {
      const { n } = instruction.operands[0];
      for (let w = 0; w < 4; w++) this.tensor[n + w] = now + instruction.latency;
    }
    if (instruction.whenWritten !== NONE) this.finish(instruction.whenWritten, now + instruction.latency);
    if (instruction.whenRead !== NONE) this.finish(instruction.whenRead, now + latency.operands);
  }

  finish(board, time) {
    if (this.boards[board] < time) this.boards[board] = time;
  }

  commit() {
    this.groups.push(this.copies);
    this.copies = 0;
  }

  /** Waits until at most so many groups, of copies or of products, are under way. */
  wait(most, groups = this.groups) {
    while (groups.length > most) this.now = Math.max(this.now, groups.shift());
  }

  /** A load that takes so long. */
  load(instruction, cycles) {
    if (instruction.whenWritten !== NONE) this.finish(instruction.whenWritten, this.begun + cycles);
    if (instruction.opcode === 'LDGSTS') this.copies = Math.max(this.copies, this.begun + cycles);
    let kept = 0;
    for (const time of this.pending) if (time > this.begun) this.pending[kept++] = time;
    this.pending.length = kept;
    this.pending.push(this.begun + cycles);
    this.inFlight += cycles;
    this.mostInFlight = Math.max(this.mostInFlight, this.pending.length);
  }
}

/** What a block did; counts are of instructions of warps, bytes of sectors. */
export class BlockCount {
  constructor(fn, launch) {
    this.fn = fn;
    this.launch = launch;
    this.issued = new Float64Array(fn.code.length);
    this.cache = new FirstLevel(launch.sharedBytes, launch.blocksAtOnce);
    this.sharedPasses = this.linePasses = this.localBytes = 0;
    this.cacheReads = this.cacheWrites = 0;
    this.widths = {};
    /** Bytes read (r) and written (w) by the number of the allocation they lie in; -1 where that is not known. */
    this.byBuffer = new Map();
    this.cycles = 0;
    this.mostInFlight = this.inFlight = this.unknownBranches = 0;
  }

  issue(instruction, mask, warp) {
    this.issued[instruction.index]++;
    this.timeline = warp.timeline;
    this.timeline.issue(instruction);
    if (instruction.opcode === 'LDGDEPBAR') this.timeline.commit();
    if (instruction.opcode === 'DEPBAR') this.timeline.wait(instruction.operands[1].value);
    if (instruction.opcode === 'HGMMA') {
      const tensor = tensorOf(instruction);
      this.timeline.multiply(instruction, tensor);
      this.sharedPasses += tensor.sharedBytes / facts.sharedWidth;
    }
    if (instruction.name.startsWith('WARPGROUP.DEPBAR')) {
      this.timeline.wait(instruction.operands[1].value, this.timeline.productGroups);
    }
  }

  access({ instruction, space, stores, bytes, addresses, known, mask }) {
    if (mask === 0) return;
    const { timeline } = this;
    if (space === 'shared') {
      const passes = passesOf(addresses, known, mask, instruction.opcode === 'LDSM' ? 16 : bytes);
      this.sharedPasses += passes;
      if (!stores && instruction.whenWritten !== NONE)
        timeline.finish(instruction.whenWritten, timeline.begun + latency.shared + passes - 1);
      return;
    }
    if (space === 'local') {
      this.localBytes += 32 * bytesOf(instruction);
      this.linePasses += bytes / 4;
      if (!stores)
        timeline.finish(
          instruction.whenWritten === NONE ? 0 : instruction.whenWritten,
          timeline.begun + latency.firstLevel,
        );
      return;
    }
    const { sectors, unknown, lines } = sectorsOf(addresses, known, mask);
    this.linePasses += lines;
    const { begun } = timeline;
    const late = begun + latency.memory;
    let arrival = unknown > 0 ? late : begun + latency.firstLevel;
    for (const sector of sectors) {
      // An asynchronous copy passes the first level by.
      const there = instruction.opcode === 'LDGSTS' ? undefined : this.cache.touch(sector, stores ? begun : late);
      if (stores || there === undefined) this.transfer(sector, stores);
      arrival = Math.max(arrival, there ?? late);
    }
    if (unknown > 0) this.transfer(-1, stores, unknown);
    if (stores) return;
    this.widths[bytes] = (this.widths[bytes] ?? 0) + 1;
    timeline.load(instruction, arrival - begun);
  }

  transfer(sector, stores, times = 1) {
    const bytes = times * SECTOR;
    if (stores) this.cacheWrites += bytes;
    else this.cacheReads += bytes;
    const buffer = sector < 0 ? -1 : this.launch.bufferAt(sector * SECTOR);
    const key = `${stores ? 'w' : 'r'}${buffer}`;
    this.byBuffer.set(key, (this.byBuffer.get(key) ?? 0) + bytes);
  }

  run(block) {
    const warps = Array.from(
      { length: this.launch.threads / 32 },
      (_, w) => new Warp(this.fn, this.launch, block, w, this),
    );
    const tensorCores = Array.from({ length: facts.schedulers }, () => ({ free: 0 }));
    warps.forEach((warp, w) => (warp.timeline = new Timeline(tensorCores[w % facts.schedulers])));
    const ready = new Set(warps);
    const waiting = new Set();
    while (ready.size > 0) {
      // The one that is furthest behind goes on for a while.
      let warp;
      for (const each of ready) if (!warp || each.timeline.now < warp.timeline.now) warp = each;
      const state = warp.run(SLICE);
      if (state === 'runs') continue;
      ready.delete(warp);
      if (state === 'waits') waiting.add(warp);
      if (ready.size > 0 || waiting.size === 0) continue;
      const last = Math.max(...[...waiting].map(({ timeline }) => timeline.now));
      for (const each of waiting) {
        each.timeline.now = last + latency.barrier;
        ready.add(each);
      }
      waiting.clear();
    }
    this.cycles = Math.max(...warps.map(({ timeline }) => timeline.now));
    this.mostInFlight = Math.max(...warps.map(({ timeline }) => timeline.mostInFlight));
    this.inFlight = warps.reduce((sum, { timeline }) => sum + timeline.inFlight / timeline.now, 0) / warps.length;
    this.unknownBranches = warps.reduce((sum, warp) => sum + warp.unknownBranches, 0);
    return this;
  }
}

/** Prepares the instructions of a function for a timeline. */
export function timed(fn) {
  const code = fn.code.map((instruction) => ({
    ...instruction,
    latency: latencyOf(instruction),
    sources: sourcesOf(instruction),
  }));
  return { ...fn, code };
}
