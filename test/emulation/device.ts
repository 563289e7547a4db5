// The emulated card as these tests see it: `npm run test:emulation` builds it and runs them with FAST_WEIGHTS_DEVICE set.
import path from 'node:path';
import { createRequire } from 'node:module';

export const onEmulation = process.env.FAST_WEIGHTS_DEVICE === 'cuda-emulation';

/** See control.h. */
export interface Finding {
  kind: 'race' | 'blocks' | 'copy' | 'fence' | 'warpgroup' | 'mbarrier' | 'bounds' | 'divergence' | 'deadlock' | 'trap';
  text: string;
  count: number;
}

export interface Site {
  file: string;
  line: number;
  primitive: string;
  canMute: boolean;
  reached: number;
}

export interface Emulation {
  /** What was found since the last call. */
  findings(): Finding[];
  sites(): Site[];
  mute(site: number, muted: boolean): void;
  setSeed(seed: number): void;
  setTruncatedSums(on: boolean): void;
  /** Makes a card usable again after a launch that failed. */
  revive(): void;
  launches(): number;
  /** Of the host. */
  pinnedBytes(): number;
  /** Products of the emulated cuBLAS, which nothing else calls. */
  hostFunctions(): number;
  /** Kernels that were loaded by their first launch, not before it. */
  lateKernels(): number;
  /** The name of what cudaGetLastError would tell this thread. */
  lastError(): string;
  /** Lets nothing that is queued begin for so many milliseconds; 0 lets it go on. */
  hold(milliseconds: number): void;
}

export function emulation(): Emulation {
  const load = createRequire(__filename);
  const addon = path.resolve(__dirname, '../../build-emulation/fast_weights_emulation.node');
  return (load(addon) as { emulation: Emulation }).emulation;
}

export function describeFindings(findings: readonly Finding[]): string {
  return findings.map(({ kind, text, count }) => `${kind}: ${text} (${count})`).join('\n');
}

export function placeOf(site: Site): string {
  const at = site.file.lastIndexOf('native/cuda/');
  return `${path.normalize(site.file.slice(Math.max(0, at)))}:${site.line} ${site.primitive}`;
}
