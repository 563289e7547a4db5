// Crashes by hand: node --import=tsx test/crash/main.ts --rounds 30
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { smallModel } from '../server/folder';
import { type Crash, CrashSite, VICTIMS } from './site';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    only: { type: 'string', default: '' },
    /** Layers and width of the model: larger ones write more slowly. */
    width: { type: 'string', default: '64' },
  },
});

function summary(crashes: readonly Crash[]): string {
  const recoveries = crashes.flatMap(({ recovery }) => recovery ?? []).sort((a, b) => a - b);
  const [median, longest] = [recoveries[recoveries.length >> 1], recoveries.at(-1)].map((ms) => ms?.toFixed(0));
  const sum = (of: (crash: Crash) => number): number => crashes.reduce((total, crash) => total + of(crash), 0);
  return (
    `${crashes.length} crashes, ${sum(({ broken }) => broken)} requests broken off, ` +
    `${sum(({ untold }) => untold)} turns kept that were not told; recovery ${median} ms (median), ${longest} ms (longest)`
  );
}

async function main(): Promise<void> {
  const model = await smallModel({ hiddenSize: Number(values.width), numLayers: 2 });
  try {
    for (const victim of VICTIMS.filter((each) => each.includes(values.only))) {
      const folder = mkdtempSync(join(tmpdir(), 'fast-weights-crash-'));
      const site = await CrashSite.open(victim, model.folder, folder);
      const crashes: Crash[] = [];
      try {
        for (let round = 0; round < Number(values.rounds); round++) {
          crashes.push(await site.crash(0.9 * Math.random(), 20 * Math.random()));
        }
      } finally {
        console.log(`${victim}: ${summary(crashes)}`);
        await site.close();
        rmSync(folder, { recursive: true });
      }
    }
  } finally {
    model.remove();
  }
}

void main();
