// The suites: which cases there are and can run here, on what, beside which peers.
import { availableParallelism } from 'node:os';
import { cpuSuite, cudaSuite } from './cases';
import { findCardPeers, findPeers, type Peer } from './harness';
import { cardFacts, type CardFacts, type Device, fw, getBackend } from './library';
import type { Case } from './problem';

/** What a suite runs on this machine. */
export interface Selection {
  cases: Case[];
  /** The card, where it is one that computes. */
  card?: CardFacts | { name: string };
  /** What does not run here and why, or how to read the figures. */
  notes: string[];
}

export interface Suite {
  name: string;
  description: string;
  /** Every case that there is. */
  cases: readonly Case[];
  /** Numbers of threads that cases run on; undefined where the processor does not compute. */
  threads?: number[];
  /** Those of the wanted cases that run here; throws when there is no device. */
  select(wanted: (each: Case) => boolean): Selection;
  peers(python: string | undefined): Peer[];
}

const cores = availableParallelism();

const cpu: Suite = {
  name: 'cpu',
  description: 'kernels and training on the CPU',
  cases: cpuSuite,
  threads: cores > 1 ? [1, cores] : [1],
  select: (wanted) => ({ cases: cpuSuite.filter(wanted), notes: [] }),
  peers: findPeers,
};

/** Leaves out what the card cannot compute or hold. */
function selectCard(wanted: (each: Case) => boolean): Selection {
  const device: Device = process.env.FAST_WEIGHTS_DEVICE === 'cuda-emulation' ? 'cuda-emulation' : 'cuda';
  const found = fw.devices().find((each) => each.device === device);
  if (!found?.available) throw new Error(`no card to measure: ${found?.reason ?? 'this version has no cuda device'}`);
  const emulated = device === 'cuda-emulation';
  const facts = emulated ? null : cardFacts();
  const notes = emulated ? ['The card is emulated and all sizes are tiny: times, rates and shares mean NOTHING.'] : [];

  const computes = getBackend(device).computes;
  const leftOut = (why: string, cases: readonly Case[]): void => {
    if (cases.length > 0) notes.push(`left out, ${why}: ${cases.length} cases, ${cases[0].name} the first`);
  };
  const narrow = ({ problem }: Case): boolean => 'dtype' in problem && !computes.includes(problem.dtype);
  const large = ({ needs }: Case): boolean => needs !== undefined && facts !== null && needs > facts.memory;
  const all = cudaSuite(device).filter(wanted);
  leftOut('the device does not compute in bfloat16', all.filter(narrow));
  leftOut(
    'too large for the card',
    all.filter((each) => !narrow(each) && large(each)),
  );
  return {
    cases: all.filter((each) => !narrow(each) && !large(each)),
    card: facts ?? { name: found.name },
    notes,
  };
}

const cuda: Suite = {
  name: 'cuda',
  description: 'kernels and training on a graphics card',
  cases: cudaSuite('cuda'),
  select: selectCard,
  peers: findCardPeers,
};

export const suites: readonly Suite[] = [cpu, cuda];
