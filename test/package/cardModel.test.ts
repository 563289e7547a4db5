// The model of the card counts right: kernels whose counts are known (known/known.cu), compiled by nvcc and read as those of the
// library are; and what gets worse fails the check of its table.
import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root, temporaryFolder } from './sandbox';

type Counts = Record<string, number>;
interface Block {
  issued: Float64Array;
  cycles: number;
  localBytes: number;
}
interface Launch {
  kernel: string;
  blocks: number;
}
interface Row {
  [key: string]: number | string | null;
}
interface Table {
  cases: Record<string, { microseconds: number; kernels: Record<string, Row> }>;
}
interface Kernel {
  symbol: string;
  code: { index: number; opcode: string; name: string; lines: { file: string; line: number }[] }[];
}
interface Model {
  run(tool: string, args: string[], cwd: string): string;
  parseListing(text: string): Map<string, Kernel>;
  loopsOf(kernel: Kernel): { first: number; last: number; depth: number }[];
  prepare(kernel: Kernel): Kernel;
  timed(kernel: Kernel): Kernel;
  launchOf(launch: object, kernel: object): object;
  blocksAtOnce(launch: { registers: number; threads: number; sharedBytes: number }): number;
  BlockCount: new (kernel: Kernel, launch: object) => { run(block: number): Block };
  countsOf(block: Block): Counts;
  extrapolated(size: number, first: [number, Counts], second: [number, Counts]): Counts;
  passesOf(addresses: ArrayLike<number>, known: number, mask: number, bytes: number): number;
  Registers: new (constants: DataView) => {
    uniform: Int32Array;
    knownUniform: Int32Array;
    putUniform(n: number, value: number, known: boolean): void;
  };
  constant(instruction: object): (registers: object, mask: number) => void;
  tokensOf(recorded: Launch, launches: Launch[], shorter: Launch[], T: number): number;
  predict(counts: Counts, launch: object): { times: Record<string, number>; bound: string; seconds: number };
  compare(before: Table, after: Table): { worse: string[]; better: string[] };
}

/** Its low word is 7, and the rest makes a division one of 64 bits. */
const DIVISOR = 2n ** 33n + 7n;
const [X, Y] = [0x7f00_0000_0000n, 0x7f00_4000_0000n];

/** What stands in the arguments for so many rounds. */
function argumentsOf(rounds: number): Buffer {
  const words = [X, Y, DIVISOR * BigInt(rounds) + 5n, DIVISOR];
  return Buffer.from(BigUint64Array.from(words).buffer);
}

async function load(): Promise<Model> {
  const names = [
    'machineCode',
    'listing',
    'warp',
    'block',
    'launch',
    'counts',
    'memory',
    'registers',
    'sources',
    'prediction',
    'table',
    'estimate',
  ];
  const modules = await Promise.all(names.map((name) => import(path.join(root, `scripts/card-model/${name}.mjs`))));
  return Object.assign({}, ...(modules as object[])) as Model;
}

describe('the model of the card', function () {
  this.timeout(60_000);
  const at = temporaryFolder();
  let model: Model;
  let kernels: Map<string, Kernel>;

  before(async function () {
    model = await load();
    try {
      const source = path.join(root, 'test/package/known/known.cu');
      model.run('nvcc', ['-std=c++17', '-arch=sm_90a', '-lineinfo', '-cubin', '-o', 'known.cubin', source], at());
    } catch (error) {
      if ((error as { exitCode?: number }).exitCode !== 77) throw error;
      console.log(`    NOT tested: ${(error as Error).message}`);
      this.skip();
    }
    kernels = model.parseListing(model.run('nvdisasm', ['-hex', '-gi', 'known.cubin'], at()));
  });

  function launched(
    name: string,
    rounds: number,
    threads = 64,
  ): { kernel: Kernel; block: Block; counts: Counts; launch: object } {
    const kernel = model.timed(model.prepare(kernels.get(name)!));
    const buffers = [{ begin: Number(X), bytes: 1 << 20 }];
    const recorded = { blocks: 1, threads, sharedBytes: 512, args: argumentsOf(rounds), buffers };
    const launch = model.launchOf(recorded, { registers: 32 });
    const block = new model.BlockCount(kernel, launch).run(0);
    return { kernel, block, counts: model.countsOf(block), launch };
  }

  for (const rounds of [0, 1, 10]) {
    it(`counts what a block of two warps does in ${rounds} rounds`, () => {
      const { counts } = launched('rounds', rounds);
      expect(counts.tensorInstructions ?? 0).to.equal(2 * rounds);
      expect(counts.tensorOperations).to.equal(2 * rounds * 2 * 16 * 8 * 16);
      // The number of rounds is the quotient of two numbers of 64 bits.
      expect(counts.divisions).to.equal(2 * (rounds + 1));
      expect(counts['width 16'] ?? 0).to.equal(2 * rounds);
      expect(counts.loads).to.equal(2 * rounds);
      // What the second warp reads the first has read.
      expect(counts.cacheReads).to.equal(rounds * 512);
      expect(counts.cacheWrites).to.equal(2 * 128);
      expect(counts.sharedPasses).to.equal(2 * (2 + 1));
      expect([counts.local, counts.generic, counts.unknownBranches]).to.deep.equal([0, 0, 0]);
    });
  }

  it('issues each instruction of the loop once per round, those of half a warp, too', () => {
    const { kernel, block } = launched('rounds', 10);
    const [loop] = model
      .loopsOf(kernel)
      .filter(({ first, last }) => kernel.code.slice(first, last + 1).some(({ opcode }) => opcode === 'HMMA'));
    const within = kernel.code.slice(loop.first, loop.last + 1);
    expect(within.map(({ opcode }) => opcode)).to.include.members(['LDG', 'HMMA', 'MUFU', 'MEMBAR']);
    for (const { index, name } of within) expect(block.issued[index], name).to.equal(2 * 10);
  });

  it('tells the lines of the source that an instruction is from, the innermost first', () => {
    const source = readFileSync(path.join(root, 'test/package/known/known.cu'), 'utf8').split('\n');
    const { lines } = kernels.get('rounds')!.code.find(({ opcode }) => opcode === 'HMMA')!;
    expect(lines.map(({ file }) => path.basename(file))).to.deep.equal(['known.cu', 'known.cu']);
    expect(source.slice(lines[0].line - 5, lines[0].line).join('\n')).to.include('asm volatile("mma.sync');
    expect(source[lines[1].line - 1]).to.include('void rounds(');
  });

  it('reads two constants by an index that the first is written over', () => {
    const constants = new DataView(new ArrayBuffer(64));
    [7, 8, 9].forEach((word, i) => constants.setInt32(32 + 4 * i, word, true));
    const registers = new model.Registers(constants);
    registers.putUniform(16, 32, true);
    const operands = [
      { kind: 'UR', n: 16 },
      { kind: 'constant', bank: 0, address: { UR: 16, offset: 4 } },
    ];
    model.constant({ operands, modifiers: ['64'] })(registers, -1);
    expect([16, 17].map((n) => [registers.uniform[n], registers.knownUniform[n]])).to.deep.equal([
      [8, -1],
      [9, -1],
    ]);
  });

  it('waits for memory in every round', () => {
    const cycles = [10, 20].map((rounds) => launched('rounds', rounds).block.cycles);
    expect(cycles[1] - cycles[0]).to.be.within(10 * 479, 10 * 900);
  });

  it('counts products of a warpgroup, and waits for them', () => {
    const [ten, twenty] = [10, 20].map((rounds) => launched('grouped', rounds, 128));
    const operations = 2 * 64 * 64 * 16;
    expect(ten.counts.tensorInstructions).to.equal(4 * 2 * 10);
    expect(ten.counts.tensorOperations).to.equal(2 * 10 * operations);
    expect(ten.counts.unknownBranches).to.equal(0);
    // Both factors are read: 128 rows of 32 bytes, in passes of 128 bytes.
    expect(ten.counts.sharedPasses).to.equal((2 * 10 * 128 * 32) / 128);
    // They reach four fifths of 4096 operations a cycle, and so does the block where nothing else takes longer.
    const each = (2 * operations) / (0.8 * 4096);
    expect(twenty.block.cycles - ten.block.cycles).to.be.within(9.9 * each, 10.1 * each);
  });

  it('goes on along a line from short runs', () => {
    const [ten, twenty, hundred] = [10, 20, 100].map((rounds) => launched('rounds', rounds).counts);
    const guess = model.extrapolated(100, [10, ten], [20, twenty]);
    for (const key of ['instructions', 'tensorWork', 'divisions', 'cacheReads', 'sharedPasses', 'cycles']) {
      expect(guess[key], key).to.be.closeTo(hundred[key], 0.01 * hundred[key]);
    }
  });

  it('shares a sequence among the launches that walk through a part of it', () => {
    const [walk, prepare, heads] = [
      { kernel: 'walk', blocks: 32 },
      { kernel: 'prepare', blocks: 4096 },
      { kernel: 'heads', blocks: 8 },
    ];
    const launches = [prepare, walk, prepare, walk, heads, heads];
    const shorter = [
      { kernel: 'prepare', blocks: 16 },
      { kernel: 'walk', blocks: 32 },
      { kernel: 'heads', blocks: 16 },
    ];
    const tokens = (launch: Launch, all = launches): number => model.tokensOf(launch, all, shorter, 32768);
    expect(tokens(walk)).to.equal(16384);
    expect(tokens(walk, [prepare, walk])).to.equal(32768);
    // Those of a layer each, in training, walk through all of it.
    expect(model.tokensOf(walk, [walk, walk], [walk, walk], 32768)).to.equal(32768);
    // Half of the heads, and all of their tokens.
    expect(tokens(heads)).to.equal(32768);
  });

  it('sees a division more, and an array that threads index', () => {
    expect(launched('another', 10).counts.divisions).to.equal(2 * (2 * 10 + 1));
    const { counts, block } = launched('indexing', 10);
    expect(counts.local).to.be.at.least(2 * 10);
    expect(block.localBytes).to.be.at.least(2 * 10 * 128);
  });

  it('refuses what it cannot count', () => {
    const launchWith = (change: (code: Kernel['code'][number]) => void): void => {
      const parsed = structuredClone(kernels.get('rounds')!);
      parsed.code.forEach(change);
      const kernel = model.timed(model.prepare(parsed));
      const recorded = { blocks: 1, threads: 64, sharedBytes: 512, args: argumentsOf(1), buffers: [] };
      model.countsOf(new model.BlockCount(kernel, model.launchOf(recorded, { registers: 32 })).run(0));
    };
    const renamed = (from: string, to: string) => (): void =>
      launchWith((instruction) => {
        if (instruction.opcode === from) Object.assign(instruction, { opcode: to, name: to });
      });
    expect(renamed('STS', 'STSM')).to.throw(/STSM at [0-9a-f]+ is not modelled/);
    expect(renamed('HMMA', 'HGMMA')).to.throw('what HGMMA.16816.F32.BF16 computes is not modelled');
    expect(renamed('STS', 'STS')).not.to.throw();
  });

  it('counts passes of shared memory as banks have it', () => {
    const lanes = (f: (lane: number) => number): Float64Array =>
      Float64Array.from({ length: 32 }, (_, lane) => f(lane));
    const passes = (f: (lane: number) => number, bytes = 4): number => model.passesOf(lanes(f), -1, -1, bytes);
    expect(passes((lane) => 4 * lane)).to.equal(1);
    expect(passes(() => 64)).to.equal(1);
    expect(passes((lane) => 8 * lane)).to.equal(2);
    expect(passes((lane) => 128 * lane)).to.equal(32);
    expect(passes((lane) => 16 * lane, 16)).to.equal(4);
    expect(passes((lane) => 128 * lane, 16)).to.equal(32);
    // Eight lanes at a time, which here want the same banks.
    expect(passes((lane) => 128 * (lane % 8) + 16 * Math.floor(lane / 8), 16)).to.equal(32);
    expect(
      model.passesOf(
        lanes((lane) => 128 * lane),
        -1,
        0xff,
        4,
      ),
    ).to.equal(8);
  });

  it('knows how many blocks a multiprocessor runs at a time', () => {
    const occupancy = { registers: 32, threads: 256, sharedBytes: 0 };
    expect(model.blocksAtOnce(occupancy)).to.equal(8);
    expect(model.blocksAtOnce({ ...occupancy, registers: 255 })).to.equal(1);
    expect(model.blocksAtOnce({ ...occupancy, sharedBytes: 100 << 10 })).to.equal(2);
    expect(model.blocksAtOnce({ ...occupancy, threads: 32 })).to.equal(32);
  });

  it('takes the largest of five times', () => {
    const { counts, launch } = launched('rounds', 10);
    const { times, bound, seconds } = model.predict(counts, launch);
    expect(Object.keys(times)).to.deep.equal(['issue', 'tensor', 'shared', 'memory', 'chain']);
    expect(bound).to.equal('chain');
    expect(seconds).to.equal(counts.cycles / 1.755e9);
    // Two warps issue at most two instructions per cycle; most of these are of integers, of which one takes two cycles.
    expect(times.issue).to.be.within(counts.instructions / 2 / 1.755e9, counts.instructions / 1.755e9);
  });

  describe('its table', () => {
    const row = {
      registers: 40,
      stack: 0,
      spills: 0,
      divisions: 2,
      generic: 0,
      instructions: 100,
      atOnce: 4,
      width: 8,
      time: 50,
    };
    const table = (changes: Row = {}): Table => ({
      cases: { forward: { microseconds: 52, kernels: { 'a.cu Add': { ...row, ...changes } } } },
    });

    it('is held against what gets worse', () => {
      const worse = (changes: Row): string[] => model.compare(table(), table(changes)).worse;
      expect(worse({})).to.deep.equal([]);
      expect(worse({ divisions: 3 })).to.deep.equal(['worse    forward, a.cu Add: divisions 2 -> 3']);
      expect(worse({ stack: 32, spills: 8 })).to.deep.equal([
        'worse    forward, a.cu Add: stack 0 -> 32',
        'worse    forward, a.cu Add: spills 0 -> 8',
      ]);
      expect(worse({ atOnce: 3 })).to.have.length(1);
      expect(worse({ width: 4, time: 49 })).to.have.length(1);
      expect(worse({ atOnce: 5, instructions: 90 })).to.deep.equal([]);
    });

    it('names what is new and what is gone', () => {
      const other = { cases: { forward: { microseconds: 52, kernels: { 'a.cu Multiply': row } } } };
      expect(model.compare(table(), other)).to.deep.equal({
        worse: ['new      forward, a.cu Multiply'],
        better: ['gone     forward, a.cu Add'],
      });
    });
  });
});
