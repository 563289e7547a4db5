// What the model takes for granted of the card, an H200 (SXM, compute capability 9.0). Committed before the first kernel that
// it judges, and not to be changed until a card has measured them.
//
// Sources:
//   guide       NVIDIA, CUDA C++ Programming Guide: compute capabilities (technical specifications), arithmetic throughput
//   hopper      NVIDIA, H100 Tensor Core GPU Architecture, and the data sheets of H100 and H200
//   luo         Luo et al. 2024, Benchmarking and Dissecting the Nvidia Hopper GPU Architecture, arXiv:2402.13499 (H100 PCIe)
//   design      this project's notes on the fastest kernels: measured rates that others report for H200
//   estimate    engineering judgement, within a factor of two

/** A number of the card with its unit and where it is from. */
const from = (source, value, unit, note) => ({ value, unit, source, ...(note && { note }) });

export const FACTS = {
  multiprocessors: from('hopper', 132, ''),
  clock: from('estimate', 1.755e9, 'Hz', 'what a loaded card keeps; it boosts to 1.98e9 (hopper)'),
  schedulers: from('guide', 4, 'per multiprocessor', 'each issues one instruction of a warp per cycle'),
  registers: from('guide', 65536, 'per multiprocessor'),
  registerUnit: from('guide', 256, 'registers that a warp is given at a time'),
  sharedBytes: from('guide', 228 << 10, 'B per multiprocessor'),
  sharedReserved: from('guide', 1 << 10, 'B per block'),
  unifiedBytes: from('guide', 256 << 10, 'B of first-level cache and shared memory together'),
  mostWarps: from('guide', 64, 'per multiprocessor'),
  mostBlocks: from('guide', 32, 'per multiprocessor'),
  tensorPeak: from('hopper', 989.4e12, 'FLOP/s', 'bfloat16, dense, at 1.83e9 Hz; TF32 has half'),
  tensorClock: from('hopper', 1.83e9, 'Hz', 'of the peak above'),
  mmaShare: from('luo', 0.629, 'of the peak', 'what mma.sync reaches on the average; design says 0.60 to 0.65'),
  warpgroupShare: from('design', 0.8, 'of the peak', 'what wgmma reaches: 790e12 FLOP/s were measured'),
  sharedWidth: from('guide', 128, 'B per cycle and multiprocessor', '32 banks of 4 B'),
  memoryBandwidth: from('design', 4.3e12, 'B/s', 'measured; the data sheet says 4.8e12'),
  cacheBandwidth: from('luo', 3942 * 1.755e9, 'B/s', 'second-level cache, reads of 16 B'),
  launch: from('design', 2e-6, 's', 'an empty kernel'),
};

/** Instructions of a warp per cycle and multiprocessor (guide: results per cycle divided by 32). */
export const PIPES = {
  fma: from('guide', 4, 'per cycle', '128 results'),
  integer: from('guide', 2, 'per cycle', '64 results: additions, comparisons, logic, shifts'),
  product: from('guide', 2, 'per cycle', '64 results: products of integers, beside the others'),
  special: from('guide', 0.5, 'per cycle', '16 results: reciprocals, roots, exponentials'),
  conversion: from('estimate', 0.5, 'per cycle', '16 results: integers to floats and back'),
  double: from('guide', 2, 'per cycle', '64 results'),
  shuffle: from('guide', 1, 'per cycle', '32 results'),
};

/** Cycles from an instruction to its result where the code does not say: it does for what always takes the same. */
export const LATENCIES = {
  shared: from('luo', 29, 'cycles'),
  firstLevel: from('luo', 41, 'cycles', 'a hit in the first-level cache, and local memory'),
  memory: from('luo', 479, 'cycles'),
  special: from('estimate', 23, 'cycles', 'MUFU, conversions, FP64'),
  shuffle: from('estimate', 24, 'cycles'),
  constant: from('estimate', 30, 'cycles', 'LDC, S2R, R2UR'),
  tensor: from('estimate', 25, 'cycles', 'm16n8k16 of bfloat16'),
  tensorShort: from('estimate', 18, 'cycles', 'm16n8k8 of TF32'),
  operands: from('estimate', 12, 'cycles', 'until a memory instruction has read its registers'),
  barrier: from('estimate', 20, 'cycles'),
  branch: from('estimate', 6, 'cycles', 'beside what the code says'),
};

/** The number of a fact. */
export const valueOf = (facts) => Object.fromEntries(Object.entries(facts).map(([name, { value }]) => [name, value]));
