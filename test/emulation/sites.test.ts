// Kernels on the emulated card, watched: no access without what orders it, whatever the schedule; and every barrier,
// switched off, is missed, for one that is not is only slow.
import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import * as fw from '../../lib';
import { describeFindings, emulation, onEmulation, placeOf } from './device';
import { SCENARIOS } from './scenarios';

const PRIMITIVES =
  /(?<!void |struct )\b(barrier|warpSync|copyCommit|copyWait|mbarrier(?:Arrive|Expect|Wait)|fenceProxyAsync|warpgroup(?:Fence|Commit|Wait))(<\w+>)?\(/g;

/** Every call of a synchronising primitive in the sources below a folder, as `placeOf` names it. */
function barriersOf(folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((f) => /\.cuh?$/.test(f));
  return files.sort().flatMap((file) =>
    readFileSync(path.join(folder, file), 'utf8')
      .split('\n')
      .flatMap((line, i) =>
        [...line.replace(/\/\/.*/, '').matchAll(PRIMITIVES)].map(
          ([, primitive]) => `${path.join(folder, file)}:${i + 1} ${primitive}`,
        ),
      ),
  );
}

if (onEmulation) {
  const card = emulation();
  const run = (name: string): void => {
    fw.manualSeed(1);
    fw.scope(SCENARIOS[name]);
  };
  /** Whether anything is found; the card is whole afterwards. */
  const fails = (name: string): boolean => {
    let failed = false;
    try {
      run(name);
    } catch {
      failed = true;
      card.revive();
    }
    return card.findings().length > 0 || failed;
  };
  /** Scenarios by the sites that they reach. */
  const reachedBy = new Map<number, string[]>();

  describe('kernels on the emulated card', function () {
    this.timeout(120_000);

    for (const name of Object.keys(SCENARIOS)) {
      it(`${name}: nothing is found`, () => {
        const before = card.sites().map(({ reached }) => reached);
        card.findings();
        run(name);
        expect(describeFindings(card.findings())).to.equal('');
        card.sites().forEach(({ reached }, i) => {
          if (reached > (before[i] ?? 0)) reachedBy.set(i, [...(reachedBy.get(i) ?? []), name]);
        });
      });
    }

    it('in other orders of warps, too', () => {
      for (const seed of [1, 2]) {
        card.setSeed(seed);
        for (const name of Object.keys(SCENARIOS)) {
          run(name);
          expect(describeFindings(card.findings()), `${name}, seed ${seed}`).to.equal('');
        }
      }
      card.setSeed(0);
    });

    it('no barrier is left out', () => {
      const reached = new Set(card.sites().map((site) => placeOf(site)));
      expect(barriersOf('native/cuda').filter((place) => !reached.has(place))).to.deep.equal([]);
    });

    it('every barrier is needed', () => {
      const idle: string[] = [];
      card.sites().forEach((site, i) => {
        const scenarios = reachedBy.get(i);
        if (!site.canMute || !scenarios) return;
        card.mute(i, true);
        const missed = scenarios.some((name) => fails(name));
        card.mute(i, false);
        if (!missed) idle.push(placeOf(site));
      });
      expect(idle).to.deep.equal([]);
    }).timeout(600_000);
  });
}
