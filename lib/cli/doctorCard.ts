// What `doctor` says of the graphics card: what it is, or what is missing and how to get it.
import { cardFacts, loadAttempts, type MissingForCard } from '../backends';
import { formatBytes } from '../viz';

/** What a machine may lack. */
type Missing = 'package' | MissingForCard;

export interface CardReport {
  available: boolean;
  missing?: Missing;
  reason?: string;
  remedy?: string;
  name?: string;
  index?: number;
  /** Compute capability. */
  capability?: string;
  multiprocessors?: number;
  /** Bytes. */
  memory?: { total: number; free?: number };
  /** Versions of CUDA: the newest that the driver supports, and the one that the addon was built with. */
  driver?: string;
  runtime?: string;
  /** What multiplies matrices in training: 'cublas 13.1', or 'own' and why. */
  library?: string;
  libraryReason?: string;
}

const REMEDIES: Record<Missing, string> = {
  package: 'on Linux x64 with an NVIDIA GPU, in a clone, `npm run build:cuda` compiles it; nothing to do otherwise',
  driver: 'install the NVIDIA driver, 580 or newer; in a container, start it with access to the GPU',
  'newer driver': 'update the NVIDIA driver to 580 or newer',
  card: '`nvidia-smi` should list a card; in a container or virtual machine, hand one through to it',
  index: 'set FAST_WEIGHTS_CUDA_DEVICE to one of these numbers, or unset it for the first card',
  context:
    '`nvidia-smi` shows what uses the card, its memory and its compute mode; another one: FAST_WEIGHTS_CUDA_DEVICE',
  'newer card': 'a card of the generation Ampere (2020) or newer is needed; the cpu device works without one',
};

/** 13000 is 13.0. */
function version(number: number): string {
  return `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;
}

export function examineCard(): CardReport {
  const facts = cardFacts();
  if (!facts) {
    const attempt = loadAttempts().find(({ step, ok }) => step === 'cuda package' && !ok);
    return { available: false, missing: 'package', reason: attempt?.reason, remedy: REMEDIES.package };
  }
  const { reason, missing, name, index, driver, runtime, memory, free } = facts;
  const { capability, multiprocessors, library, libraryReason } = facts;
  return {
    available: reason === undefined,
    ...(missing && { missing, reason, remedy: REMEDIES[missing] }),
    ...(name !== '' && { name, index, capability, multiprocessors, memory: { total: memory, free } }),
    ...(driver > 0 && { driver: version(driver) }),
    runtime: version(runtime),
    ...(library && { library, libraryReason }),
  };
}

export function renderCard(report: CardReport): string[] {
  const { name, index, capability, multiprocessors, memory, driver, runtime, library, libraryReason } = report;
  const { reason, remedy } = report;
  const lines = [
    name && `${name}, number ${index}, compute capability ${capability}, ${multiprocessors} multiprocessors`,
    memory && `${memory.free === undefined ? '' : `${formatBytes(memory.free)} free of `}${formatBytes(memory.total)}`,
    driver && `driver for CUDA ${driver}, addon for CUDA ${runtime}`,
    library && `products of matrices in training: ${library}${libraryReason ? ` (${libraryReason})` : ''}`,
    reason && `not usable: ${reason}`,
    remedy,
  ];
  return lines
    .filter((line) => typeof line === 'string')
    .map((line, i) => `${i === 0 ? 'card' : ''}`.padEnd(13) + line);
}
